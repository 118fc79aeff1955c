//! A second Vulkan device on wgpu's adapter. It enables the features that affect how the driver compiles this engine's
//! shaders, as wgpu does, and the driver's report on executables.

use ash::{ext, khr, vk};
use jem::device::AdapterInfo;
use std::ffi::CStr;

/// The features that wgpu enables on this device and that affect the code.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// `SHADER_F16` is enabled.
    f16: bool,
    /// Inputs and outputs of shaders may be f16.
    input_output_16: bool,
    /// Arithmetic on 8-bit integers.
    int8: bool,
    /// Dot products of integers.
    dot_product: bool,
    /// `EXPERIMENTAL_COOPERATIVE_MATRIX` and `SUBGROUP` are enabled.
    cooperative: bool,
}

/// The device.
pub struct Gpu {
    pub entry: ash::Entry,
    pub instance: ash::Instance,
    pub physical: vk::PhysicalDevice,
    pub device: ash::Device,
    /// The names of all device extensions.
    pub extensions: Vec<String>,
    /// Whether the driver reports on executables.
    pub reports: bool,
    /// The version of SPIR-V that it takes.
    pub spirv: (u8, u8),
    /// Whether stages may run at any subgroup size, which wgpu allows where subgroups are in use.
    pub varying: bool,
}

impl Gpu {
    /// Opens the adapter that `info` describes, with or without cooperative matrices.
    ///
    /// # Errors
    /// If the device has no Vulkan 1.3, or the driver fails.
    pub fn open(info: &AdapterInfo, cooperative: bool) -> Result<Self, String> {
        // SAFETY: the loader's library is Vulkan's, as wgpu takes it for too.
        let entry = unsafe { ash::Entry::load() }.map_err(|error| format!("the Vulkan loader: {error}"))?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let create = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structure asks for no layers and no extensions, and outlives the call.
        let instance = unsafe { entry.create_instance(&create, None) }.map_err(said("vkCreateInstance"))?;
        let physical = find(&instance, info)?;
        let extensions = extensions(&instance, physical)?;
        let offered = Offered::of(&instance, physical, &extensions);
        let target = Target {
            f16: info.f16,
            input_output_16: offered.input_output_16,
            int8: offered.int8,
            dot_product: offered.dot_product,
            cooperative,
        };
        let device = device(&instance, physical, &offered, target)?;
        Ok(Self {
            entry,
            instance,
            physical,
            device,
            extensions,
            reports: offered.reports,
            spirv: info.spirv.ok_or("wgpu passes no SPIR-V to this adapter")?,
            varying: cooperative,
        })
    }

