//! A Vulkan layer for tests: in front of a driver without cooperative matrices it pretends that there are some, and
//! fails as `$JEM_FAKE_DRIVER` says when a pipeline is made of a shader that uses them.
//!
//! | `$JEM_FAKE_DRIVER` | `vkCreateComputePipelines`, if the module declares `CooperativeMatrixKHR` |
//! |---|---|
//! | `crash` | stores to an address that is not mapped (SIGSEGV) |
//! | `abort` | aborts the process (SIGABRT) |
//! | `exit` | ends the process with exit code 3 |
//! | `hang` | sleeps for ever |
//! | `refuse` | returns `VK_ERROR_UNKNOWN` |
//! | `crash-group-non-uniform` | crashes if the module declares `GroupNonUniform` too, else refuses |
//!
//! All else goes to the driver unchanged. The layer takes the extension and its feature out of `vkCreateDevice`, because
//! the driver knows neither.

use ash::vk::{self, Handle};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::hint::black_box;
use std::mem::transmute;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MODE: &str = "JEM_FAKE_DRIVER";
const MODES: [&str; 6] = ["crash", "abort", "exit", "hang", "refuse", "crash-group-non-uniform"];
const EXTENSION: &CStr = ash::khr::cooperative_matrix::NAME;

/// SPIR-V's `OpCapability`, and two of its operands.
const OP_CAPABILITY: u32 = 17;
const GROUP_NON_UNIFORM: u32 = 61;
const COOPERATIVE_MATRIX: u32 = 6022;

/// `VkNegotiateLayerInterface`. This and the structures below are those of vk_layer.h, which ash does not have.
#[repr(C)]
pub struct NegotiateLayerInterface {
    ty: i32,
    next: *mut c_void,
    version: u32,
    get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    get_device_proc_addr: vk::PFN_vkGetDeviceProcAddr,
    get_physical_device_proc_addr: vk::PFN_vkGetInstanceProcAddr,
}

/// `VkLayerInstanceCreateInfo` and `VkLayerDeviceCreateInfo`; the link is one where `function` is 0.
#[repr(C)]
struct LayerCreateInfo<Link> {
    ty: vk::StructureType,
    next: *const c_void,
    function: i32,
    link: *mut Link,
}

/// `VkLayerInstanceLink`: the way down.
#[repr(C)]
struct InstanceLink {
    next: *mut Self,
    get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    get_physical_device_proc_addr: vk::PFN_vkGetInstanceProcAddr,
}

/// `VkLayerDeviceLink`: the way down.
#[repr(C)]
struct DeviceLink {
    next: *mut Self,
    get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    get_device_proc_addr: vk::PFN_vkGetDeviceProcAddr,
}

/// The functions below an instance.
#[derive(Clone)]
struct Instance {
    handle: vk::Instance,
    get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    get_physical_device_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    v1_0: ash::InstanceFnV1_0,
    v1_1: ash::InstanceFnV1_1,
}

/// The functions below a device.
#[derive(Clone)]
struct Device {
    get_device_proc_addr: vk::PFN_vkGetDeviceProcAddr,
    v1_0: ash::DeviceFnV1_0,
}

/// All that the layer remembers, for as long as the process lives.
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

/// The loader's table of a dispatchable handle. A physical device has its instance's.
///
/// # Safety
/// The handle is alive.
unsafe fn key(handle: impl Handle) -> usize {
    // SAFETY: a dispatchable handle points at an object that begins with the pointer to the loader's table.
    unsafe { *(handle.as_raw() as *const usize) }
}

unsafe fn instance_of(handle: impl Handle) -> Instance {
    // SAFETY: the caller's handle is alive, for Vulkan asks that of it.
    let key = unsafe { key(handle) };
    state().instances.get(&key).expect("an instance made through this layer").clone()
}

unsafe fn device_of(handle: vk::Device) -> Device {
    // SAFETY: as above.
    let key = unsafe { key(handle) };
    state().devices.get(&key).expect("a device made through this layer").clone()
}

