//! A Vulkan layer for tests. In front of a driver without cooperative matrices it reports some, and fails in the mode
//! of `$JEM_FAKE_DRIVER` when a pipeline is created from a shader that uses them.
//!
//! | `$JEM_FAKE_DRIVER` | `vkCreateComputePipelines`, if the module declares `CooperativeMatrixKHR` |
//! |---|---|
//! | `crash` | stores to an address that is not mapped (SIGSEGV) |
//! | `abort` | aborts the process (SIGABRT) |
//! | `exit` | ends the process with exit code 3 |
//! | `hang` | sleeps forever |
//! | `refuse` | returns `VK_ERROR_UNKNOWN` |
//! | `crash-group-non-uniform` | crashes if the module declares `GroupNonUniform` too, else refuses |
//! | `full` | refuses; and in a child that runs the gate, `vkCreateBuffer` fails for its tensors |
//!
//! It also reports registers and spills, the same numbers for every pipeline. Everything else is passed to the driver
//! unchanged, except that the layer removes its extensions and their features from `vkCreateDevice`, because the driver
//! does not know them.

mod failure;
mod loader;
mod statistics;

use ash::vk::{self, Handle};
use loader::{DeviceLink, InstanceLink, NegotiateLayerInterface, answer, find, key, take_link};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::mem::transmute;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The extensions that the layer reports, and the structures of their features, each with one `VkBool32`.
const EXTENSIONS: [&CStr; 2] =
    [ash::khr::cooperative_matrix::NAME, ash::khr::pipeline_executable_properties::NAME];
const FEATURES: [vk::StructureType; 2] = [
    vk::StructureType::PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
    vk::StructureType::PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
];

/// The functions of the next layer for an instance.
#[derive(Clone)]
struct Instance {
    get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    get_physical_device_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    v1_0: ash::InstanceFnV1_0,
    v1_1: ash::InstanceFnV1_1,
}

/// The functions of the next layer for a device.
#[derive(Clone)]
struct Device {
    get_device_proc_addr: vk::PFN_vkGetDeviceProcAddr,
    v1_0: ash::DeviceFnV1_0,
}

/// The state of the layer, for the lifetime of the process.
struct State {
    instances: BTreeMap<usize, Instance>,
    devices: BTreeMap<usize, Device>,
    /// The shader modules with cooperative matrices, and whether they declare `GroupNonUniform`.
    modules: BTreeMap<vk::ShaderModule, bool>,
}

static STATE: Mutex<State> =
    Mutex::new(State { instances: BTreeMap::new(), devices: BTreeMap::new(), modules: BTreeMap::new() });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe fn instance_of(handle: impl Handle) -> Instance {
    // SAFETY: the caller's handle is alive, as Vulkan requires.
    let key = unsafe { key(handle) };
    state().instances.get(&key).expect("an instance made through this layer").clone()
}

unsafe fn device_of(handle: vk::Device) -> Device {
    // SAFETY: as above.
    let key = unsafe { key(handle) };
    state().devices.get(&key).expect("a device made through this layer").clone()
}

/// The loader's first call, which asks for the functions of this layer.
///
/// # Safety
/// The loader calls it with its own structure.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(
    interface: *mut NegotiateLayerInterface,
) -> vk::Result {
    // SAFETY: the structure is the loader's, which speaks version 2 or later: a layer's functions are in it since then.
    let interface = unsafe { &mut *interface };
    interface.version = interface.version.min(2);
    interface.get_instance_proc_addr = get_instance_proc_addr;
    interface.get_device_proc_addr = get_device_proc_addr;
    interface.get_physical_device_proc_addr = get_physical_device_proc_addr;
    vk::Result::SUCCESS
}

/// The functions of this layer by name.
fn own(name: &CStr) -> vk::PFN_vkVoidFunction {
    let function = match name.to_str().ok()? {
        "vkGetInstanceProcAddr" => get_instance_proc_addr as vk::PFN_vkGetInstanceProcAddr as *const (),
        "vkGetDeviceProcAddr" => get_device_proc_addr as vk::PFN_vkGetDeviceProcAddr as *const (),
        "vkCreateInstance" => create_instance as vk::PFN_vkCreateInstance as *const (),
        "vkEnumerateDeviceExtensionProperties" => {
            enumerate_extensions as vk::PFN_vkEnumerateDeviceExtensionProperties as *const ()
        }
        "vkGetPhysicalDeviceFeatures2" | "vkGetPhysicalDeviceFeatures2KHR" => {
            get_features as vk::PFN_vkGetPhysicalDeviceFeatures2 as *const ()
        }
        "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR" => {
            get_matrices as vk::PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR as *const ()
        }
        "vkGetPipelineExecutablePropertiesKHR" => {
            statistics::get_executables as vk::PFN_vkGetPipelineExecutablePropertiesKHR as *const ()
        }
        "vkGetPipelineExecutableStatisticsKHR" => {
            statistics::get_statistics as vk::PFN_vkGetPipelineExecutableStatisticsKHR as *const ()
        }
        "vkCreateDevice" => create_device as vk::PFN_vkCreateDevice as *const (),
        "vkCreateBuffer" => create_buffer as vk::PFN_vkCreateBuffer as *const (),
        "vkCreateShaderModule" => create_shader_module as vk::PFN_vkCreateShaderModule as *const (),
        "vkCreateComputePipelines" => {
            create_compute_pipelines as vk::PFN_vkCreateComputePipelines as *const ()
        }
        _ => return None,
    };
    // SAFETY: the pointer is a function's. Vulkan returns functions of all types as this type; the caller knows the
    // actual type from the name.
    Some(unsafe { transmute::<*const (), unsafe extern "system" fn()>(function) })
}

