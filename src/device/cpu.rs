//! The CPU device: runs the twins on host memory, on all cores.

use super::program::Program;
use super::slot::View;
use crate::compute::Access;
use crate::compute::Argument;
use crate::error::{Error, Result};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Host memory of one buffer. Only this file touches its contents.
#[derive(Debug)]
pub struct CpuBuffer {
    words: UnsafeCell<Box<[u32]>>,
    allocated: Arc<AtomicU64>,
}

// SAFETY: the contents are reached only through `CpuDevice`, which holds its run lock for every access.
unsafe impl Send for CpuBuffer {}
// SAFETY: as above.
unsafe impl Sync for CpuBuffer {}

impl CpuBuffer {
    /// The identity of the device that made it.
    pub fn owner(&self) -> &Arc<AtomicU64> {
        &self.allocated
    }

    fn bytes(&self) -> u64 {
        // SAFETY: reads the length only, which never changes.
        unsafe { (&*self.words.get()).len() as u64 * 4 }
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        self.allocated.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// The host as a device.
#[derive(Debug, Default)]
pub struct CpuDevice {
    allocated: Arc<AtomicU64>,
    run: std::sync::Mutex<()>,
    /// Why it was opened instead of a GPU.
    fallback: Option<String>,
}

/// A program bound to host buffers.
#[derive(Debug)]
pub struct CpuExecutable {
    program: Arc<Program>,
    buffers: Vec<Option<Arc<CpuBuffer>>>,
}

impl CpuDevice {
    /// The host, opened instead of a GPU for this reason.
    pub fn instead(fallback: String) -> Self {
        Self { fallback: Some(fallback), ..Self::default() }
    }

    /// Why it was opened instead of a GPU, if it was.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Tells this device from others.
    pub fn identity(&self) -> &Arc<AtomicU64> {
        &self.allocated
    }

    /// A zeroed buffer of `bytes` bytes (rounded up to a word).
    pub fn buffer(&self, bytes: u64) -> Arc<CpuBuffer> {
        let words = bytes.div_ceil(4) as usize;
        self.allocated.fetch_add(words as u64 * 4, Ordering::Relaxed);
        let allocated = Arc::clone(&self.allocated);
        Arc::new(CpuBuffer { words: UnsafeCell::new(vec![0; words].into()), allocated })
    }

    /// Bytes of all live buffers.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Copies `data` into `buffer` at byte `offset`; the caller has checked the range.
    pub fn write(&self, buffer: &CpuBuffer, offset: u64, data: &[u8]) {
        let _running = self.lock();
        // SAFETY: the run lock is held, so nothing else touches the contents.
        let words = unsafe { &mut *buffer.words.get() };
        bytemuck::cast_slice_mut::<u32, u8>(words)[offset as usize..][..data.len()].copy_from_slice(data);
    }

    /// The bytes of `buffer` in `range`, which the caller has checked.
    pub fn read(&self, buffer: &CpuBuffer, range: std::ops::Range<u64>) -> Vec<u8> {
        let _running = self.lock();
        // SAFETY: the run lock is held, so nothing else touches the contents.
        let words = unsafe { &*buffer.words.get() };
        bytemuck::cast_slice::<u32, u8>(words)[range.start as usize..range.end as usize].to_vec()
    }

    /// Binds `program` to its external buffers and allocates its transient ones.
    pub fn load(
        &self,
        program: Arc<Program>,
        externals: &[(&str, &Arc<CpuBuffer>)],
    ) -> Result<CpuExecutable> {
        let bound = program.bind(externals, |buffer| buffer.bytes())?;
        let blocks: Vec<_> = program.plan.blocks.iter().map(|&bytes| self.buffer(bytes)).collect();
        let buffers = (0..program.slots.len())
            .map(|slot| {
                bound[slot].cloned().or_else(|| program.plan.block_of[slot].map(|b| Arc::clone(&blocks[b])))
            })
            .collect();
        Ok(CpuExecutable { program, buffers })
    }

    /// Runs the dispatches in order as long as `goes_on`, which is called with the index of the next one, returns true;
    /// returns whether all ran.
    pub fn run_while(&self, executable: &CpuExecutable, goes_on: impl FnMut(usize) -> bool) -> bool {
        self.run_with(executable, goes_on, |_| {})
    }

    /// Runs all dispatches in order and returns the time of each.
    pub fn profile(&self, executable: &CpuExecutable) -> Vec<Duration> {
        let mut times = Vec::with_capacity(executable.program.dispatches.len());
        self.run_with(executable, |_| true, |time| times.push(time));
        times
    }

    fn run_with(
        &self,
        executable: &CpuExecutable,
        mut goes_on: impl FnMut(usize) -> bool,
        mut after: impl FnMut(Duration),
    ) -> bool {
        let _running = self.lock();
        for (step, dispatch) in executable.program.dispatches.iter().enumerate() {
            if !goes_on(step) {
                return false;
            }
            let start = Instant::now();
            let bindings = dispatch.kernel.bindings();
            let mut arguments: Vec<Argument<'_>> = bindings
                .iter()
                .zip(&dispatch.views)
                .map(|(binding, view)| executable.argument(view, binding.access, binding.words))
                .collect();
            dispatch.kernel.run(&mut arguments);
            after(start.elapsed());
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        // A twin that panicked leaves numbers, not broken invariants, behind.
        self.run.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl CpuExecutable {
    fn argument(&self, view: &View, access: Access, words: usize) -> Argument<'_> {
        let buffer = self.buffers[view.slot.0].as_ref().expect("a bound slot has memory");
        let first = (view.offset / 4) as usize;
        // SAFETY: the run lock is held. `ProgramBuilder::dispatch` has checked that the view is inside
        // the slot and that no slot is bound twice in a dispatch when one binding writes; `bind` has
        // checked the buffer's size, and distinct slots of one dispatch never share a block.
        unsafe {
            let base = (*buffer.words.get()).as_mut_ptr().add(first);
            match access {
                Access::Read => Argument::Read(std::slice::from_raw_parts(base, words)),
                Access::Write | Access::Update => {
                    Argument::Write(std::slice::from_raw_parts_mut(base, words))
                }
            }
        }
    }
}

/// The range `offset..offset + len` of a buffer of `bytes` bytes, or an error that names it.
pub(super) fn check_range(name: &str, bytes: u64, offset: u64, len: u64) -> Result<()> {
    if offset.checked_add(len).is_some_and(|end| end <= bytes) {
        return Ok(());
    }
    Err(Error::Binding {
        program: "host".into(),
        buffer: name.to_owned(),
        message: format!("bytes {offset}+{len} are outside its {bytes}"),
    })
}
