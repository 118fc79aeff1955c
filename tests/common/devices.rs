//! The devices that must compute the same numbers in tests.

#[path = "../../kernels-tests/adapter.rs"]
mod adapter;

use jem::device::{Device, DeviceOptions, DeviceSpec};

/// Opens the host and a GPU, each with a name for messages.
pub fn devices() -> [(&'static str, Device); 2] {
    [("cpu", DeviceSpec::Cpu), ("gpu", adapter::gpu_spec())].map(|(name, spec)| {
        let options = DeviceOptions { uncached: true, ..DeviceOptions::default() };
        let device = Device::open(&spec, options).unwrap_or_else(|e| panic!("{e}"));
        (name, device)
    })
}