    /// Whether the device has the extension.
    pub fn has(&self, name: &CStr) -> bool {
        has(&self.extensions, name)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: nothing made of them is left: whoever makes pipelines destroys them.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// Whether `extensions` has `name`.
fn has(extensions: &[String], name: &CStr) -> bool {
    extensions.iter().any(|one| Ok(one.as_str()) == name.to_str())
}

/// An error of the call `what`.
pub fn said(what: &str) -> impl Fn(vk::Result) -> String + '_ {
    move |code| format!("{what}: {code} ({})", code.as_raw())
}

/// The physical device with the name, vendor and device number of `info`.
fn find(instance: &ash::Instance, info: &AdapterInfo) -> Result<vk::PhysicalDevice, String> {
    // SAFETY: the instance is alive.
    let all = unsafe { instance.enumerate_physical_devices() }.map_err(said("vkEnumeratePhysicalDevices"))?;
    let is = |&&physical: &&vk::PhysicalDevice| {
        // SAFETY: the physical device is the instance's.
        let properties = unsafe { instance.get_physical_device_properties(physical) };
        let name = properties.device_name_as_c_str().ok().and_then(|name| name.to_str().ok());
        (properties.vendor_id, properties.device_id, name)
            == (info.vendor, info.device, Some(info.name.as_str()))
    };
    let physical = *all.iter().find(is).ok_or_else(|| format!("Vulkan has no device {}", info.name))?;
    // SAFETY: as above.
    let version = unsafe { instance.get_physical_device_properties(physical) }.api_version;
    if version < vk::API_VERSION_1_3 {
        let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
        return Err(format!("{} has Vulkan {major}.{minor}, expected 1.3", info.name));
    }
    Ok(physical)
}

fn extensions(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Result<Vec<String>, String> {
    // SAFETY: the physical device is the instance's.
    let all = unsafe { instance.enumerate_device_extension_properties(physical) }
        .map_err(said("vkEnumerateDeviceExtensionProperties"))?;
    let name =
        |one: &vk::ExtensionProperties| Some(one.extension_name_as_c_str().ok()?.to_str().ok()?.to_owned());
    Ok(all.iter().filter_map(name).collect())
}

/// The relevant features that a physical device offers.
struct Offered {
    robust: bool,
    /// `VK_EXT_robustness2`, if it is there: buffers and images.
    robust2: Option<[bool; 2]>,
    int8: bool,
    input_output_16: bool,
    dot_product: bool,
    reports: bool,
}

impl Offered {
    fn of(instance: &ash::Instance, physical: vk::PhysicalDevice, extensions: &[String]) -> Self {
        let mut small = vk::PhysicalDeviceShaderFloat16Int8Features::default();
        let mut storage = vk::PhysicalDevice16BitStorageFeatures::default();
        let mut dot = vk::PhysicalDeviceShaderIntegerDotProductFeatures::default();
        let mut robust2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut reports = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut small)
            .push_next(&mut storage)
            .push_next(&mut dot);
        let has_robust2 = has(extensions, ext::robustness2::NAME);
        if has_robust2 {
            features = features.push_next(&mut robust2);
        }
        if has(extensions, khr::pipeline_executable_properties::NAME) {
            features = features.push_next(&mut reports);
        }
        // SAFETY: the physical device is the instance's, and the chain holds structures that it knows.
        unsafe { instance.get_physical_device_features2(physical, &mut features) };
        let robust = features.features.robust_buffer_access == vk::TRUE;
        Self {
            robust,
            robust2: has_robust2.then_some(
                [robust2.robust_buffer_access2, robust2.robust_image_access2].map(|on| on == vk::TRUE),
            ),
            int8: small.shader_int8 == vk::TRUE,
            input_output_16: storage.storage_input_output16 == vk::TRUE,
            dot_product: dot.shader_integer_dot_product == vk::TRUE,
            reports: reports.pipeline_executable_info == vk::TRUE,
        }
    }
}

/// Opens the device with wgpu's settings, as far as they affect the code.
fn device(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    offered: &Offered,
    target: Target,
) -> Result<ash::Device, String> {
    let mut names = Vec::new();
    let mut small = vk::PhysicalDeviceShaderFloat16Int8Features::default()
        .shader_float16(target.f16)
        .shader_int8(target.int8);
    let mut storage = vk::PhysicalDevice16BitStorageFeatures::default()
        .storage_buffer16_bit_access(target.f16)
        .uniform_and_storage_buffer16_bit_access(target.f16)
        .storage_input_output16(target.f16 && target.input_output_16);
    let mut subgroups = vk::PhysicalDeviceSubgroupSizeControlFeatures::default().subgroup_size_control(true);
    let mut memory_model = vk::PhysicalDeviceVulkanMemoryModelFeatures::default()
        .vulkan_memory_model(target.cooperative)
        .vulkan_memory_model_device_scope(target.cooperative);
    let mut dot = vk::PhysicalDeviceShaderIntegerDotProductFeatures::default()
        .shader_integer_dot_product(target.dot_product);
    let [robust_buffers, robust_images] = offered.robust2.unwrap_or_default();
    let mut robust2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default()
        .robust_buffer_access2(robust_buffers)
        .robust_image_access2(robust_images);
    let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
    let mut reports =
        vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
    let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(offered.robust);
    let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
    let mut info = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_features(&core)
        .push_next(&mut small)
        .push_next(&mut storage)
        .push_next(&mut subgroups)
        .push_next(&mut memory_model)
        .push_next(&mut dot);
    if offered.robust2.is_some() {
        names.push(ext::robustness2::NAME.as_ptr());
        info = info.push_next(&mut robust2);
    }
    if target.cooperative {
        names.push(khr::cooperative_matrix::NAME.as_ptr());
        info = info.push_next(&mut matrices);
    }
    if offered.reports {
        names.push(khr::pipeline_executable_properties::NAME.as_ptr());
        info = info.push_next(&mut reports);
    }
    let info = info.enabled_extension_names(&names);
    // SAFETY: the physical device is the instance's and offers what is asked for; the structures outlive the call.
    unsafe { instance.create_device(physical, &info, None) }.map_err(said("vkCreateDevice"))
}
