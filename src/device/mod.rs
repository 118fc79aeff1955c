//! Devices that run programs: a GPU through wgpu, or the host.

mod aliases;
mod buffer;
mod buffers;
pub mod cpu;
mod gpu;
mod plan;
mod program;
mod slot;
mod spec;

pub use buffer::{Buffer, Pending};
pub use buffers::{Buffers, Element, Key};
#[cfg(all(test, feature = "train"))]
pub(crate) use gpu::submissions;
pub use gpu::{AdapterInfo, AdapterKind, CooperativeMatrix, spirv};
pub use plan::Plan;
pub use program::{Program, ProgramBuilder, Summary};
pub use slot::{Dispatch, Slot, SlotId, SlotKind, View};
pub use spec::{CooperativeChoice, DeviceOptions, DeviceSpec};

use crate::compute::cooperative::Cooperative;
use crate::compute::shader;
use crate::error::{Error, Result};
use crate::policy::convolution::ConvolutionPolicy;
use crate::words::counted;
use aliases::check_aliases;
use buffer::{Memory, PendingInner};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// An open device. Clones share it.
#[derive(Debug, Clone)]
pub struct Device {
    inner: Inner,
    policy: Arc<ConvolutionPolicy>,
}

#[derive(Debug, Clone)]
enum Inner {
    Cpu(Arc<cpu::CpuDevice>),
    Gpu(Arc<gpu::GpuDevice>),
}

/// A program loaded on a device: pipelines made, buffers bound, ready to be replayed.
#[derive(Debug)]
pub struct Executable {
    program: Arc<Program>,
    inner: ExecutableInner,
    owner: Identity,
}

/// A device's count of the bytes that live in it, which tells it from others.
type Identity = Arc<AtomicU64>;

#[derive(Debug)]
enum ExecutableInner {
    Cpu(cpu::CpuExecutable),
    Gpu(gpu::GpuExecutable),
}

/// The time that one dispatch of a program took.
#[derive(Debug, Clone)]
pub struct DispatchTime {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The dispatch's label.
    pub label: String,
    /// Its floating-point operations.
    pub flops: u64,
    /// Its time, by timestamps on the device or the host's clock.
    pub time: Duration,
}

impl Device {
    fn new(inner: Inner) -> Self {
        let policy = match &inner {
            Inner::Cpu(_) => ConvolutionPolicy::default(),
            Inner::Gpu(gpu) => gpu.policy(),
        };
        Self { inner, policy: Arc::new(policy) }
    }

    /// Opens the device that `spec` names. The kernels of its convolutions are chosen by rule; [`crate::tuning::open`]
    /// takes those that `jem tune` measured.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the adapters found and what to install; unless `spec` is the host, [`Error::File`] for
    /// a wrong file in the [`shader::folder`].
    pub fn open(spec: &DeviceSpec, options: DeviceOptions) -> Result<Self> {
        let gpu = |spec| gpu::GpuDevice::open(spec, options).map(|gpu| Self::new(Inner::Gpu(Arc::new(gpu))));
        match spec {
            DeviceSpec::Cpu => Ok(Self::cpu()),
            DeviceSpec::Auto => gpu(spec).or_else(|error| match error {
                // The reason is followed by advice for users who asked for a GPU.
                Error::NoDevice { message, .. } => Ok(Self::new(Inner::Cpu(Arc::new(
                    cpu::CpuDevice::instead(message.split(';').next().unwrap_or_default().to_owned()),
                )))),
                other => Err(other),
            }),
            DeviceSpec::Gpu | DeviceSpec::GpuNamed(_) => gpu(spec),
        }
    }

    /// A hardware GPU if there is one, else the host; [`Device::fallback`] then says why.
    ///
    /// # Errors
    /// The errors of [`Device::open`].
    pub fn auto() -> Result<Self> {
        Self::open(&DeviceSpec::Auto, DeviceOptions::default())
    }

    /// The reason that [`DeviceSpec::Auto`] opened the host instead of a GPU; `None` for any other device.
    pub fn fallback(&self) -> Option<&str> {
        match &self.inner {
            Inner::Cpu(cpu) => cpu.fallback(),
            Inner::Gpu(_) => None,
        }
    }

