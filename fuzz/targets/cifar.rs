//! Records of CIFAR-10 and CIFAR-100.
#![no_main]

use jem::data::cifar::{Version, append_records};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for version in [Version::Cifar10, Version::Cifar100] {
        let _ = append_records(data, version, &mut Vec::new(), &mut Vec::new());
    }
});
