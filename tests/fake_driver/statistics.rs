//! `VK_KHR_pipeline_executable_properties` in the fake driver: the same report for every pipeline.

use crate::loader::answer;
use ash::vk;

/// The statistics, with the names that NVIDIA's driver uses.
const STATISTICS: [(&str, u64); 4] =
    [("Register Count", 168), ("Binary Size", 4096), ("Stack Size", 0), ("Local Memory Size", 64)];

/// `vkGetPipelineExecutablePropertiesKHR`: reports one executable.
pub unsafe extern "system" fn get_executables(
    _: vk::Device,
    _: *const vk::PipelineInfoKHR<'_>,
    count: *mut u32,
    place: *mut vk::PipelineExecutablePropertiesKHR<'_>,
) -> vk::Result {
    let executable = vk::PipelineExecutablePropertiesKHR {
        stages: vk::ShaderStageFlags::COMPUTE,
        name: characters("main"),
        subgroup_size: 32,
        ..Default::default()
    };
    // SAFETY: the caller's arguments, as Vulkan requires them.
    unsafe { answer(&[executable], count, place) }
}

/// `vkGetPipelineExecutableStatisticsKHR`: reports the statistics.
pub unsafe extern "system" fn get_statistics(
    _: vk::Device,
    _: *const vk::PipelineExecutableInfoKHR<'_>,
    count: *mut u32,
    place: *mut vk::PipelineExecutableStatisticKHR<'_>,
) -> vk::Result {
    let statistic = |(name, value)| vk::PipelineExecutableStatisticKHR {
        name: characters(name),
        format: vk::PipelineExecutableStatisticFormatKHR::UINT64,
        value: vk::PipelineExecutableStatisticValueKHR { u64: value },
        ..Default::default()
    };
    // SAFETY: the caller's arguments, as Vulkan requires them.
    unsafe { answer(&STATISTICS.map(statistic), count, place) }
}

/// A name in the form of Vulkan's structures, padded with zeros.
fn characters(name: &str) -> [std::ffi::c_char; vk::MAX_DESCRIPTION_SIZE] {
    let mut characters = [0; vk::MAX_DESCRIPTION_SIZE];
    for (place, byte) in characters.iter_mut().zip(name.bytes()) {
        *place = byte as std::ffi::c_char;
    }
    characters
}
