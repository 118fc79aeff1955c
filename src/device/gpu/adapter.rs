//! The adapters of this machine, and the choice among them.

use crate::compute::cooperative::{Cooperative, Variant};
use crate::device::DeviceSpec;
use crate::error::{Error, Result};
use std::fmt;

/// The kind of an adapter's hardware, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A graphics card.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU that a virtual machine passes on.
    Virtual,
    /// Hardware that the driver does not classify.
    Other,
    /// A driver that computes on the CPU; used only when named.
    Software,
}

/// One shape of cooperative (tensor core) matrix multiplication, `[m, k] x [k, n] + [m, n]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CooperativeMatrix {
    /// Rows of the result.
    pub m: u32,
    /// Columns of the result.
    pub n: u32,
    /// The summed dimension.
    pub k: u32,
    /// The operands' type, such as `F16`.
    pub operand: String,
    /// The accumulator's type.
    pub accumulator: String,
}

/// The description and capabilities of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterInfo {
    /// The name, as `--device gpu:NAME` matches it.
    pub name: String,
    /// The kind of hardware.
    pub kind: AdapterKind,
    /// The maker's PCI number, or another of the backend.
    pub vendor: u32,
    /// The maker's number for the product.
    pub device: u32,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version and details.
    pub driver_info: String,
    /// The largest range of a buffer that a kernel can bind, in bytes.
    pub max_storage_binding: u64,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_memory: u32,
    /// Invocations of one workgroup.
    pub workgroup_invocations: u32,
    /// f16 arithmetic and storage in shaders.
    pub f16: bool,
    /// The smallest and largest subgroup, where subgroup operations exist.
    pub subgroups: Option<(u32, u32)>,
    /// Timestamps, which `Device::profile` needs.
    pub timestamps: bool,
    /// Compiled pipelines can be kept.
    pub pipeline_cache: bool,
    /// The shapes that tensor cores offer; empty where there are none.
    pub cooperative_matrices: Vec<CooperativeMatrix>,
    /// The SPIR-V version of a Vulkan adapter to which shaders can be passed as SPIR-V.
    pub spirv: Option<(u8, u8)>,
}

impl AdapterInfo {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let cooperative = |p: wgpu::CooperativeMatrixProperties| CooperativeMatrix {
            m: p.m_size,
            n: p.n_size,
            k: p.k_size,
            operand: format!("{:?}", p.ab_type),
            accumulator: format!("{:?}", p.cr_type),
        };
        Self {
            name: info.name,
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
                wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
                wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
                wgpu::DeviceType::Other => AdapterKind::Other,
                wgpu::DeviceType::Cpu => AdapterKind::Software,
            },
            vendor: info.vendor,
            device: info.device,
            backend: match info.backend {
                wgpu::Backend::Vulkan => "Vulkan".into(),
                wgpu::Backend::Metal => "Metal".into(),
                wgpu::Backend::Dx12 => "DX12".into(),
                other => other.to_string(),
            },
            driver: info.driver,
            driver_info: info.driver_info,
            max_storage_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some((info.subgroup_min_size, info.subgroup_max_size)),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
            cooperative_matrices: adapter
                .cooperative_matrix_properties()
                .into_iter()
                .map(cooperative)
                .collect(),
            spirv: features
                .contains(wgpu::Features::PASSTHROUGH_SHADERS)
                .then(|| spirv_version(adapter))
                .flatten(),
        }
    }

    /// The matrices with which convolutions may multiply on this adapter: the largest first, each in those of
    /// `variants` that the adapter can take, in order. (WGSL has only square matrices.)
    pub fn cooperative(&self, variants: &[Variant]) -> Vec<Cooperative> {
        let Some((_, subgroup)) = self.subgroups else { return Vec::new() };
        let subgroup = subgroup as usize;
        if !self.f16
            || subgroup > Cooperative::LARGEST_SUBGROUP
            || self.workgroup_memory < Cooperative::WORKGROUP_MEMORY
        {
            return Vec::new();
        }
        let offered = |size: &usize| {
            self.cooperative_matrices.iter().any(|shape| {
                [shape.m, shape.n, shape.k].iter().all(|&n| n as usize == *size)
                    && (shape.operand.as_str(), shape.accumulator.as_str()) == ("F16", "F32")
            })
        };
        let quads = self.backend == "Vulkan";
        let (memory, invocations) = (self.workgroup_memory, self.workgroup_invocations);
        let matrices = |size| {
            let variants = variants.iter().filter(|variant| self.spirv.is_some() || !variant.is_patched());
            variants.map(move |&variant| Cooperative { size, subgroup, quads, variant, memory, invocations })
        };
        [16, 8].into_iter().filter(offered).flat_map(matrices).collect()
    }

    /// The adapter with its backend and driver, for messages.
    pub fn title(&self) -> String {
        let driver = format!("{} {}", self.driver, self.driver_info);
        match driver.trim() {
            "" => format!("{} ({})", self.name, self.backend),
            driver => format!("{} ({}, {driver})", self.name, self.backend),
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        })
    }
}

