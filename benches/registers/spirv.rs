//! SPIR-V as wgpu-hal 30.0.1 hands it to a Vulkan driver (its `adapter.rs` and `device.rs`), for this engine's devices.

use naga::back::spv::{self, Capability};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// The properties of a device that the text depends on.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Vulkan's version of the device, major and minor.
    pub version: (u32, u32),
    /// `SHADER_F16` is enabled.
    pub f16: bool,
    /// Inputs and outputs of shaders may be f16.
    pub input_output_16: bool,
    /// Arithmetic on 8-bit integers.
    pub int8: bool,
    /// Dot products of integers.
    pub dot_product: bool,
    /// `EXPERIMENTAL_COOPERATIVE_MATRIX` and `SUBGROUP` are enabled.
    pub cooperative: bool,
    /// The maker is Qualcomm.
    pub qualcomm: bool,
}

/// The words for the shader `wgsl`, whose bindings are `bindings` of group 0, in the order of the layout.
///
/// # Errors
/// Naga's message about the shader.
pub fn spirv(wgsl: &str, bindings: &[u32], target: Target) -> Result<Vec<u32>, String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(wgsl))?;
    spv::write_vec(&module, &info, &options(bindings, target), Some(&entry()))
        .map_err(|error| error.to_string())
}

fn entry() -> spv::PipelineOptions {
    spv::PipelineOptions { entry_point: "main".into(), shader_stage: naga::ShaderStage::Compute }
}

/// The writer's options with `ShaderRuntimeChecks::unchecked()`, and workgroup memory not set to zero.
fn options(bindings: &[u32], target: Target) -> spv::Options<'static> {
    let mut capabilities = vec![
        Capability::Shader,
        Capability::Matrix,
        Capability::Sampled1D,
        Capability::Image1D,
        Capability::ImageQuery,
        Capability::DerivativeControl,
        Capability::StorageImageExtendedFormats,
    ];
    let mut add = |on: bool, more: &[Capability]| {
        if on {
            capabilities.extend(more);
        }
    };
    add(target.f16, &[Capability::Float16]);
    add(target.int8, &[Capability::Int8]);
    let dot_products = [
        Capability::DotProductInputAllKHR,
        Capability::DotProductInput4x8BitKHR,
        Capability::DotProductInput4x8BitPackedKHR,
        Capability::DotProductKHR,
    ];
    add(target.dot_product, &dot_products);
    let subgroups = [
        Capability::GroupNonUniform,
        Capability::GroupNonUniformVote,
        Capability::GroupNonUniformArithmetic,
        Capability::GroupNonUniformBallot,
        Capability::GroupNonUniformShuffle,
        Capability::GroupNonUniformShuffleRelative,
        Capability::GroupNonUniformQuad,
    ];
    add(target.cooperative, &subgroups);
    add(target.cooperative, &[Capability::CooperativeMatrixKHR, Capability::VulkanMemoryModel]);
    let mut flags = spv::WriterFlags::FORCE_POINT_SIZE;
    flags.set(spv::WriterFlags::LABEL_VARYINGS, !target.qualcomm);
    let place = |(i, &binding): (usize, &u32)| {
        let info = spv::BindingInfo { descriptor_set: 0, binding: i as u32, binding_array_size: None };
        (naga::ResourceBinding { group: 0, binding }, info)
    };
    spv::Options {
        lang_version: match target.version {
            (1, 0) => (1, 0),
            (1, 1) => (1, 3),
            (1, 2) => (1, 5),
            _ => (1, 6),
        },
        flags,
        fake_missing_bindings: false,
        binding_map: bindings.iter().enumerate().map(place).collect(),
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Unchecked,
            buffer: BoundsCheckPolicy::Unchecked,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ray_query_initialization_tracking: false,
        trace_ray_argument_validation: true,
        use_storage_input_output_16: target.f16 && target.input_output_16,
        debug_info: None,
        task_dispatch_limits: None,
        mesh_shader_primitive_indices_clamp: false,
        emit_int_div_checks: false,
    }
}
