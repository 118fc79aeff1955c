//! A program on the GPU: its memory, pipelines and bind groups, made once and replayed.

use super::pipeline::{Pipeline, described};
use super::{GpuBuffer, GpuDevice};
use crate::device::{Dispatch, Program};
use crate::error::{Error, Result};
use std::num::NonZeroU64;
use std::sync::Arc;

/// A program bound to its buffers.
#[derive(Debug)]
pub struct GpuExecutable {
    pub(super) program: Arc<Program>,
    pub(super) steps: Vec<Step>,
    /// The work of the steps before each step, then of all steps: see [`work_before`].
    work: Vec<u64>,
    /// Bind groups keep wgpu's buffers alive; this keeps them counted.
    _memory: Vec<GpuBuffer>,
}

/// One dispatch.
#[derive(Debug)]
pub struct Step {
    pipeline: Arc<Pipeline>,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
}

impl Step {
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

impl GpuDevice {
    /// Binds `program` to its external buffers and allocates its transient ones.
    ///
    /// # Errors
    /// [`Error::Limit`] for a tensor that the device cannot hold or bind, [`Error::Binding`] for a missing
    /// or small buffer, [`Error::Device`] if there is no memory or the driver refuses a kernel.
    pub fn load(&self, program: Arc<Program>, externals: &[(&str, &GpuBuffer)]) -> Result<GpuExecutable> {
        self.check()?;
        self.check_limits(&program)?;
        let bound = program.bind(externals, GpuBuffer::bytes)?;
        let pipelines = self.pipelines(&program.dispatches)?;
        let block = |(i, &bytes): (usize, &u64)| self.buffer(&format!("{} block {i}", program.name), bytes);
        let blocks = program.plan.blocks.iter().enumerate().map(block).collect::<Result<Vec<_>>>()?;
        let buffer_of = |slot: usize| -> &GpuBuffer {
            bound[slot].or_else(|| program.plan.block_of[slot].map(|b| &blocks[b])).expect("a bound slot")
        };
        let (uniforms, uniform_offsets) = self.uniforms(&program)?;
        let mut steps = Vec::with_capacity(program.dispatches.len());
        for ((dispatch, pipeline), &offset) in program.dispatches.iter().zip(pipelines).zip(&uniform_offsets)
        {
            let kernel = &dispatch.kernel;
            let uniform = range(&uniforms, offset, kernel.uniforms().len());
            let mut entries: Vec<_> =
                uniform.map(|resource| wgpu::BindGroupEntry { binding: 0, resource }).into_iter().collect();
            for (binding, view) in kernel.bindings().iter().zip(&dispatch.views) {
                let buffer = buffer_of(view.slot.0);
                let resource = range(buffer, view.offset, binding.words).ok_or_else(|| Error::Binding {
                    program: program.name.clone(),
                    buffer: program.slots[view.slot.0].name.clone(),
                    message: format!("{} binds no words of it as {}", described(dispatch), binding.name),
                })?;
                entries.push(wgpu::BindGroupEntry { binding: binding.index, resource });
            }
            let descriptor = wgpu::BindGroupDescriptor {
                label: Some(&dispatch.label),
                layout: &pipeline.layout,
                entries: &entries,
            };
            let bindings =
                self.scoped(|| described(dispatch), || self.device.create_bind_group(&descriptor))?;
            steps.push(Step { pipeline, bindings, workgroups: kernel.workgroups() });
        }
        let memory = bound.iter().flatten().map(|&b| b.clone()).chain(blocks.iter().cloned());
        let memory = memory.chain([uniforms.clone()]).collect();
        let work = work_before(&program.dispatches, self.balance);
        Ok(GpuExecutable { program, steps, work, _memory: memory })
    }

    /// Compiles the pipelines of `dispatches`.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses a kernel; [`Error::DeviceLost`].
    pub fn compile_ahead(&self, dispatches: &[Dispatch]) -> Result<()> {
        self.check()?;
        self.pipelines(dispatches).map(drop)
    }