impl fmt::Display for AdapterInfo {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        write!(
            f,
            "{}: {}, bindings to {} MiB, buffers to {} MiB, workgroups of {} with {} KiB",
            self.title(),
            self.kind,
            mib(self.max_storage_binding),
            mib(self.max_buffer),
            self.workgroup_invocations,
            self.workgroup_memory >> 10
        )?;
        if let Some((min, max)) = self.subgroups {
            let sizes = if min == max { min.to_string() } else { format!("{min}-{max}") };
            write!(f, ", subgroups of {sizes}")?;
        }
        let switches = [
            (self.f16, "f16"),
            (self.timestamps, "timestamps"),
            (self.pipeline_cache, "pipeline cache"),
            (!self.cooperative_matrices.is_empty(), "cooperative matrices"),
        ];
        for (_, name) in switches.iter().filter(|(on, _)| *on) {
            write!(f, ", {name}")?;
        }
        Ok(())
    }
}

/// The SPIR-V version in which wgpu-hal 30 writes shaders for this adapter, if it is a Vulkan adapter.
fn spirv_version(adapter: &wgpu::Adapter) -> Option<(u8, u8)> {
    // SAFETY: this only reads the properties of the raw adapter.
    let raw = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let version = raw.physical_device_capabilities().properties().api_version;
    // VK_API_VERSION_MAJOR and VK_API_VERSION_MINOR.
    Some(match (version >> 22 & 0x7f, version >> 12 & 0x3ff) {
        (1, 0) => (1, 0),
        (1, 1) => (1, 3),
        (1, 2) => (1, 5),
        _ => (1, 6),
    })
}

/// The limits to open an adapter with: its own where kernels may need more than WebGPU's defaults, and the defaults for
/// all others. (Alignments stay at the defaults because programs lay out their views before there is a device.)
pub fn limits(offered: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: offered.max_buffer_size,
        max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
        max_storage_buffers_per_shader_stage: offered.max_storage_buffers_per_shader_stage,
        max_buffers_and_acceleration_structures_per_shader_stage: offered
            .max_buffers_and_acceleration_structures_per_shader_stage,
        max_compute_workgroup_storage_size: offered.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: offered.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: offered.max_compute_workgroup_size_x,
        max_compute_workgroup_size_y: offered.max_compute_workgroup_size_y,
        max_compute_workgroup_size_z: offered.max_compute_workgroup_size_z,
        max_compute_workgroups_per_dimension: offered.max_compute_workgroups_per_dimension,
        ..wgpu::Limits::defaults()
    }
}

/// Every adapter, the preferred first.
pub fn adapters() -> Vec<AdapterInfo> {
    enumerate().into_iter().map(|(_, info)| info).collect()
}

