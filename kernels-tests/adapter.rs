//! The device on which the tests of the GPU run; also part of the tests in `tests/`.

use jem::device::{Device, DeviceSpec};

/// `$JEM_TEST_DEVICE` (as `--device`), else the first adapter.
///
/// # Panics
/// Without an adapter: a test that does not run must not look passed.
pub fn gpu_spec() -> DeviceSpec {
    let asked = std::env::var("JEM_TEST_DEVICE").ok().map(|name| name.parse().expect("JEM_TEST_DEVICE"));
    let first = || Device::adapters().first().map(|adapter| DeviceSpec::GpuNamed(adapter.name.clone()));
    asked.or_else(first).unwrap_or_else(|| {
        panic!(
            "no Vulkan, Metal or DX12 adapter: on Debian or Ubuntu run ./test, or install \
             mesa-vulkan-drivers and libvulkan1; elsewhere install your GPU's driver"
        )
    })
}
