//! Compute pipelines: one for each shader text, made in parallel, kept as long as the device.

use super::pipeline_cache::PipelineCache;
use super::spirv::MAIN;
use super::{GpuDevice, compilers, memory_model, spirv};
use crate::compute::Access;
use crate::device::Dispatch;
use crate::error::Result;
use rayon::prelude::*;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A pipeline with the layout of its one bind group.
#[derive(Debug)]
pub struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// All pipelines of a device.
#[derive(Debug, Default)]
pub struct Cache(Mutex<HashMap<Key, Arc<Pipeline>>>);

/// The key of a pipeline, which dispatches with equal keys share. The bindings follow from the shader of every kernel
/// here, but nothing enforces it, and a wrong layout would be a validation error far from its cause.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    wgsl: String,
    /// Whether the driver gets patched SPIR-V ([`memory_model`]).
    patched: bool,
    uniform: bool,
    /// Binding number and whether it is only read.
    storage: Vec<(u32, bool)>,
}

/// Facts about a shader from naga, which wgpu either does not check or needs to be told.
#[derive(Default)]
struct Reflection {
    /// Bytes of workgroup memory, each variable rounded up to 16 as WebGPU counts them.
    workgroup_bytes: u64,
    /// Invocations of a workgroup, in each dimension.
    workgroup_size: [u32; 3],
    /// The smallest binding that the declared type of each binding number allows.
    min_binding_size: HashMap<u32, NonZeroU64>,
}

impl GpuDevice {
    /// The pipeline of each dispatch, in order. Missing ones are compiled on all cores, or taken from the driver's
    /// cache if an earlier run left them there.
    ///
    /// # Errors
    /// [`Error::Device`] naming the first kernel and label that the driver refuses. The pipelines of the others are
    /// kept.
    pub(super) fn pipelines(&self, dispatches: &[Dispatch]) -> Result<Vec<Arc<Pipeline>>> {
        let keys: Vec<Key> = dispatches.iter().map(Key::of).collect();
        let mut missing: Vec<(&Key, &Dispatch)> = Vec::new();
        {
            let made = self.pipelines.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, dispatch) in keys.iter().zip(dispatches) {
                if !made.contains_key(key) && !missing.iter().any(|(other, _)| *other == key) {
                    missing.push((key, dispatch));
                }
            }
        }
        let new = if missing.is_empty() { Vec::new() } else { self.compile_all(&missing) };
        let mut made = self.pipelines.0.lock().unwrap_or_else(PoisonError::into_inner);
        keep(&mut made, missing.into_iter().map(|(key, _)| key.clone()).zip(new))?;
        Ok(keys.iter().map(|key| Arc::clone(&made[key])).collect())
    }

    /// The pipelines of `missing`, in order.
    fn compile_all(&self, missing: &[(&Key, &Dispatch)]) -> Vec<Result<Pipeline>> {
        let cache = self.pipeline_cache();
        let start = Instant::now();
        let compile = |(key, dispatch): &(&Key, &Dispatch)| self.compile(key, dispatch, cache);
        let new = compilers::run(|| missing.par_iter().map(compile).collect());
        if let Some(cache) = cache {
            cache.compiled(start.elapsed());
        }
        new
    }

    fn compile(&self, key: &Key, dispatch: &Dispatch, cache: Option<&PipelineCache>) -> Result<Pipeline> {
        let name = dispatch.kernel.name();
        let what = || described(dispatch) + &origin(dispatch, &key.wgsl);
        let reflection = Reflection::of(&key.wgsl);
        reflection.check(&self.limits).map_err(|message| self.error(what(), message))?;
        let spirv = key.patched.then(|| self.patched(key)).transpose().map_err(|m| self.error(what(), m))?;
        let entry_point = wgpu::PassthroughShaderEntryPoint { name: MAIN.into(), workgroup_size: (0, 0, 0) };
        self.scoped(what, || {
            let runtime_checks = if self.checked {
                wgpu::ShaderRuntimeChecks::checked()
            } else {
                wgpu::ShaderRuntimeChecks::unchecked()
            };
            let module = match &spirv {
                None => {
                    let descriptor = wgpu::ShaderModuleDescriptor {
                        label: Some(name),
                        source: wgpu::ShaderSource::Wgsl(key.wgsl.as_str().into()),
                    };
                    // SAFETY: the shaders are this crate's own. Their loops end, and their indices are bounded by
                    // the sizes that the same kernel gives the bindings, which the kernel tests hold them to in
                    // checked mode and with sentinels around every buffer. For files of `JEM_SHADERS`, whoever
                    // sets the variable vouches, as for any code that the environment makes a process load
                    // (see `shader::Folder`).
                    unsafe { self.device.create_shader_module_trusted(descriptor, runtime_checks) }
                }
                Some(words) => {
                    let descriptor = wgpu::ShaderModuleDescriptorPassthrough {
                        label: Some(name),
                        entry_points: vec![entry_point.clone()].into(),
                        spirv: Some(words.as_slice().into()),
                        ..Default::default()
                    };
                    // SAFETY: as above, for the same shaders: naga wrote these words, with the numbers that wgpu-hal
                    // gives the bindings of this layout, and the patch only makes accesses stricter.
                    unsafe { self.device.create_shader_module_passthrough(descriptor) }
                }
            };
            let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(name),
                entries: &key.entries(&reflection),
            });
            let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(name),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(MAIN),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[],
                    zero_initialize_workgroup_memory: self.checked,
                },
                cache: cache.map(PipelineCache::raw),
            });
            Pipeline { pipeline, layout }
        })
    }

    /// The SPIR-V of a shader, patched to follow the memory model.
    fn patched(&self, key: &Key) -> Result<Vec<u32>, String> {
        let version = self.info.spirv.ok_or("the device takes no SPIR-V")?;
        memory_model::patch(&spirv::translate(&key.wgsl, &key.bindings(), version)?)
    }
}

