//! The GPU device. wgpu is named here and in the files of this module's folder, and nowhere else.
//!
//! Nothing here panics on what a driver says: creations run inside error scopes, everything else reaches
//! [`health::Health`], and every public method returns what it finds there.

mod adapter;
mod compilers;
mod executable;
mod health;
mod memory_model;
mod pace;
mod pipeline;
mod pipeline_cache;
mod pipeline_file;
mod profile;
mod readback;
mod spirv;
mod stream;

pub use adapter::{AdapterInfo, AdapterKind, CooperativeMatrix, adapters};
pub use executable::GpuExecutable;
#[cfg(all(test, feature = "train"))]
pub(crate) use pace::tests::submissions;
pub use readback::GpuPending;
pub use spirv::spirv;

use super::{CooperativeChoice, DeviceOptions, DeviceSpec};
use crate::compute::cooperative::Cooperative;
use crate::compute::shader;
use crate::error::{Error, Result};
use crate::policy::convolution::ConvolutionPolicy;
use health::Health;
use pipeline_cache::PipelineCache;
use pipeline_file::PipelineFile;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use stream::Stream;

/// Bytes written since the last submission after which the writes are submitted on their own: wgpu keeps
/// a staging copy of every write until then, and a data set would be held twice.
const WRITE_FLUSH: u64 = 32 << 20;

/// GPU memory. Clones share it; it is freed with the last of them.
#[derive(Debug, Clone)]
pub struct GpuBuffer(Arc<Allocation>);

/// A buffer that is counted in [`GpuDevice::allocated_bytes`] as long as it lives.
#[derive(Debug)]
struct Allocation {
    buffer: wgpu::Buffer,
    allocated: Arc<AtomicU64>,
}

impl GpuBuffer {
    fn bytes(&self) -> u64 {
        self.0.buffer.size()
    }

    fn raw(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }

    /// The identity of the device that made it.
    pub fn owner(&self) -> &Arc<AtomicU64> {
        &self.0.allocated
    }

    /// Whether both are the same memory.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.allocated.fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}

/// The matrices that multiply correctly, or the reason that there are none; empty until they are tried.
pub type Usable = OnceLock<std::result::Result<Cooperative, String>>;

/// A GPU.
#[derive(Debug)]
pub struct GpuDevice {
    name: String,
    info: AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: wgpu::Limits,
    /// Floating-point operations in the time that a byte takes, as [`ConvolutionPolicy::fastest`] counts them.
    balance: u64,
    checked: bool,
    cooperative: Vec<Cooperative>,
    usable: Usable,
    health: Arc<Health>,
    allocated: Arc<AtomicU64>,
    pipelines: pipeline::Cache,
    pipeline_file: Option<PipelineFile>,
    pipeline_cache: OnceLock<Option<PipelineCache>>,
    staging: readback::StagingPool,
    opened: Instant,
    stream: Mutex<Stream>,
}

impl GpuDevice {
    /// Tells this device from others.
    pub fn identity(&self) -> &Arc<AtomicU64> {
        &self.allocated
    }