/// Converts the function for ash's tables: null if there is none.
fn pointer(function: vk::PFN_vkVoidFunction) -> *const c_void {
    function.map_or(std::ptr::null(), |function| function as *const c_void)
}

unsafe extern "system" fn get_instance_proc_addr(
    instance: vk::Instance,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: the name is a C string, and the instance null or alive.
    unsafe {
        let own = own(CStr::from_ptr(name));
        if own.is_some() || instance.is_null() {
            return own;
        }
        (instance_of(instance).get_instance_proc_addr)(instance, name)
    }
}

/// The loader asks this for functions of physical devices that it does not know.
unsafe extern "system" fn get_physical_device_proc_addr(
    instance: vk::Instance,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: as above.
    unsafe {
        let text = CStr::from_ptr(name);
        if text.to_bytes().starts_with(b"vkGetPhysicalDevice") && own(text).is_some() {
            return own(text);
        }
        (instance_of(instance).get_physical_device_proc_addr)(instance, name)
    }
}

unsafe extern "system" fn get_device_proc_addr(
    device: vk::Device,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: as above.
    unsafe { own(CStr::from_ptr(name)).or_else(|| (device_of(device).get_device_proc_addr)(device, name)) }
}

unsafe extern "system" fn create_instance(
    info: *const vk::InstanceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    instance: *mut vk::Instance,
) -> vk::Result {
    if !failure::is_known() {
        return vk::Result::ERROR_INITIALIZATION_FAILED;
    }
    // SAFETY: the loader's call, passed on; the functions below are called with the handles that they belong to.
    unsafe {
        let ty = vk::StructureType::LOADER_INSTANCE_CREATE_INFO;
        let Some(link) = take_link((*info).p_next, ty, |link: &InstanceLink| link.next) else {
            return vk::Result::ERROR_INITIALIZATION_FAILED;
        };
        let get_instance_proc_addr = (*link).get_instance_proc_addr;
        let create = get_instance_proc_addr(vk::Instance::null(), c"vkCreateInstance".as_ptr());
        let Some(create) = create else { return vk::Result::ERROR_INITIALIZATION_FAILED };
        let create = transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateInstance>(create);
        let result = create(info, allocator, instance);
        if result == vk::Result::SUCCESS {
            let handle = *instance;
            let load = |name: &CStr| pointer(get_instance_proc_addr(handle, name.as_ptr()));
            let below = Instance {
                get_instance_proc_addr,
                get_physical_device_proc_addr: (*link).get_physical_device_proc_addr,
                v1_0: ash::InstanceFnV1_0::load(load),
                v1_1: ash::InstanceFnV1_1::load(load),
            };
            state().instances.insert(key(handle), below);
        }
        result
    }
}

unsafe extern "system" fn enumerate_extensions(
    physical: vk::PhysicalDevice,
    layer: *const c_char,
    count: *mut u32,
    place: *mut vk::ExtensionProperties,
) -> vk::Result {
    // SAFETY: the caller's arguments, passed on; the second call has room for as many items as the first one counted.
    unsafe {
        let below = instance_of(physical).v1_0.enumerate_device_extension_properties;
        if !layer.is_null() {
            return below(physical, layer, count, place);
        }
        let mut n = 0;
        let result = below(physical, layer, &raw mut n, std::ptr::null_mut());
        if result != vk::Result::SUCCESS {
            return result;
        }
        let mut all = vec![vk::ExtensionProperties::default(); n as usize];
        let result = below(physical, layer, &raw mut n, all.as_mut_ptr());
        if result != vk::Result::SUCCESS {
            return result;
        }
        let fake = vk::ExtensionProperties { spec_version: 1, ..Default::default() };
        all.extend(EXTENSIONS.map(|name| fake.extension_name(name).expect("a name that fits")));
        answer(&all, count, place)
    }
}

unsafe extern "system" fn get_features(
    physical: vk::PhysicalDevice,
    features: *mut vk::PhysicalDeviceFeatures2<'_>,
) {
    // SAFETY: the caller's arguments, passed on. Both structures are a head and a VkBool32, so either type is valid.
    unsafe {
        (instance_of(physical).v1_1.get_physical_device_features2)(physical, features);
        for ty in FEATURES {
            if let Some(at) = find((&raw mut (*features).p_next).cast(), ty) {
                (*(*at).cast::<vk::PhysicalDeviceCooperativeMatrixFeaturesKHR>()).cooperative_matrix =
                    vk::TRUE;
            }
        }
    }
}