/// Inserts all values of `new` into `made`; returns its first error.
fn keep<K: Eq + Hash, V>(
    made: &mut HashMap<K, Arc<V>>,
    new: impl Iterator<Item = (K, Result<V>)>,
) -> Result<()> {
    let mut result = Ok(());
    for (key, value) in new {
        match value {
            Ok(value) => drop(made.insert(key, Arc::new(value))),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}

/// A dispatch in error messages.
pub fn described(dispatch: &Dispatch) -> String {
    format!("kernel {} ({})", dispatch.kernel.name(), dispatch.label)
}

/// For messages: the files of a [`shader::Folder`] from which a shader has lines, and the line that naga refuses. Empty
/// if all lines are the executable's.
///
/// [`shader::Folder`]: crate::compute::shader::Folder
fn origin(dispatch: &Dispatch, wgsl: &str) -> String {
    let shader = dispatch.kernel.shader();
    let files = shader.replaced();
    if files.is_empty() {
        return String::new();
    }
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let place = refused_line(wgsl).and_then(|line| shader.place(line));
    let place = place.map_or(String::new(), |place| format!(", wrong at {place}"));
    format!(" with {}{place}", files.join(", "))
}

/// The line of `wgsl` that naga cannot parse or finds invalid.
fn refused_line(wgsl: &str) -> Option<usize> {
    use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
    let location = match naga::front::wgsl::parse_str(wgsl) {
        Err(error) => error.location(wgsl),
        Ok(module) => {
            let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
            validator.subgroup_stages(ShaderStages::all()).subgroup_operations(SubgroupOperationSet::all());
            validator.validate(&module).err().and_then(|error| error.location(wgsl))
        }
    };
    location.map(|location| location.line_number as usize)
}

impl Key {
    fn of(dispatch: &Dispatch) -> Self {
        let kernel = &dispatch.kernel;
        let shader = kernel.shader();
        Self {
            wgsl: shader.wgsl(),
            patched: shader.has_patched_memory(),
            uniform: !kernel.uniforms().is_empty(),
            storage: kernel.bindings().iter().map(|b| (b.index, b.access == Access::Read)).collect(),
        }
    }

    /// The numbers of all bindings, in ascending order.
    fn bindings(&self) -> Vec<u32> {
        let uniform = self.uniform.then_some(0);
        uniform.into_iter().chain(self.storage.iter().map(|(index, _)| *index)).collect()
    }

    fn entries(&self, reflection: &Reflection) -> Vec<wgpu::BindGroupLayoutEntry> {
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: false,
                min_binding_size: reflection.min_binding_size.get(&binding).copied(),
            },
            count: None,
        };
        let storage = |&(index, read_only)| entry(index, wgpu::BufferBindingType::Storage { read_only });
        let uniform = self.uniform.then(|| entry(0, wgpu::BufferBindingType::Uniform));
        uniform.into_iter().chain(self.storage.iter().map(storage)).collect()
    }
}

