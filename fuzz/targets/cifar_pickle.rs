//! The pickles of CIFAR-10's and CIFAR-100's Python versions, and the NumPy arrays of any pickle.
#![no_main]

use jem::data::cifar::Version;
use jem::data::cifar_pickle::append;
use jem::io::torch::pickle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for version in [Version::Cifar10, Version::Cifar100] {
        let _ = append(data, version, &mut Vec::new(), &mut Vec::new());
    }
    if let Ok((pickle, _)) = pickle::read(data) {
        let entries: Vec<_> = pickle.entries(pickle.root).map(|(_, id)| id).take(100).collect();
        entries.into_iter().for_each(|id| drop(pickle.array(id)));
    }
});
