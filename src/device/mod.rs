//! Devices that run programs: a GPU through wgpu, or the host.

pub mod cpu;
mod gpu;
mod plan;
mod program;
mod spec;
pub mod tuned;

pub use gpu::{AdapterInfo, AdapterKind, CooperativeMatrix, spirv};
pub use plan::Plan;
pub use program::{Dispatch, Program, ProgramBuilder, Slot, SlotId, SlotKind, Summary, View};
pub use spec::{CooperativeChoice, DeviceOptions, DeviceSpec};

use crate::error::{Error, Result};
use crate::kernels::Access;
use crate::kernels::choice::Choices;
use crate::kernels::cooperative::Cooperative;
use crate::kernels::shader;
use std::sync::Arc;
use std::time::Duration;

/// A buffer on a device. Clones share the memory; it is freed with the last of them.
#[derive(Debug, Clone)]
pub struct Buffer {
    name: Arc<str>,
    bytes: u64,
    memory: Memory,
}

#[derive(Debug, Clone)]
enum Memory {
    Cpu(Arc<cpu::CpuBuffer>),
    Gpu(gpu::GpuBuffer),
}

impl Buffer {
    /// The name given when it was made.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An open device. Clones share it.
#[derive(Debug, Clone)]
pub struct Device(Inner);

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
}

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

/// A copy of a buffer on its way to the host.
#[derive(Debug)]
pub struct Pending(PendingInner);

#[derive(Debug)]
enum PendingInner {
    Ready(Vec<u8>),
    Gpu(gpu::GpuPending),
}

impl Device {
    /// Opens the device that `spec` names.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with what there is and what to install; [`Error::File`] or [`Error::Io`] for a file of
    /// [`tuned`] kernels that cannot be read; unless `spec` is the host, [`Error::File`] for a wrong file in the
    /// [`shader::folder`].
    pub fn open(spec: &DeviceSpec, options: DeviceOptions) -> Result<Self> {
        let gpu = |spec| gpu::GpuDevice::open(spec, options).map(|gpu| Self(Inner::Gpu(Arc::new(gpu))));
        match spec {
            DeviceSpec::Cpu => Ok(Self::cpu()),
            DeviceSpec::Auto => gpu(spec).or_else(|error| match error {
                Error::NoDevice { .. } => {
                    tracing::info!("{error}; using the CPU");
                    Ok(Self::cpu())
                }
                other => Err(other),
            }),
            DeviceSpec::Gpu | DeviceSpec::GpuNamed(_) => gpu(spec),
        }
    }

    /// The host.
    pub fn cpu() -> Self {
        Self(Inner::Cpu(Arc::default()))
    }

    /// Every GPU adapter, hardware and software.
    pub fn adapters() -> Vec<AdapterInfo> {
        gpu::adapters()
    }

    /// A name for people: the adapter and its driver, or `cpu` with the number of threads.
    pub fn name(&self) -> String {
        match &self.0 {
            Inner::Cpu(_) => format!("cpu ({} threads)", rayon::current_num_threads()),
            Inner::Gpu(gpu) => gpu.name().to_owned(),
        }
    }