/// The adapter that `spec` asks for. Software is never chosen unless it is named.
pub fn choose(spec: &DeviceSpec) -> Result<(wgpu::Adapter, AdapterInfo)> {
    let all = enumerate();
    let infos: Vec<AdapterInfo> = all.iter().map(|(_, info)| info.clone()).collect();
    let chosen =
        pick(spec, &infos).map_err(|message| Error::NoDevice { asked: spec.to_string(), message })?;
    Ok(all.into_iter().nth(chosen).expect("an index into the adapters"))
}

fn enumerate() -> Vec<(wgpu::Adapter, AdapterInfo)> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // WGPU_VALIDATION=1 turns the Khronos validation layer on.
    descriptor.flags = descriptor.flags.with_env();
    let instance = wgpu::Instance::new(descriptor);
    let mut all: Vec<_> = pollster::block_on(instance.enumerate_adapters(backends))
        .into_iter()
        .map(|adapter| {
            let info = AdapterInfo::of(&adapter);
            (adapter, info)
        })
        .collect();
    // Stable: among equals the driver's own order, Vulkan before DX12.
    all.sort_by_key(|(_, info)| info.kind);
    all
}

/// The index into `all`, which is in the order of preference, or why there is none.
fn pick(spec: &DeviceSpec, all: &[AdapterInfo]) -> Result<usize, String> {
    let found = match spec {
        DeviceSpec::GpuNamed(text) => {
            let text = text.to_lowercase();
            // A full match comes first: "Arc" is a part of "Arc Pro" too.
            let position =
                |found: &dyn Fn(&str) -> bool| all.iter().position(|info| found(&info.name.to_lowercase()));
            position(&|name| name == text).or_else(|| position(&|name| name.contains(&text)))
        }
        _ => all.iter().position(|info| info.kind != AdapterKind::Software),
    };
    found.ok_or_else(|| {
        let existing: Vec<String> = all.iter().map(|i| format!("{} ({})", i.name, i.kind)).collect();
        match (spec, existing.is_empty()) {
            (_, true) => {
                "there is no Vulkan, Metal or DX12 adapter; install your GPU's driver, or on Debian \
                          and Ubuntu the software driver (apt install mesa-vulkan-drivers libvulkan1, then \
                          name gpu:llvmpipe), or name cpu"
                    .into()
            }
            (DeviceSpec::GpuNamed(_), false) => {
                format!("no adapter has this in its name; there is {}", existing.join(", "))
            }
            (_, false) => format!(
                "there is no hardware GPU, only {}; install your GPU's driver, or name a software adapter \
                 (such as gpu:llvmpipe) or cpu",
                existing.join(", ")
            ),
        }
    })
}

