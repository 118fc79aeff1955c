//! Facts about a device that only Vulkan reports: every shape of cooperative matrices, subgroups, limits, the driver.

use super::vulkan::{Gpu, said};
use crate::report::Report;
use ash::{khr, nv, vk};
use serde_json::json;
use std::ffi::CStr;

/// Extensions that decide what kernels may do on the device.
const EXTENSIONS: [&CStr; 6] = [
    khr::cooperative_matrix::NAME,
    c"VK_NV_cooperative_matrix2",
    khr::pipeline_executable_properties::NAME,
    khr::workgroup_memory_explicit_layout::NAME,
    c"VK_KHR_shader_bfloat16",
    nv::shader_sm_builtins::NAME,
];

/// Writes both tables: the facts, and the shapes of matrices.
///
/// # Errors
/// The driver's error code, if it has matrices but fails to list them.
pub fn tables(gpu: &Gpu, report: &mut Report) -> Result<(), String> {
    report.table("Vulkan's facts", "", &["fact", "value"]);
    for (name, value) in facts(gpu) {
        report.row(vec![json!(name), json!(value)]);
    }
    report.table(
        "Cooperative matrices",
        "every shape that the driver lists; wgpu takes only some",
        &["M x N x K", "A", "B", "C", "result", "scope", "saturating"],
    );
    if !gpu.has(khr::cooperative_matrix::NAME) {
        report.note("the driver has none");
        return Ok(());
    }
    let functions = khr::cooperative_matrix::Instance::new(&gpu.entry, &gpu.instance);
    // SAFETY: the physical device is the instance's and has the extension.
    let shapes = unsafe { functions.get_physical_device_cooperative_matrix_properties(gpu.physical) };
    for shape in shapes.map_err(said("vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"))? {
        report.row(vec![
            json!(format!("{}x{}x{}", shape.m_size, shape.n_size, shape.k_size)),
            json!(component(shape.a_type)),
            json!(component(shape.b_type)),
            json!(component(shape.c_type)),
            json!(component(shape.result_type)),
            json!(format!("{:?}", shape.scope).to_lowercase()),
            json!(shape.saturating_accumulation == vk::TRUE),
        ]);
    }
    Ok(())
}

/// The name of a type, or its number if it came after this version of Vulkan, such as bfloat16 (1000141000).
fn component(ty: vk::ComponentTypeKHR) -> String {
    format!("{ty:?}").to_lowercase()
}

fn facts(gpu: &Gpu) -> Vec<(String, String)> {
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut subgroup = vk::PhysicalDeviceSubgroupProperties::default();
    let mut sizes = vk::PhysicalDeviceSubgroupSizeControlProperties::default();
    let mut processors = vk::PhysicalDeviceShaderSMBuiltinsPropertiesNV::default();
    let mut properties = vk::PhysicalDeviceProperties2::default()
        .push_next(&mut driver)
        .push_next(&mut subgroup)
        .push_next(&mut sizes);
    let has_processors = gpu.has(nv::shader_sm_builtins::NAME);
    if has_processors {
        properties = properties.push_next(&mut processors);
    }
    // SAFETY: the physical device is the instance's, and the chain holds structures that it knows.
    unsafe { gpu.instance.get_physical_device_properties2(gpu.physical, &mut properties) };
    let core = properties.properties;
    let limits = core.limits;
    let text = |name: Option<&CStr>| name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = |v: u32| {
        format!("{}.{}.{}", vk::api_version_major(v), vk::api_version_minor(v), vk::api_version_patch(v))
    };
    let conformance = driver.conformance_version;
    let by = |sizes: [u32; 3]| sizes.map(|n| n.to_string()).join(" x ");
    let mut facts = vec![
        ("device", text(core.device_name_as_c_str().ok())),
        ("vendor and device", format!("{:#06x} {:#06x}", core.vendor_id, core.device_id)),
        ("driver", text(driver.driver_name_as_c_str().ok())),
        ("driver's version", text(driver.driver_info_as_c_str().ok())),
        ("driver's version as a number", core.driver_version.to_string()),
        ("Vulkan", version(core.api_version)),
        (
            "conformance",
            [conformance.major, conformance.minor, conformance.subminor, conformance.patch]
                .map(|n| n.to_string())
                .join("."),
        ),
        ("subgroup", subgroup.subgroup_size.to_string()),
        (
            "smallest and largest subgroup",
            format!("{} to {}", sizes.min_subgroup_size, sizes.max_subgroup_size),
        ),
        ("subgroups of a workgroup, most", sizes.max_compute_workgroup_subgroups.to_string()),
        ("subgroup operations", format!("{:?}", subgroup.supported_operations).to_lowercase()),
        ("workgroup memory, most bytes", limits.max_compute_shared_memory_size.to_string()),
        ("invocations of a workgroup, most", limits.max_compute_work_group_invocations.to_string()),
        ("workgroup, largest", by(limits.max_compute_work_group_size)),
        ("workgroups, most", by(limits.max_compute_work_group_count)),
        ("timestamp, nanoseconds", limits.timestamp_period.to_string()),
    ];
    if has_processors {
        facts.push(("multiprocessors", processors.shader_sm_count.to_string()));
        facts.push(("subgroups of a multiprocessor", processors.shader_warps_per_sm.to_string()));
    }
    let mut facts: Vec<(String, String)> =
        facts.into_iter().map(|(name, value)| (name.into(), value)).collect();
    for name in EXTENSIONS {
        let offered = if gpu.has(name) { "offered" } else { "not offered" };
        facts.push((text(Some(name)), offered.into()));
    }
    facts
}
