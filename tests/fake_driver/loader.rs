//! The loader's side of a Vulkan layer: the structures of `vk_layer.h`, which ash lacks, and chains of structures.

use ash::vk::{self, Handle};
use std::ffi::c_void;

/// `VkNegotiateLayerInterface`.
#[derive(Debug)]
#[repr(C)]
pub struct NegotiateLayerInterface {
    pub ty: i32,
    pub next: *mut c_void,
    pub version: u32,
    pub get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    pub get_device_proc_addr: vk::PFN_vkGetDeviceProcAddr,
    pub get_physical_device_proc_addr: vk::PFN_vkGetInstanceProcAddr,
}

/// `VkLayerInstanceCreateInfo` and `VkLayerDeviceCreateInfo`, which hold a link if `function` is 0.
#[repr(C)]
pub struct LayerCreateInfo<Link> {
    pub ty: vk::StructureType,
    pub next: *const c_void,
    pub function: i32,
    pub link: *mut Link,
}

/// `VkLayerInstanceLink`: the next layer of an instance.
#[repr(C)]
pub struct InstanceLink {
    pub next: *mut Self,
    pub get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    pub get_physical_device_proc_addr: vk::PFN_vkGetInstanceProcAddr,
}

/// `VkLayerDeviceLink`: the next layer of a device.
#[repr(C)]
pub struct DeviceLink {
    pub next: *mut Self,
    pub get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    pub get_device_proc_addr: vk::PFN_vkGetDeviceProcAddr,
}

/// The loader's table for a dispatchable handle. A physical device has the table of its instance.
///
/// # Safety
/// The handle must be alive.
pub unsafe fn key(handle: impl Handle) -> usize {
    // SAFETY: a dispatchable handle points at an object that begins with the pointer to the loader's table.
    unsafe { *(handle.as_raw() as *const usize) }
}

/// The structure of type `ty` in a chain, as the pointer to it.
///
/// # Safety
/// `chain` must be the `pNext` of a Vulkan structure.
pub unsafe fn find(
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

/// Takes the link to the next layer from the `pNext` chain of a create info, which then holds the link of that layer.
///
/// # Safety
/// `chain` must be the `pNext` of a create info from the loader, and `ty` the type of its structure with a `Link`.
pub unsafe fn take_link<Link>(
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

/// Answers a Vulkan query: the number of `items` if `place` is null, else as many items as fit.
///
/// # Safety
/// `count` must be valid, and `place` null or valid for `count` items.
pub unsafe fn answer<T: Copy>(items: &[T], count: *mut u32, place: *mut T) -> vk::Result {
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