/// The structure of type `ty` in a chain, as the place that points at it.
///
/// # Safety
/// `chain` is the `pNext` of a Vulkan structure.
unsafe fn find(
    chain: *mut *const c_void,
    ty: vk::StructureType,
) -> Option<*mut *mut vk::BaseOutStructure<'static>> {
    let mut at = chain.cast::<*mut vk::BaseOutStructure>();
    // SAFETY: each structure of a chain begins with its type and the pointer to the next; the last pointer is null.
    unsafe {
        while !(*at).is_null() {
            if (**at).s_type == ty {
                return Some(at);
            }
            at = &raw mut (**at).p_next;
        }
    }
    None
}

/// The way down in the `pNext` chain of a create info; the chain then holds that of the layer below.
///
/// # Safety
/// `chain` is the `pNext` of a create info that the loader handed on, and `ty` its structure with a `Link`.
unsafe fn take_link<Link>(
    mut chain: *const c_void,
    ty: vk::StructureType,
    next: impl Fn(&Link) -> *mut Link,
) -> Option<*mut Link> {
    // SAFETY: the loader's structures are laid out as vk_layer.h says and writable: layers are meant to advance them.
    unsafe {
        while let Some(at) = find(&raw mut chain, ty) {
            let info = (*at).cast::<LayerCreateInfo<Link>>();
            if (*info).function == 0 {
                let link = (*info).link;
                (*info).link = next(&*link);
                return Some(link);
            }
            chain = (*info).next;
        }
    }
    None
}

/// Answers a query of Vulkan's kind: the number of `items` if there is no place for them, else as many as fit.
///
/// # Safety
/// `count` is valid, and `place` null or valid for `count` items.
unsafe fn answer<T: Copy>(items: &[T], count: *mut u32, place: *mut T) -> vk::Result {
    // SAFETY: the caller's promise.
    unsafe {
        if place.is_null() {
            *count = items.len() as u32;
            return vk::Result::SUCCESS;
        }
        let fit = items.len().min(*count as usize);
        place.copy_from_nonoverlapping(items.as_ptr(), fit);
        *count = fit as u32;
        if fit < items.len() { vk::Result::INCOMPLETE } else { vk::Result::SUCCESS }
    }
}

/// The loader's first question: where this layer's functions are.
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
    // SAFETY: Vulkan hands out functions of all types as this one; who asked knows the type by the name.
    unsafe {
        match name.to_str().ok()? {
            "vkGetInstanceProcAddr" => transmute(get_instance_proc_addr as vk::PFN_vkGetInstanceProcAddr),
            "vkCreateInstance" => transmute(create_instance as vk::PFN_vkCreateInstance),
            "vkCreateDevice" => transmute(create_device as vk::PFN_vkCreateDevice),
            _ => own_of_physical_device(name).or_else(|| own_of_device(name)),
        }
    }
}

fn own_of_physical_device(name: &CStr) -> vk::PFN_vkVoidFunction {
    // SAFETY: as in `own`.
    unsafe {
        match name.to_str().ok()? {
            "vkEnumerateDeviceExtensionProperties" => {
                transmute(enumerate_extensions as vk::PFN_vkEnumerateDeviceExtensionProperties)
            }
            "vkGetPhysicalDeviceFeatures2" | "vkGetPhysicalDeviceFeatures2KHR" => {
                transmute(get_features as vk::PFN_vkGetPhysicalDeviceFeatures2)
            }
            "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR" => {
                transmute(get_matrices as vk::PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)
            }
            _ => None,
        }
    }
}

fn own_of_device(name: &CStr) -> vk::PFN_vkVoidFunction {
    // SAFETY: as in `own`.
    unsafe {
        match name.to_str().ok()? {
            "vkGetDeviceProcAddr" => transmute(get_device_proc_addr as vk::PFN_vkGetDeviceProcAddr),
            "vkCreateShaderModule" => transmute(create_shader_module as vk::PFN_vkCreateShaderModule),
            "vkCreateComputePipelines" => {
                transmute(create_compute_pipelines as vk::PFN_vkCreateComputePipelines)
            }
            _ => None,
        }
    }
}

