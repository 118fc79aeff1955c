//! A driver's report on the executables of a pipeline.

use super::pipelines::Shader;
use super::vulkan::{Gpu, said};
use ash::{khr, vk};
use serde_json::{Map, Value, json};

/// One executable of a pipeline.
#[derive(Debug, Default)]
pub struct Executable {
    /// The driver's name for it.
    pub name: String,
    /// Threads of a subgroup.
    pub subgroup: Option<u32>,
    /// Every statistic by the driver's name for it, in its order.
    pub statistics: Vec<(String, Value)>,
}

impl Executable {
    /// The first statistic whose name contains one of `words`, which are in the order of preference.
    pub fn find(&self, words: &[&str]) -> Value {
        let named = |word: &&str| {
            self.statistics
                .iter()
                .find(|(name, _)| name.to_lowercase().contains(*word))
                .map(|(_, v)| v.clone())
        };
        words.iter().find_map(named).unwrap_or_default()
    }

    /// All statistics as an object.
    pub fn object(&self) -> Value {
        Value::Object(self.statistics.iter().cloned().collect::<Map<_, _>>())
    }
}

/// Makes the pipeline of `shader`; returns the driver's report, which is empty if the driver offers none.
///
/// # Errors
/// Naga's message, or the driver's code.
pub fn executables(gpu: &Gpu, shader: &Shader) -> Result<Vec<Executable>, String> {
    let words = jem::device::spirv(&shader.shader, &shader.bindings(), gpu.spirv)?;
    let mut made = Made::new(gpu);
    let pipeline = made.pipeline(&words, shader.uniform, shader.storage.len())?;
    if gpu.reports { report(gpu, pipeline) } else { Ok(Vec::new()) }
}

/// A pipeline and its parts, which are destroyed with this.
struct Made<'a> {
    gpu: &'a Gpu,
    module: vk::ShaderModule,
    set: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
}

impl<'a> Made<'a> {
    fn new(gpu: &'a Gpu) -> Self {
        Self {
            gpu,
            module: vk::ShaderModule::null(),
            set: vk::DescriptorSetLayout::null(),
            layout: vk::PipelineLayout::null(),
            pipeline: vk::Pipeline::null(),
        }
    }

    /// Makes the pipeline as wgpu does, with statistics where the driver has them.
    fn pipeline(&mut self, words: &[u32], uniform: bool, storage: usize) -> Result<vk::Pipeline, String> {
        let device = &self.gpu.device;
        let types = uniform.then_some(vk::DescriptorType::UNIFORM_BUFFER).into_iter();
        let types = types.chain(std::iter::repeat_n(vk::DescriptorType::STORAGE_BUFFER, storage));
        let binding = |(i, ty)| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(i as u32)
                .descriptor_type(ty)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = types.enumerate().map(binding).collect();
        let module = vk::ShaderModuleCreateInfo::default().code(words);
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: the device is alive, and so is what the structures point at until the calls return.
        unsafe {
            self.module = device.create_shader_module(&module, None).map_err(said("vkCreateShaderModule"))?;
            self.set = device
                .create_descriptor_set_layout(&set, None)
                .map_err(said("vkCreateDescriptorSetLayout"))?;
            let sets = [self.set];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            self.layout =
                device.create_pipeline_layout(&layout, None).map_err(said("vkCreatePipelineLayout"))?;
        }
        let mut stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(self.module)
            .name(c"main");
        if self.gpu.varying {
            stage = stage.flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
        }
        let mut info = vk::ComputePipelineCreateInfo::default().layout(self.layout).stage(stage);
        if self.gpu.reports {
            info = info.flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR);
        }
        // SAFETY: as above; the shader is this crate's own, written by naga.
        let made = unsafe { device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        self.pipeline = match made {
            Ok(pipelines) => pipelines[0],
            Err((pipelines, code)) => {
                self.pipeline = pipelines.first().copied().unwrap_or_default();
                return Err(said("vkCreateComputePipelines")(code));
            }
        };
        Ok(self.pipeline)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let device = &self.gpu.device;
        // SAFETY: all four are this device's or null, and nothing was ever submitted.
        unsafe {
            device.destroy_pipeline(self.pipeline, None);
            device.destroy_pipeline_layout(self.layout, None);
            device.destroy_descriptor_set_layout(self.set, None);
            device.destroy_shader_module(self.module, None);
        }
    }
}

fn report(gpu: &Gpu, pipeline: vk::Pipeline) -> Result<Vec<Executable>, String> {
    let functions = khr::pipeline_executable_properties::Device::new(&gpu.instance, &gpu.device);
    let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
    // SAFETY: the device has the extension and its feature, and the pipeline is alive.
    let all = unsafe { functions.get_pipeline_executable_properties(&info) }
        .map_err(said("vkGetPipelineExecutablePropertiesKHR"))?;
    let one = |(i, executable): (usize, &vk::PipelineExecutablePropertiesKHR<'_>)| {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(i as u32);
        // SAFETY: as above, and the pipeline was made with statistics.
        let statistics = unsafe { functions.get_pipeline_executable_statistics(&info) }
            .map_err(said("vkGetPipelineExecutableStatisticsKHR"))?;
        let name = |text: Option<&std::ffi::CStr>| {
            text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
        };
        Ok(Executable {
            name: name(executable.name_as_c_str().ok()),
            subgroup: (executable.subgroup_size > 0).then_some(executable.subgroup_size),
            statistics: statistics.iter().map(|s| (name(s.name_as_c_str().ok()), value(s))).collect(),
        })
    };
    all.iter().enumerate().map(one).collect()
}

fn value(statistic: &vk::PipelineExecutableStatisticKHR<'_>) -> Value {
    use vk::PipelineExecutableStatisticFormatKHR as Format;
    // SAFETY: the format says which member the driver set, and all bits are valid for each of them.
    unsafe {
        match statistic.format {
            Format::BOOL32 => json!(statistic.value.b32 == vk::TRUE),
            Format::INT64 => json!(statistic.value.i64),
            Format::FLOAT64 => json!(statistic.value.f64),
            _ => json!(statistic.value.u64),
        }
    }
}