/// Reports the matrices that the engine looks for, and a shape that wgpu does not accept.
unsafe extern "system" fn get_matrices(
    _: vk::PhysicalDevice,
    count: *mut u32,
    place: *mut vk::CooperativeMatrixPropertiesKHR<'_>,
) -> vk::Result {
    let shape = |k, operand, sum| {
        vk::CooperativeMatrixPropertiesKHR::default()
            .m_size(16)
            .n_size(16)
            .k_size(k)
            .a_type(operand)
            .b_type(operand)
            .c_type(sum)
            .result_type(sum)
            .scope(vk::ScopeKHR::SUBGROUP)
    };
    let half = shape(16, vk::ComponentTypeKHR::FLOAT16, vk::ComponentTypeKHR::FLOAT32);
    let byte = shape(32, vk::ComponentTypeKHR::SINT8, vk::ComponentTypeKHR::SINT32);
    // SAFETY: the caller's arguments, as Vulkan requires them.
    unsafe { answer(&[half, byte], count, place) }
}

unsafe extern "system" fn create_device(
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    device: *mut vk::Device,
) -> vk::Result {
    // SAFETY: the caller's arguments, passed on in a copy without the extensions. The chain is the caller's: the
    // features are removed only during the call below. (ash builds chains of structures that it has borrowed mutably.)
    unsafe {
        let ty = vk::StructureType::LOADER_DEVICE_CREATE_INFO;
        let Some(link) = take_link((*info).p_next, ty, |link: &DeviceLink| link.next) else {
            return vk::Result::ERROR_INITIALIZATION_FAILED;
        };
        let mut info = *info;
        let names = match info.enabled_extension_count {
            0 => &[],
            n => std::slice::from_raw_parts(info.pp_enabled_extension_names, n as usize),
        };
        let known = |&name: &*const c_char| !EXTENSIONS.contains(&CStr::from_ptr(name));
        let names: Vec<_> = names.iter().copied().filter(known).collect();
        (info.pp_enabled_extension_names, info.enabled_extension_count) =
            (names.as_ptr(), names.len() as u32);
        let mut hidden = Vec::new();
        for ty in FEATURES {
            if let Some(at) = find(&raw mut info.p_next, ty) {
                hidden.push((at, *at));
                *at = (**at).p_next;
            }
        }
        let result = (instance_of(physical).v1_0.create_device)(physical, &raw const info, allocator, device);
        while let Some((at, feature)) = hidden.pop() {
            *at = feature;
        }
        if result == vk::Result::SUCCESS {
            let (handle, get_device_proc_addr) = (*device, (*link).get_device_proc_addr);
            let load = |name: &CStr| pointer(get_device_proc_addr(handle, name.as_ptr()));
            let below = Device { get_device_proc_addr, v1_0: ash::DeviceFnV1_0::load(load) };
            state().devices.insert(key(handle), below);
        }
        result
    }
}

unsafe extern "system" fn create_buffer(
    device: vk::Device,
    info: *const vk::BufferCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    buffer: *mut vk::Buffer,
) -> vk::Result {
    // SAFETY: the caller's arguments, passed on.
    unsafe {
        if failure::is_full((*info).size) {
            return vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
        }
        (device_of(device).v1_0.create_buffer)(device, info, allocator, buffer)
    }
}

unsafe extern "system" fn create_shader_module(
    device: vk::Device,
    info: *const vk::ShaderModuleCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    module: *mut vk::ShaderModule,
) -> vk::Result {
    // SAFETY: the caller's arguments, passed on; the code has the number of bytes that it states.
    unsafe {
        let result = (device_of(device).v1_0.create_shader_module)(device, info, allocator, module);
        if result == vk::Result::SUCCESS {
            let words = std::slice::from_raw_parts((*info).p_code, (*info).code_size / 4);
            let declared = failure::capabilities(words);
            // Handles of destroyed modules are reused.
            let modules = &mut state().modules;
            modules.remove(&*module);
            if declared.contains(&failure::COOPERATIVE_MATRIX) {
                modules.insert(*module, declared.contains(&failure::GROUP_NON_UNIFORM));
            }
        }
        result
    }
}

unsafe extern "system" fn create_compute_pipelines(
    device: vk::Device,
    cache: vk::PipelineCache,
    count: u32,
    infos: *const vk::ComputePipelineCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    pipelines: *mut vk::Pipeline,
) -> vk::Result {
    // SAFETY: the caller's arguments, passed on; there are `count` create infos and places for pipelines.
    unsafe {
        let modules = std::slice::from_raw_parts(infos, count as usize).iter().map(|info| info.stage.module);
        let found = modules.filter_map(|module| state().modules.get(&module).copied()).max();
        let Some(group_non_uniform) = found else {
            let below = device_of(device).v1_0.create_compute_pipelines;
            return below(device, cache, count, infos, allocator, pipelines);
        };
        failure::fail(group_non_uniform);
        std::slice::from_raw_parts_mut(pipelines, count as usize).fill(vk::Pipeline::null());
        vk::Result::ERROR_UNKNOWN
    }
}