impl Reflection {
    /// Reads the facts from `wgsl`. A text that does not parse has none: wgpu will report its error.
    fn of(wgsl: &str) -> Self {
        let mut reflection = Self::default();
        let Ok(module) = naga::front::wgsl::parse_str(wgsl) else { return reflection };
        if let Some(main) = module.entry_points.iter().find(|entry| entry.name == MAIN) {
            reflection.workgroup_size = main.workgroup_size;
        }
        for (_, variable) in module.global_variables.iter() {
            let bytes = u64::from(module.types[variable.ty].inner.size(module.to_ctx()));
            if variable.space == naga::AddressSpace::WorkGroup {
                reflection.workgroup_bytes += bytes.next_multiple_of(16);
            } else if let (Some(at), Some(bytes)) = (&variable.binding, NonZeroU64::new(bytes)) {
                reflection.min_binding_size.insert(at.binding, bytes);
            }
        }
        reflection
    }

    /// Checks that a workgroup keeps within the device's limits.
    fn check(&self, limits: &wgpu::Limits) -> Result<(), String> {
        let [x, y, z] = self.workgroup_size.map(u64::from);
        let (memory, size) = (limits.max_compute_workgroup_storage_size, self.workgroup_size);
        let checks = [
            (self.workgroup_bytes, memory, "bytes of workgroup memory", "max_compute_workgroup_storage_size"),
            (x, limits.max_compute_workgroup_size_x, "invocations in x", "max_compute_workgroup_size_x"),
            (y, limits.max_compute_workgroup_size_y, "invocations in y", "max_compute_workgroup_size_y"),
            (z, limits.max_compute_workgroup_size_z, "invocations in z", "max_compute_workgroup_size_z"),
            (
                x.saturating_mul(y).saturating_mul(z),
                limits.max_compute_invocations_per_workgroup,
                "invocations",
                "max_compute_invocations_per_workgroup",
            ),
        ];
        match checks.into_iter().find(|&(takes, allowed, ..)| takes > u64::from(allowed)) {
            None => Ok(()),
            Some((takes, allowed, of, limit)) => Err(format!(
                "has workgroups of {size:?} that take {takes} {of}; the device allows {allowed} ({limit})"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn one_refusal_does_not_throw_away_the_rest() {
        let mut made = HashMap::from([("old", Arc::new(0))]);
        let refused = |message: &str| Err(Error::setting("kernel", message));
        let new = [("a", Ok(1)), ("b", refused("first")), ("c", Ok(3)), ("d", refused("second"))];
        let error = keep(&mut made, new.into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "kernel: first");
        let mut kept: Vec<_> = made.into_iter().map(|(key, value)| (key, *value)).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("a", 1), ("c", 3), ("old", 0)]);
    }
}