    /// What the adapter is and can do; `None` for the host.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        match &self.0 {
            Inner::Cpu(_) => None,
            Inner::Gpu(gpu) => Some(gpu.info()),
        }
    }

    /// Whether this is the host.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0, Inner::Cpu(_))
    }

    /// Which kernels compute convolutions fastest here: on a GPU those that `jem tune` measured ([`tuned`]), else
    /// Winograd's where they are faster. The host has one way.
    pub fn choices(&self) -> Choices {
        match &self.0 {
            Inner::Cpu(_) => Choices::default(),
            Inner::Gpu(gpu) => gpu.choices(),
        }
    }

    /// A summary of the kernels for the record of a run: how those of convolutions are chosen, and on a GPU whether
    /// shaders come from a [`shader::folder`].
    pub fn kernels(&self) -> String {
        let choices = self.choices().summary();
        match self.shaders() {
            Some(folder) => format!("{choices}; shaders from {}", folder.summary()),
            None => choices,
        }
    }

    /// The folder that replaces shaders of the executable, if any; `None` on the host, which runs no shaders.
    pub fn shaders(&self) -> Option<&'static shader::Folder> {
        match &self.0 {
            Inner::Cpu(_) => None,
            Inner::Gpu(_) => shader::folder().ok().flatten(),
        }
    }

    /// Where a GPU keeps the answer of `self_test::usable_cooperative`.
    pub(crate) fn usable_cooperative(&self) -> Option<&gpu::Usable> {
        match &self.0 {
            Inner::Cpu(_) => None,
            Inner::Gpu(gpu) => Some(gpu.usable()),
        }
    }

    /// The cooperative matrices (tensor cores) with which convolutions may multiply on this device, the largest first,
    /// each in every variant that the driver can take; none on the host. [`crate::self_test::gate`] finds out whether
    /// they multiply correctly.
    pub fn cooperative(&self) -> &[Cooperative] {
        match &self.0 {
            Inner::Cpu(_) => &[],
            Inner::Gpu(gpu) => gpu.cooperative(),
        }
    }

    /// A zeroed buffer of `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Device`] when the device has no such memory.
    pub fn buffer(&self, name: &str, bytes: u64) -> Result<Buffer> {
        let memory = match &self.0 {
            Inner::Cpu(cpu) => Memory::Cpu(cpu.buffer(bytes)),
            Inner::Gpu(gpu) => Memory::Gpu(gpu.buffer(name, bytes)?),
        };
        Ok(Buffer { name: name.into(), bytes, memory })
    }

    /// A buffer that holds `words` (f32 or u32).
    ///
    /// # Errors
    /// As [`Device::buffer`].
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
        match (&self.0, &buffer.memory) {
            (Inner::Cpu(cpu), Memory::Cpu(memory)) => cpu.write(memory, offset, data),
            (Inner::Gpu(gpu), Memory::Gpu(memory)) => gpu.write(memory, offset, data)?,
            _ => unreachable!("a buffer of another device"),
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
    /// As [`Device::read`].
    pub fn read_as<T: bytemuck::Pod>(&self, buffer: &Buffer) -> Result<Vec<T>> {
        Ok(bytemuck::pod_collect_to_vec(&self.read(buffer)?))
    }

    /// Queues a copy of `bytes` bytes from byte `offset` of `buffer` to the host, without waiting for it.
    ///
    /// # Errors
    /// [`Error::Binding`] if the range is outside the buffer; [`Error::DeviceLost`].
    pub fn read_later(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Pending> {
        cpu::check_range(&buffer.name, buffer.bytes, offset, bytes)?;
        match (&self.0, &buffer.memory) {
            (Inner::Cpu(cpu), Memory::Cpu(memory)) => {
                Ok(Pending(PendingInner::Ready(cpu.read(memory, offset..offset + bytes))))
            }
            (Inner::Gpu(gpu), Memory::Gpu(memory)) => {
                Ok(Pending(PendingInner::Gpu(gpu.read_later(memory, offset, bytes)?)))
            }
            _ => unreachable!("a buffer of another device"),
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
        check_aliases(&program, externals)?;
        let inner = match &self.0 {
            Inner::Cpu(cpu) => {
                let externals: Vec<_> = externals.iter().map(|(name, b)| (*name, b.memory.cpu())).collect();
                ExecutableInner::Cpu(cpu.load(Arc::clone(&program), &externals)?)
            }
            Inner::Gpu(gpu) => {
                let externals: Vec<_> = externals.iter().map(|(name, b)| (*name, b.memory.gpu())).collect();
                ExecutableInner::Gpu(gpu.load(Arc::clone(&program), &externals)?)
            }
        };
        Ok(Executable { program, inner })
    }

    /// Compiles the kernels of `programs` on all cores, without allocating memory for them: a later [`Device::load`] of
    /// the same kernels finds them compiled.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses a kernel; [`Error::DeviceLost`].
    pub fn compile<'a>(&self, programs: impl IntoIterator<Item = &'a Program>) -> Result<()> {
        let dispatches = programs.into_iter().flat_map(|program| &program.dispatches);
        match &self.0 {
            Inner::Cpu(_) => Ok(()),
            Inner::Gpu(gpu) => gpu.compile_ahead(&dispatches.cloned().collect::<Vec<_>>()),
        }
    }

    /// Queues all dispatches of a loaded program.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or [`Error::Device`] for an error that an earlier run raised.
    pub fn run(&self, executable: &Executable) -> Result<()> {
        match (&self.0, &executable.inner) {
            (Inner::Cpu(cpu), ExecutableInner::Cpu(executable)) => cpu.run(executable),
            (Inner::Gpu(gpu), ExecutableInner::Gpu(executable)) => gpu.run(executable)?,
            _ => unreachable!("an executable of another device"),
        }
        Ok(())
    }

    /// Runs a loaded program once and returns the time of each dispatch.
    ///
    /// # Errors
    /// As [`Device::run`]; [`Error::Device`] if the adapter has no timestamps.
    pub fn profile(&self, executable: &Executable) -> Result<Vec<DispatchTime>> {
        let times = match (&self.0, &executable.inner) {
            (Inner::Cpu(cpu), ExecutableInner::Cpu(executable)) => cpu.profile(executable),
            (Inner::Gpu(gpu), ExecutableInner::Gpu(executable)) => gpu.profile(executable)?,
            _ => unreachable!("an executable of another device"),
        };
        let name = |(dispatch, time): (&Dispatch, Duration)| DispatchTime {
            kernel: dispatch.kernel.name(),
            label: dispatch.label.clone(),
            flops: dispatch.kernel.flops(),
            time,
        };
        Ok(executable.program.dispatches.iter().zip(times).map(name).collect())
    }

    /// Makes a GPU lost, as a driver reset would, so that tests see what follows. The host stays.
    #[doc(hidden)]
    pub fn lose(&self) {
        if let Inner::Gpu(gpu) = &self.0 {
            gpu.lose();
        }
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`] if anything queued before failed.
    pub fn wait(&self) -> Result<()> {
        match &self.0 {
            Inner::Cpu(_) => Ok(()),
            Inner::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Bytes of all live buffers that were made here, transient blocks included.
    pub fn allocated_bytes(&self) -> u64 {
        match &self.0 {
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

impl Pending {
    /// Whether the bytes have arrived; never waits.
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            PendingInner::Ready(_) => true,
            PendingInner::Gpu(pending) => pending.is_ready(),
        }
    }

    /// The bytes; waits for the device if they have not arrived.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`] if the copy or anything before it failed.
    pub fn wait(self) -> Result<Vec<u8>> {
        match self.0 {
            PendingInner::Ready(bytes) => Ok(bytes),
            PendingInner::Gpu(pending) => pending.wait(),
        }
    }
}

/// Refuses one buffer under two names of one dispatch that writes to it: two references to the same words
/// on the host, a validation error on a GPU. (`ProgramBuilder` has refused it under one name.)
fn check_aliases(program: &Program, externals: &[(&str, &Buffer)]) -> Result<()> {
    let given = |view: &View| externals.iter().find(|(name, _)| *name == program.slots[view.slot.0].name);
    for dispatch in &program.dispatches {
        let bindings = dispatch.kernel.bindings();
        let external = |view: &View| program.slots[view.slot.0].kind == SlotKind::External;
        let bound: Vec<_> = bindings
            .iter()
            .zip(&dispatch.views)
            .filter(|(_, view)| external(view))
            .filter_map(|(binding, view)| Some((binding, view.slot, given(view)?)))
            .collect();
        for (i, (a, slot_a, (name_a, buffer_a))) in bound.iter().enumerate() {
            for (b, slot_b, (name_b, buffer_b)) in &bound[i + 1..] {
                let written = a.access != Access::Read || b.access != Access::Read;
                if slot_a != slot_b && written && buffer_a.memory.is(&buffer_b.memory) {
                    return Err(Error::Binding {
                        program: program.name.clone(),
                        buffer: (*name_a).to_owned(),
                        message: format!(
                            "is also given as {name_b}, but kernel {} ({}) writes to one of them",
                            dispatch.kernel.name(),
                            dispatch.label
                        ),
                    });
                }
            }
        }
    }
    Ok(())
}

impl Memory {
    /// Whether both are the same memory.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Memory::Cpu(a), Memory::Cpu(b)) => Arc::ptr_eq(a, b),
            (Memory::Gpu(a), Memory::Gpu(b)) => a.is(b),
            _ => false,
        }
    }

    fn cpu(&self) -> &Arc<cpu::CpuBuffer> {
        match self {
            Memory::Cpu(memory) => memory,
            Memory::Gpu(_) => unreachable!("a buffer of another device"),
        }
    }

    fn gpu(&self) -> &gpu::GpuBuffer {
        match self {
            Memory::Gpu(memory) => memory,
            Memory::Cpu(_) => unreachable!("a buffer of another device"),
        }
    }
}