unsafe extern "system" fn get_instance_proc_addr(
    instance: vk::Instance,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: the name is a C string, and the instance alive where there is one.
    unsafe {
        own(CStr::from_ptr(name))
            .or_else(|| (!instance.is_null()).then(|| instance_of(instance))?.get_instance_proc_addr_of(name))
    }
}

unsafe extern "system" fn get_physical_device_proc_addr(
    instance: vk::Instance,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: as above.
    unsafe {
        own_of_physical_device(CStr::from_ptr(name)).or_else(|| {
            let below = instance_of(instance);
            (below.get_physical_device_proc_addr)(below.handle, name)
        })
    }
}

unsafe extern "system" fn get_device_proc_addr(
    device: vk::Device,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: as above.
    unsafe {
        own_of_device(CStr::from_ptr(name)).or_else(|| (device_of(device).get_device_proc_addr)(device, name))
    }
}

impl Instance {
    unsafe fn get_instance_proc_addr_of(&self, name: *const c_char) -> vk::PFN_vkVoidFunction {
        // SAFETY: the name is a C string, and the instance alive.
        unsafe { (self.get_instance_proc_addr)(self.handle, name) }
    }
}

unsafe extern "system" fn create_instance(
    info: *const vk::InstanceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    instance: *mut vk::Instance,
) -> vk::Result {
    let mode = std::env::var(MODE).unwrap_or_default();
    if !MODES.contains(&mode.as_str()) {
        eprintln!("fake driver: expected {MODE} to be one of {}, got {mode:?}", MODES.join(", "));
        return vk::Result::ERROR_INITIALIZATION_FAILED;
    }
    // SAFETY: the loader's call, handed on; the functions below are called with what they were made for.
    unsafe {
        let ty = vk::StructureType::LOADER_INSTANCE_CREATE_INFO;
        let Some(link) = take_link((*info).p_next, ty, |link: &InstanceLink| link.next) else {
            return vk::Result::ERROR_INITIALIZATION_FAILED;
        };
        let get_instance_proc_addr = (*link).get_instance_proc_addr;
        let create = get_instance_proc_addr(vk::Instance::null(), c"vkCreateInstance".as_ptr());
        let Some(create) = create else { return vk::Result::ERROR_INITIALIZATION_FAILED };
        let create: vk::PFN_vkCreateInstance = transmute(create);
        let result = create(info, allocator, instance);
        if result == vk::Result::SUCCESS {
            let handle = *instance;
            let load = |name: &CStr| transmute(get_instance_proc_addr(handle, name.as_ptr()));
            let below = Instance {
                handle,
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
    // SAFETY: the caller's arguments, handed on; the second call has place for as many as the first one counted.
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
        let fake = vk::ExtensionProperties { spec_version: 2, ..Default::default() };
        all.push(fake.extension_name(EXTENSION).expect("a name that fits"));
        answer(&all, count, place)
    }
}

unsafe extern "system" fn get_features(
    physical: vk::PhysicalDevice,
    features: *mut vk::PhysicalDeviceFeatures2<'_>,
) {
    let ty = vk::StructureType::PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    // SAFETY: the caller's arguments, handed on; the structure has the type that it says.
    unsafe {
        (instance_of(physical).v1_1.get_physical_device_features2)(physical, features);
        if let Some(at) = find((&raw mut (*features).p_next).cast(), ty) {
            let matrices = (*at).cast::<vk::PhysicalDeviceCooperativeMatrixFeaturesKHR>();
            (*matrices).cooperative_matrix = vk::TRUE;
        }
    }
}

/// The matrices that the engine looks for, and a shape that wgpu does not take.
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
    // SAFETY: the caller's arguments, as Vulkan wants them.
    unsafe { answer(&[half, byte], count, place) }
}

unsafe extern "system" fn create_device(
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    device: *mut vk::Device,
) -> vk::Result {
    // SAFETY: the caller's arguments, handed on in a copy without the extension. Its chain is the caller's: it lacks
    // the feature only during the call below. (ash builds chains of structures that it has borrowed mutably.)
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
        let names: Vec<_> = names.iter().copied().filter(|&name| CStr::from_ptr(name) != EXTENSION).collect();
        (info.pp_enabled_extension_names, info.enabled_extension_count) =
            (names.as_ptr(), names.len() as u32);
        let feature = vk::StructureType::PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
        let hidden = find(&raw mut info.p_next, feature).map(|at| (at, *at));
        if let Some((at, feature)) = hidden {
            *at = (*feature).p_next;
        }
        let result = (instance_of(physical).v1_0.create_device)(physical, &raw const info, allocator, device);
        if let Some((at, feature)) = hidden {
            *at = feature;
        }
        if result == vk::Result::SUCCESS {
            let (handle, get_device_proc_addr) = (*device, (*link).get_device_proc_addr);
            let load = |name: &CStr| transmute(get_device_proc_addr(handle, name.as_ptr()));
            let below = Device { get_device_proc_addr, v1_0: ash::DeviceFnV1_0::load(load) };
            state().devices.insert(key(handle), below);
        }
        result
    }
}