    /// The host.
    pub fn cpu() -> Self {
        Self::new(Inner::Cpu(Arc::default()))
    }

    /// Every GPU adapter, hardware and software.
    pub fn adapters() -> Vec<AdapterInfo> {
        gpu::adapters()
    }

    /// A name for people: the adapter and its driver, or `cpu` with the number of threads.
    pub fn name(&self) -> String {
        match &self.inner {
            Inner::Cpu(_) => format!("cpu ({})", counted(rayon::current_num_threads(), "thread")),
            Inner::Gpu(gpu) => gpu.name().to_owned(),
        }
    }

    /// The adapter's description and capabilities; `None` for the host.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        match &self.inner {
            Inner::Cpu(_) => None,
            Inner::Gpu(gpu) => Some(gpu.info()),
        }
    }

    /// Whether this is the host.
    pub fn is_cpu(&self) -> bool {
        matches!(self.inner, Inner::Cpu(_))
    }

    /// The policy that chooses the kernels of convolutions here: the device's rule, unless another was given by
    /// [`Device::with_policy`].
    pub fn policy(&self) -> &ConvolutionPolicy {
        &self.policy
    }

    /// The same device with another policy, such as one with the winners of a measurement ([`crate::tuning`]).
    pub fn with_policy(self, policy: ConvolutionPolicy) -> Self {
        Self { policy: Arc::new(policy), ..self }
    }

    /// A summary of the kernels for the record of a run: how those of convolutions are chosen, and on a GPU whether
    /// shaders come from a [`shader::folder`].
    pub fn kernels(&self) -> String {
        let policy = self.policy().summary();
        match self.shaders() {
            Some(folder) => format!("{policy}; shaders from {}", folder.summary()),
            None => policy,
        }
    }

    /// The folder that replaces shaders of the executable, if any; `None` on the host, which runs no shaders.
    pub fn shaders(&self) -> Option<&'static shader::Folder> {
        match &self.inner {
            Inner::Cpu(_) => None,
            Inner::Gpu(_) => shader::folder().ok().flatten(),
        }
    }

    /// The cell in which a GPU keeps the answer of `self_test::usable_cooperative`.
    pub(crate) fn usable_cooperative(&self) -> Option<&gpu::Usable> {
        match &self.inner {
            Inner::Cpu(_) => None,
            Inner::Gpu(gpu) => Some(gpu.usable()),
        }
    }

    /// The cooperative matrices (tensor cores) with which convolutions may multiply on this device, the largest first,
    /// each in every variant that the driver can take; none on the host. [`crate::self_test::gate`] finds out whether
    /// they multiply correctly.
    pub fn cooperative(&self) -> &[Cooperative] {
        match &self.inner {
            Inner::Cpu(_) => &[],
            Inner::Gpu(gpu) => gpu.cooperative(),
        }
    }

    /// A zeroed buffer of `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Device`] when the device has no such memory.
    pub fn buffer(&self, name: &str, bytes: u64) -> Result<Buffer> {
        let memory = match &self.inner {
            Inner::Cpu(cpu) => Memory::Cpu(cpu.buffer(bytes)),
            Inner::Gpu(gpu) => Memory::Gpu(gpu.buffer(name, bytes)?),
        };
        Ok(Buffer { name: name.into(), bytes, memory })
    }

    /// A buffer that holds `words` (f32 or u32).
    ///
    /// # Errors
    /// The errors of [`Device::buffer`].
    pub fn buffer_from<T: bytemuck::Pod>(&self, name: &str, words: &[T]) -> Result<Buffer> {
        let data: &[u8] = bytemuck::cast_slice(words);
        let buffer = self.buffer(name, data.len() as u64)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    /// Queues a copy of `data` into `buffer` at byte `offset`, in order with runs. The range begins at a
    /// multiple of 4 and ends at one or at the buffer's end.
    ///
    /// # Errors
    /// [`Error::Binding`] if the range is outside the buffer or unaligned; [`Error::DeviceLost`].
    pub fn write(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<()> {
        cpu::check_range(&buffer.name, buffer.bytes, offset, data.len() as u64)?;
        let end = offset + data.len() as u64;
        if !offset.is_multiple_of(4) || !(end.is_multiple_of(4) || end == buffer.bytes) {
            return Err(Error::Binding {
                program: "host".into(),
                buffer: buffer.name.to_string(),
                message: format!("a write of bytes {offset}..{end} begins or ends inside a word"),
            });
        }
        self.check_owner(buffer, "host")?;
        match (&self.inner, &buffer.memory) {
            (Inner::Cpu(cpu), Memory::Cpu(memory)) => cpu.write(memory, offset, data),
            (Inner::Gpu(gpu), Memory::Gpu(memory)) => gpu.write(memory, offset, data)?,
            _ => unreachable!("the owner was checked"),
        }
        Ok(())
    }

    /// The bytes of `buffer`, after all that was queued before; waits for the device.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`] if anything queued before failed.
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<u8>> {
        self.read_later(buffer, 0, buffer.bytes)?.wait()
    }

    /// [`Device::read`] as f32 or u32.
    ///
    /// # Errors
    /// The errors of [`Device::read`].
    pub fn read_as<T: bytemuck::Pod>(&self, buffer: &Buffer) -> Result<Vec<T>> {
        Ok(bytemuck::pod_collect_to_vec(&self.read(buffer)?))
    }

    /// Queues a copy of `bytes` bytes from byte `offset` of `buffer` to the host, without waiting for it.
    ///
    /// # Errors
    /// [`Error::Binding`] if the range is outside the buffer; [`Error::DeviceLost`].
    pub fn read_later(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Pending> {
        cpu::check_range(&buffer.name, buffer.bytes, offset, bytes)?;
        self.check_owner(buffer, "host")?;
        match (&self.inner, &buffer.memory) {
            (Inner::Cpu(cpu), Memory::Cpu(memory)) => {
                Ok(Pending(PendingInner::Ready(cpu.read(memory, offset..offset + bytes))))
            }
            (Inner::Gpu(gpu), Memory::Gpu(memory)) => {
                Ok(Pending(PendingInner::Gpu(gpu.read_later(memory, offset, bytes)?)))
            }
            _ => unreachable!("the owner was checked"),
        }
    }

    /// Loads a program: binds the external slots by name, allocates the transient blocks, makes pipelines.
    ///
    /// # Errors
    /// [`Error::Binding`] for a missing or small buffer, or one that a dispatch would bind under two names
    /// when it writes to one of them; [`Error::Limit`] for a tensor that the device
    /// cannot bind, [`Error::Device`] if the driver refuses a kernel.
    pub fn load(&self, program: Program, externals: &[(&str, &Buffer)]) -> Result<Executable> {
        let program = Arc::new(program);
        for (_, buffer) in externals {
            self.check_owner(buffer, &program.name)?;
        }
        check_aliases(&program, externals)?;
        let inner = match &self.inner {
            Inner::Cpu(cpu) => {
                let externals: Vec<_> = externals.iter().map(|(name, b)| (*name, b.memory.cpu())).collect();
                ExecutableInner::Cpu(cpu.load(Arc::clone(&program), &externals)?)
            }
            Inner::Gpu(gpu) => {
                let externals: Vec<_> = externals.iter().map(|(name, b)| (*name, b.memory.gpu())).collect();
                ExecutableInner::Gpu(gpu.load(Arc::clone(&program), &externals)?)
            }
        };
        Ok(Executable { program, inner, owner: Arc::clone(self.identity()) })
    }

    /// Compiles the kernels of `programs` on all cores, without allocating memory for them: a later [`Device::load`] of
    /// the same kernels finds them compiled.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses a kernel; [`Error::DeviceLost`].
    pub fn compile<'a>(&self, programs: impl IntoIterator<Item = &'a Program>) -> Result<()> {
        let dispatches = programs.into_iter().flat_map(|program| &program.dispatches);
        match &self.inner {
            Inner::Cpu(_) => Ok(()),
            Inner::Gpu(gpu) => gpu.compile_ahead(&dispatches.cloned().collect::<Vec<_>>()),
        }
    }

    /// Queues all dispatches of a loaded program.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or [`Error::Device`] for an error that an earlier run raised.
    pub fn run(&self, executable: &Executable) -> Result<()> {
        self.run_while(executable, |_| true).map(drop)
    }

    /// Queues the dispatches of a loaded program as long as `goes_on` returns true, and returns whether all of them are
    /// queued. `goes_on` is called with the index of the next dispatch: on the host before each dispatch, on a GPU
    /// before each submission, a few submissions ahead of the work at most. It must not use the device.
    ///
    /// # Errors
    /// The errors of [`Device::run`].
    pub fn run_while(&self, executable: &Executable, goes_on: impl FnMut(usize) -> bool) -> Result<bool> {
        self.check_loaded_here(executable)?;
        match (&self.inner, &executable.inner) {
            (Inner::Cpu(cpu), ExecutableInner::Cpu(executable)) => Ok(cpu.run_while(executable, goes_on)),
            (Inner::Gpu(gpu), ExecutableInner::Gpu(executable)) => gpu.run_while(executable, goes_on),
            _ => unreachable!("the owner was checked"),
        }
    }

    /// Runs a loaded program once and returns the time of each dispatch.
    ///
    /// # Errors
    /// The errors of [`Device::run`]; [`Error::Device`] if the adapter has no timestamps.
    pub fn profile(&self, executable: &Executable) -> Result<Vec<DispatchTime>> {
        self.check_loaded_here(executable)?;
        let times = match (&self.inner, &executable.inner) {
            (Inner::Cpu(cpu), ExecutableInner::Cpu(executable)) => cpu.profile(executable),
            (Inner::Gpu(gpu), ExecutableInner::Gpu(executable)) => gpu.profile(executable)?,
            _ => unreachable!("the owner was checked"),
        };
        let name = |(dispatch, time): (&Dispatch, Duration)| DispatchTime {
            kernel: dispatch.kernel.name(),
            label: dispatch.label.clone(),
            flops: dispatch.kernel.flops(),
            time,
        };
        Ok(executable.program.dispatches.iter().zip(times).map(name).collect())
    }

    fn identity(&self) -> &Identity {
        match &self.inner {
            Inner::Cpu(cpu) => cpu.identity(),
            Inner::Gpu(gpu) => gpu.identity(),
        }
    }

    /// Refuses a buffer that another device made.
    fn check_owner(&self, buffer: &Buffer, program: &str) -> Result<()> {
        if Arc::ptr_eq(buffer.memory.owner(), self.identity()) {
            return Ok(());
        }
        Err(Error::Binding {
            program: program.to_owned(),
            buffer: buffer.name.to_string(),
            message: format!("is a buffer of another device, not of {}", self.name()),
        })
    }

    /// Refuses a program that another device loaded.
    fn check_loaded_here(&self, executable: &Executable) -> Result<()> {
        if Arc::ptr_eq(&executable.owner, self.identity()) {
            return Ok(());
        }
        let what = format!("program {}", executable.program.name);
        Err(Error::Device { device: self.name(), what, message: "it was loaded on another device".into() })
    }

    /// Makes a GPU lost, as a driver reset would, so that tests see the consequences. Has no effect on the host.
    #[doc(hidden)]
    pub fn lose(&self) {
        if let Inner::Gpu(gpu) = &self.inner {
            gpu.lose();
        }
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`] if anything queued before failed.
    pub fn wait(&self) -> Result<()> {
        match &self.inner {
            Inner::Cpu(_) => Ok(()),
            Inner::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Bytes of all live buffers that were made here, transient blocks included.
    pub fn allocated_bytes(&self) -> u64 {
        match &self.inner {
            Inner::Cpu(cpu) => cpu.allocated_bytes(),
            Inner::Gpu(gpu) => gpu.allocated_bytes(),
        }
    }
}

impl Executable {
    /// The program that was loaded.
    pub fn program(&self) -> &Program {
        &self.program
    }
}