    /// Opens the adapter that `spec` names, with the adapter's own limits of buffers and workgroups
    /// ([`adapter::limits`]), and with cooperative matrices where it has what they need. The file of compiled pipelines
    /// is read only when something is compiled.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the adapters that exist and what to install; [`Error::File`] for a wrong file in the
    /// [`shader::folder`].
    pub fn open(spec: &DeviceSpec, options: DeviceOptions) -> Result<Self> {
        shader::folder()?;
        let (adapter, info) = adapter::choose(spec)?;
        let choice = options.cooperative.map_or_else(CooperativeChoice::from_environment, Ok)?;
        let cooperative = info.cooperative(&choice.variants());
        let limits = adapter::limits(&adapter.limits());
        let wanted =
            wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16 | wgpu::Features::PIPELINE_CACHE;
        let mut features = adapter.features() & wanted;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if !cooperative.is_empty() {
            // SUBGROUP is for @builtin(subgroup_id). wgpu adds Vulkan's memory model by itself.
            features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP;
            if cooperative.iter().any(|matrices| matrices.variant.is_patched()) {
                features |= wgpu::Features::PASSTHROUGH_SHADERS;
            }
            // SAFETY: cooperative matrices are the only experimental feature in use. What may be wrong with them
            // is in the shaders that name them, which self_test::gate tries on the very device.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("jem"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            ..Default::default()
        };
        let name = info.title();
        let balance = match info.kind {
            AdapterKind::Software => ConvolutionPolicy::SOFTWARE,
            _ => ConvolutionPolicy::HARDWARE,
        };
        let keeps = features.contains(wgpu::Features::PIPELINE_CACHE) && !options.uncached;
        let key = keeps.then(|| wgpu::util::pipeline_cache_key(&adapter.get_info())).flatten();
        let pipeline_file = key.and_then(|key| PipelineFile::of(&key, &info));
        let stream = Stream::of(info.kind);
        let refused = |error: wgpu::RequestDeviceError| Error::NoDevice {
            asked: spec.to_string(),
            message: format!("{name} could not be opened: {error}"),
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(refused)?;
        let health = Health::watch(&device);
        Ok(Self {
            name,
            info,
            device,
            queue,
            limits,
            balance,
            checked: options.checked,
            cooperative,
            usable: Usable::new(),
            health,
            allocated: Arc::default(),
            pipelines: pipeline::Cache::default(),
            pipeline_file,
            pipeline_cache: OnceLock::new(),
            staging: readback::StagingPool::default(),
            opened: Instant::now(),
            stream: Mutex::new(stream),
        })
    }

    /// The cell that keeps the answer of `self_test::usable_cooperative`.
    pub fn usable(&self) -> &Usable {
        &self.usable
    }

    /// The rule for the adapter: [`ConvolutionPolicy::fastest`].
    pub fn policy(&self) -> ConvolutionPolicy {
        ConvolutionPolicy::fastest(self.info.max_storage_binding, self.balance)
    }

    /// The adapter, its backend and its driver.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The adapter's description and capabilities.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// The matrices that the device offers, the largest first; the gate decides which may be used.
    pub fn cooperative(&self) -> &[Cooperative] {
        &self.cooperative
    }

    /// A zeroed buffer of `bytes` bytes, rounded up to a word.
    ///
    /// # Errors
    /// [`Error::Device`] when the device has no such memory.
    pub fn buffer(&self, name: &str, bytes: u64) -> Result<GpuBuffer> {
        use wgpu::BufferUsages as Usage;
        self.allocate(name, bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST)
    }

    fn allocate(&self, name: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<GpuBuffer> {
        self.check()?;
        let what = || format!("buffer {name} ({bytes} bytes)");
        if bytes > self.limits.max_buffer_size {
            let limit = self.limits.max_buffer_size;
            return Err(self.error(what(), format!("the device allows {limit} bytes (max_buffer_size)")));
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some(name),
            size: bytes.next_multiple_of(4).max(4),
            usage,
            mapped_at_creation: false,
        };
        let buffer = self.scoped(what, || self.device.create_buffer(&descriptor))?;
        self.allocated.fetch_add(buffer.size(), Ordering::Relaxed);
        Ok(GpuBuffer(Arc::new(Allocation { buffer, allocated: Arc::clone(&self.allocated) })))
    }

    /// Queues a copy of `data` into `buffer` at byte `offset`, which is a multiple of 4. A last partial
    /// word is filled with zeros: the caller has checked that it is the buffer's last.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or [`Error::Device`] when there is no memory for the copy.
    pub fn write(&self, buffer: &GpuBuffer, offset: u64, data: &[u8]) -> Result<()> {
        self.check()?;
        let what = || format!("a write of {} bytes", data.len());
        let (whole, rest) = data.split_at(data.len() - data.len() % 4);
        let mut at = offset;
        for chunk in whole.chunks(WRITE_FLUSH as usize) {
            self.scoped(what, || self.queue.write_buffer(buffer.raw(), at, chunk))?;
            at += chunk.len() as u64;
            let flush = {
                let mut stream = self.stream();
                stream.unsubmitted_writes += chunk.len() as u64;
                stream.unsubmitted_writes >= WRITE_FLUSH
            };
            if flush {
                self.submit(what, None, Some(0))?;
            }
        }
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.scoped(what, || self.queue.write_buffer(buffer.raw(), at, &word))?;
        }
        Ok(())
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`] if anything queued before failed.
    pub fn wait(&self) -> Result<()> {
        self.check()?;
        // Writes alone are queued only with the next submission.
        let last = self.submit(|| "the queued writes".into(), None, Some(0))?;
        self.wait_for(&last)
    }

    /// Bytes of all live buffers: the caller's, transient blocks, uniform blocks and read-back staging.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Makes the device lost, as a driver reset would.
    pub fn lose(&self) {
        self.device.destroy();
        // The loss is reported by the poll that finds the queue empty.
        drop(self.poll_only(wgpu::PollType::wait_indefinitely()));
    }

    /// Runs `create` and returns the error that it raised, as an error of `what`.
    fn scoped<T>(&self, what: impl FnOnce() -> String, create: impl FnOnce() -> T) -> Result<T> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [OutOfMemory, Validation, Internal].map(|filter| self.device.push_error_scope(filter));
        let value = create();
        let mut raised = None;
        for scope in scopes.into_iter().rev() {
            raised = pollster::block_on(scope.pop()).or(raised);
        }
        self.health.check_lost(&self.name)?;
        match raised {
            None => Ok(value),
            Some(error) => Err(self.error(what(), health::message(&error))),
        }
    }

    /// The error that an earlier call left behind, if any.
    fn check(&self) -> Result<()> {
        self.health.check(&self.name)
    }

    fn error(&self, what: String, message: String) -> Error {
        Error::Device { device: self.name.clone(), what, message }
    }
}