/// The capabilities that a SPIR-V module declares.
fn capabilities(words: &[u32]) -> Vec<u32> {
    let mut rest = words.get(5..).unwrap_or_default();
    let mut found = Vec::new();
    // They come first; an instruction's first word is its length and its opcode.
    while let [first, operand, ..] = *rest {
        if first & 0xffff != OP_CAPABILITY {
            break;
        }
        found.push(operand);
        rest = rest.get(first as usize >> 16..).unwrap_or_default();
    }
    found
}

unsafe extern "system" fn create_shader_module(
    device: vk::Device,
    info: *const vk::ShaderModuleCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    module: *mut vk::ShaderModule,
) -> vk::Result {
    // SAFETY: the caller's arguments, handed on; the code has as many bytes as it says.
    unsafe {
        let result = (device_of(device).v1_0.create_shader_module)(device, info, allocator, module);
        if result == vk::Result::SUCCESS {
            let declared = capabilities(std::slice::from_raw_parts((*info).p_code, (*info).code_size / 4));
            // Handles of destroyed modules come again.
            let modules = &mut state().modules;
            modules.remove(&*module);
            if declared.contains(&COOPERATIVE_MATRIX) {
                modules.insert(*module, declared.contains(&GROUP_NON_UNIFORM));
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
    // SAFETY: the caller's arguments, handed on; there are `count` create infos and places for pipelines.
    unsafe {
        let modules = std::slice::from_raw_parts(infos, count as usize).iter().map(|info| info.stage.module);
        let found = modules.filter_map(|module| state().modules.get(&module).copied()).max();
        let Some(group_non_uniform) = found else {
            let below = device_of(device).v1_0.create_compute_pipelines;
            return below(device, cache, count, infos, allocator, pipelines);
        };
        fail(group_non_uniform);
        std::slice::from_raw_parts_mut(pipelines, count as usize).fill(vk::Pipeline::null());
        vk::Result::ERROR_UNKNOWN
    }
}

/// Fails as `$JEM_FAKE_DRIVER` says; returns only to refuse.
fn fail(group_non_uniform: bool) {
    match std::env::var(MODE).unwrap_or_default().as_str() {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        mode if mode == "crash" || (mode == "crash-group-non-uniform" && group_non_uniform) => {
            // SAFETY: none; no system maps this address, and the fault that follows is what the mode asks for.
            unsafe { black_box(64 as *mut u8).write_volatile(1) }
        }
        _ => {}
    }
}