#[cfg(test)]
impl AdapterInfo {
    /// A discrete GPU without any optional feature.
    pub fn example() -> Self {
        Self {
            name: "one".into(),
            kind: AdapterKind::Discrete,
            vendor: 0x10de,
            device: 7,
            backend: "Vulkan".into(),
            driver: "driver".into(),
            driver_info: "1.2.3".into(),
            max_storage_binding: 128 << 20,
            max_buffer: 256 << 20,
            workgroup_memory: 16 << 10,
            workgroup_invocations: 256,
            f16: false,
            subgroups: None,
            timestamps: false,
            pipeline_cache: false,
            cooperative_matrices: Vec::new(),
            spirv: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, kind: AdapterKind) -> AdapterInfo {
        AdapterInfo { name: name.into(), kind, ..AdapterInfo::example() }
    }

    #[test]
    fn hardware_is_preferred_and_software_is_only_named() {
        let all = [info("Arc", AdapterKind::Integrated), info("llvmpipe (LLVM)", AdapterKind::Software)];
        assert_eq!(pick(&DeviceSpec::Gpu, &all), Ok(0));
        assert_eq!(pick(&DeviceSpec::Auto, &all), Ok(0));
        assert_eq!(pick(&DeviceSpec::GpuNamed("LLVMpipe".into()), &all), Ok(1));
        let alike = [info("Arc Pro", AdapterKind::Discrete), info("Arc", AdapterKind::Integrated)];
        assert_eq!(pick(&DeviceSpec::GpuNamed("arc".into()), &alike), Ok(1));
        assert_eq!(pick(&DeviceSpec::GpuNamed("pro".into()), &alike), Ok(0));
        let error = pick(&DeviceSpec::Gpu, &all[1..]).unwrap_err();
        assert!(error.contains("llvmpipe (LLVM) (software)") && error.contains("cpu"), "{error}");
        let error = pick(&DeviceSpec::GpuNamed("radeon".into()), &all).unwrap_err();
        assert!(error.contains("Arc (integrated), llvmpipe (LLVM) (software)"), "{error}");
        let error = pick(&DeviceSpec::Auto, &[]).unwrap_err();
        assert!(error.contains("mesa-vulkan-drivers libvulkan1"), "{error}");
    }

    #[test]
    fn cooperative_matrices_are_square_with_f16_operands_and_f32_sums() {
        let shape = |m, n, k, operand: &str, accumulator: &str| CooperativeMatrix {
            m,
            n,
            k,
            operand: operand.into(),
            accumulator: accumulator.into(),
        };
        let mut adapter = info("Arc", AdapterKind::Discrete);
        adapter.cooperative_matrices = vec![
            shape(8, 8, 8, "F16", "F16"),
            shape(8, 8, 8, "F16", "F32"),
            shape(8, 16, 16, "F16", "F32"),
            shape(16, 16, 16, "F16", "F32"),
        ];
        assert!(adapter.cooperative(&Variant::ALL).is_empty(), "no f16, no subgroups, too little memory");
        let enough =
            AdapterInfo { f16: true, subgroups: Some((16, 32)), workgroup_memory: 32 << 10, ..adapter };
        let of = |size, variant| Cooperative { variant, ..Cooperative::new(size, 32) };
        assert_eq!(enough.cooperative(&[Variant::Naga]), [of(16, Variant::Naga), of(8, Variant::Naga)]);
        let of_size_16: Vec<_> = Variant::ALL.map(|variant| of(16, variant)).into();
        let spirv = AdapterInfo { spirv: Some((1, 6)), ..enough.clone() };
        assert_eq!(spirv.cooperative(&Variant::ALL)[..4], of_size_16);
        // Without SPIR-V nothing can be patched.
        let others = [Variant::Naga, Variant::Flat].map(|variant| of(16, variant));
        assert_eq!(enough.cooperative(&Variant::ALL)[..2], others);
        assert!(enough.cooperative(&[]).is_empty());
        let larger =
            AdapterInfo { workgroup_memory: 48 << 10, workgroup_invocations: 1024, ..enough.clone() };
        let matrices = larger.cooperative(&[Variant::Naga])[0];
        assert_eq!((matrices.memory, matrices.invocations), (48 << 10, 1024));
        let wide = AdapterInfo { subgroups: Some((64, 128)), ..enough };
        assert!(wide.cooperative(&Variant::ALL).is_empty(), "four subgroups of 128 are no workgroup");
    }

    #[test]
    fn workgroups_have_the_adapters_limits_and_views_have_webgpus() {
        let offered = wgpu::Limits {
            max_buffer_size: 1 << 40,
            max_storage_buffer_binding_size: 1 << 39,
            max_storage_buffers_per_shader_stage: 1 << 20,
            max_compute_workgroup_storage_size: 48 << 10,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            max_compute_workgroup_size_y: 1000,
            max_compute_workgroup_size_z: 70,
            max_compute_workgroups_per_dimension: 1 << 20,
            ..wgpu::Limits::defaults()
        };
        assert_eq!(limits(&offered), offered);
        let finer = wgpu::Limits {
            min_storage_buffer_offset_alignment: 16,
            max_texture_dimension_2d: 1 << 15,
            ..offered.clone()
        };
        assert_eq!(limits(&finer), offered);
    }

    #[test]
    fn kinds_are_in_the_order_of_preference() {
        use AdapterKind::*;
        let mut kinds = [Software, Other, Virtual, Integrated, Discrete];
        kinds.sort();
        assert_eq!(kinds, [Discrete, Integrated, Virtual, Other, Software]);
    }
}