    /// Queues the dispatches, in submissions of about 20 ms on hardware ([`super::pace`]), so that the GPU still draws
    /// the desktop, Ctrl-C is answered, and the system does not reset the GPU for hanging (Windows allows 2 seconds).
    /// `goes_on` is called before each submission with the index of its first dispatch; if it returns false, the rest
    /// is not queued. Returns whether all are queued.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or [`Error::Device`] for an error that an earlier call raised.
    pub fn run_while(
        &self,
        executable: &GpuExecutable,
        mut goes_on: impl FnMut(usize) -> bool,
    ) -> Result<bool> {
        self.check()?;
        let name = &executable.program.name;
        let (steps, work) = (&executable.steps, &executable.work);
        let mut first = 0;
        while first < steps.len() {
            if !goes_on(first) {
                return Ok(false);
            }
            let end = self.stream().pace.end(work, first);
            let what = || format!("program {name}");
            let commands = self.scoped(what, || {
                let descriptor = wgpu::CommandEncoderDescriptor { label: Some(name) };
                let mut encoder = self.device.create_command_encoder(&descriptor);
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(name),
                    timestamp_writes: None,
                });
                for step in &steps[first..end] {
                    step.encode(&mut pass);
                }
                drop(pass);
                encoder.finish()
            })?;
            let submission = self.submit(what, Some(commands), Some(work[end] - work[first]))?;
            first = end;
            // After a wait the pace is known, and the next submission is larger.
            if first < steps.len() && self.stream().pace.grows() {
                self.wait_for(&submission)?;
            }
        }
        Ok(true)
    }

    /// The uniform words of all dispatches in one buffer, and where those of each begin.
    fn uniforms(&self, program: &Program) -> Result<(GpuBuffer, Vec<u64>)> {
        let alignment = u64::from(self.limits.min_uniform_buffer_offset_alignment);
        let mut contents: Vec<u8> = Vec::new();
        let mut offsets = Vec::with_capacity(program.dispatches.len());
        for dispatch in &program.dispatches {
            contents.resize((contents.len() as u64).next_multiple_of(alignment) as usize, 0);
            offsets.push(contents.len() as u64);
            contents.extend_from_slice(bytemuck::cast_slice(&dispatch.kernel.uniforms()));
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = self.allocate(&format!("{} uniforms", program.name), contents.len() as u64, usage)?;
        self.write(&buffer, 0, &contents)?;
        Ok((buffer, offsets))
    }

    /// Every slot, view and grid against the device's limits.
    fn check_limits(&self, program: &Program) -> Result<()> {
        let largest = self.limits.max_buffer_size;
        if let Some(slot) = program.slots.iter().position(|slot| slot.bytes > largest) {
            return Err(program.limit_error(slot, &self.name, "max_buffer_size", largest));
        }
        let bindable = self.limits.max_storage_buffer_binding_size;
        let groups = self.limits.max_compute_workgroups_per_dimension;
        for dispatch in &program.dispatches {
            for (binding, view) in dispatch.kernel.bindings().iter().zip(&dispatch.views) {
                let needs = binding.words as u64 * 4;
                if needs > bindable {
                    let slot = &program.slots[view.slot.0].name;
                    return Err(Error::Limit {
                        tensor: format!("{slot} ({} of {})", binding.name, described(dispatch)),
                        program: program.name.clone(),
                        needs,
                        allows: bindable,
                        device: self.name.clone(),
                        limit: "max_storage_buffer_binding_size",
                    });
                }
            }
            let workgroups = dispatch.kernel.workgroups();
            if workgroups.iter().any(|&count| count > groups) {
                let message = format!(
                    "dispatches {workgroups:?} workgroups, the device allows {groups} in each dimension \
                     (max_compute_workgroups_per_dimension)"
                );
                return Err(self.error(described(dispatch), message));
            }
        }
        Ok(())
    }
}

/// `words` words of `buffer` from byte `offset`; `None` of no words.
fn range(buffer: &GpuBuffer, offset: u64, words: usize) -> Option<wgpu::BindingResource<'_>> {
    let size = NonZeroU64::new(words as u64 * 4)?;
    Some(wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: buffer.raw(),
        offset,
        size: Some(size),
    }))
}

/// The work of the dispatches before each dispatch and, as the last item, of all dispatches: the operations of their
/// shaders, and `balance` for every byte that they move.
pub fn work_before(dispatches: &[Dispatch], balance: u64) -> Vec<u64> {
    let work = |dispatch: &Dispatch| {
        let moved: u64 = dispatch.kernel.bindings().iter().map(|binding| 4 * binding.moved as u64).sum();
        dispatch.kernel.shader_operations() + balance * moved
    };
    let mut sum = 0;
    let sums = dispatches.iter().map(|dispatch| {
        sum += work(dispatch);
        sum
    });
    [0].into_iter().chain(sums).collect()
}
