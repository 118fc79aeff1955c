//! WGSL as the SPIR-V that wgpu would hand to a Vulkan driver, for shaders that go to the driver directly.
//!
//! wgpu compiles WGSL itself and offers no way to change the result. [`translate`] makes the same module, so that
//! [`super::memory_model`] can change it and `create_shader_module_passthrough` can take it.

use super::memory_model;
use crate::compute::Shader;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// The SPIR-V words of `shader` for a driver: as wgpu would write them, and patched if the shader asks for it.
///
/// `bindings` are the binding numbers of the pipeline's layout in group 0, in ascending order.
///
/// # Errors
/// naga's message, with the place in the text.
pub fn spirv(shader: &Shader, bindings: &[u32], version: (u8, u8)) -> Result<Vec<u32>, String> {
    let words = translate(&shader.wgsl(), bindings, version)?;
    if shader.has_patched_memory() { memory_model::patch(&words) } else { Ok(words) }
}

/// The entry point of every shader.
pub(super) const MAIN: &str = "main";

/// The SPIR-V words of the entry point [`MAIN`] of `wgsl`, without any runtime checks, in SPIR-V `version`.
///
/// The `bindings` are renumbered from 0, as wgpu-hal 30 does.
///
/// # Errors
/// naga's message, with the place in the text.
pub(super) fn translate(wgsl: &str, bindings: &[u32], version: (u8, u8)) -> Result<Vec<u32>, String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(wgsl))?;
    let unchecked = BoundsCheckPolicy::Unchecked;
    let place = |(i, &binding): (usize, &u32)| {
        let info = spv::BindingInfo { descriptor_set: 0, binding: i as u32, binding_array_size: None };
        (naga::ResourceBinding { group: 0, binding }, info)
    };
    let options = spv::Options {
        lang_version: version,
        flags: spv::WriterFlags::LABEL_VARYINGS,
        fake_missing_bindings: false,
        binding_map: bindings.iter().enumerate().map(place).collect(),
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: MAIN.into() };
    spv::write_vec(&module, &info, &options, Some(&pipeline)).map_err(|error| error.to_string())
}
