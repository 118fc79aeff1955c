//! Copies from the device to the host that nobody has to wait for.

use super::stream::{Submission, copying};
use super::{GpuBuffer, GpuDevice};
use crate::error::Result;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of idle staging buffers that are kept: enough for the metrics of many iterations and for grids
/// of samples, too little to matter; a checkpoint's larger reads make their own.
const POOL_BYTES: u64 = 16 << 20;
/// The smallest staging buffer.
const SMALLEST: u64 = 256;

/// Idle staging buffers, ready to be copied into.
#[derive(Debug, Default)]
pub struct StagingPool(Mutex<Vec<GpuBuffer>>);

/// A copy to the host that may not be complete yet.
#[derive(Debug)]
pub struct GpuPending {
    device: Arc<GpuDevice>,
    /// Taken when the bytes are.
    staging: Option<GpuBuffer>,
    arrival: Arc<Arrival>,
    submission: Submission,
    /// Bytes that were copied: whole words.
    length: u64,
    /// Bytes of the staging buffer before the requested range.
    skip: usize,
    bytes: usize,
}

/// Whether the staging buffer has been mapped, and how that ended.
#[derive(Debug, Default)]
struct Arrival {
    mapped: Mutex<Option<Result<(), wgpu::BufferAsyncError>>>,
    changed: Condvar,
}

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, Option<Result<(), wgpu::BufferAsyncError>>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StagingPool {
    fn lock(&self) -> MutexGuard<'_, Vec<GpuBuffer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The smallest idle buffer of at least `bytes` that is not much too large.
    fn take(&self, bytes: u64) -> Option<GpuBuffer> {
        let mut idle = self.lock();
        let fits = |buffer: &GpuBuffer| (bytes..=bytes.max(SMALLEST) * 4).contains(&buffer.bytes());
        let best = (0..idle.len()).filter(|&i| fits(&idle[i])).min_by_key(|&i| idle[i].bytes())?;
        Some(idle.swap_remove(best))
    }

    /// Keeps an unmapped buffer that no unfinished command uses, if there is room for it.
    fn put(&self, buffer: GpuBuffer) {
        let mut idle = self.lock();
        let held: u64 = idle.iter().map(GpuBuffer::bytes).sum();
        if held + buffer.bytes() <= POOL_BYTES {
            idle.push(buffer);
        }
    }
}

impl GpuDevice {
    /// Queues a copy of `bytes` bytes from byte `offset` of `buffer` to the host; the caller has checked
    /// the range.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], or [`crate::Error::Device`] when there is no memory for the copy.
    pub fn read_later(self: &Arc<Self>, buffer: &GpuBuffer, offset: u64, bytes: u64) -> Result<GpuPending> {
        self.check()?;
        // Copies are of whole words; every buffer is.
        let first = (offset & !3).min(buffer.bytes() - 4);
        let length = (offset + bytes).next_multiple_of(4).max(first + 4) - first;
        let staging = match self.staging.take(length) {
            Some(staging) => staging,
            None => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                self.allocate("read-back staging", length.max(SMALLEST), usage)?
            }
        };
        let what = || format!("reading {bytes} bytes");
        let commands = self.scoped(what, || {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer.raw(), first, staging.raw(), 0, length);
            encoder.finish()
        })?;
        let submission = self.submit(what, Some(commands), copying(length))?;
        let arrival = Arc::new(Arrival::default());
        let signal = Arc::clone(&arrival);
        self.scoped(what, || {
            staging.raw().map_async(wgpu::MapMode::Read, ..length, move |result| {
                *signal.lock() = Some(result);
                signal.changed.notify_all();
            });
        })?;
        Ok(GpuPending {
            device: Arc::clone(self),
            staging: Some(staging),
            arrival,
            submission,
            length,
            skip: (offset - first) as usize,
            bytes: bytes as usize,
        })
    }
}

impl GpuPending {
    /// Whether [`GpuPending::wait`] would return at once, with the bytes or with an error.
    pub fn is_ready(&self) -> bool {
        // An error that polling brings up is left for `wait` to return.
        drop(self.device.poll_only(wgpu::PollType::Poll));
        self.device.health.is_lost() || self.arrival.lock().is_some()
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`crate::Error::Device`] or [`crate::Error::DeviceLost`] if the copy or anything before it failed.
    pub fn wait(mut self) -> Result<Vec<u8>> {
        self.device.wait_for(&self.submission)?;
        self.arrived()?;
        let staging = self.staging.take().expect("a pending copy has its staging buffer");
        let result = match staging.raw().get_mapped_range(..self.length) {
            Ok(mapped) => Ok(mapped[self.skip..self.skip + self.bytes].to_vec()),
            Err(error) => Err(self.device.error("mapping a read-back".into(), error.to_string())),
        };
        staging.raw().unmap();
        self.device.staging.put(staging);
        result
    }

    /// Waits for the mapping. The poll that has just returned has seen the copy done, but another thread's
    /// poll may be the one that is about to report it.
    fn arrived(&self) -> Result<()> {
        let mut mapped = self.arrival.lock();
        loop {
            match &*mapped {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => {
                    self.device.check()?;
                    return Err(self.device.error("mapping a read-back".into(), error.to_string()));
                }
                None => {}
            }
            let wait = self.arrival.changed.wait_timeout(mapped, Duration::from_millis(20));
            drop(wait.unwrap_or_else(PoisonError::into_inner));
            self.device.poll(wgpu::PollType::Poll)?;
            mapped = self.arrival.lock();
        }
    }
}

impl Drop for GpuPending {
    fn drop(&mut self) {
        // A buffer whose mapping is still under way is freed rather than pooled: wgpu would take the end
        // of the old copy for the end of the next one.
        let Some(staging) = self.staging.take() else { return };
        let arrived = matches!(&*self.arrival.lock(), Some(Ok(())));
        if arrived && !self.device.health.is_lost() {
            staging.raw().unmap();
            self.device.staging.put(staging);
        }
    }
}
