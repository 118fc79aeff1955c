//! `normalise`, with the leaky ReLU and its mask.

use super::shapes::norms;
use super::timing::Bench;
use jem::compute::storage::Storage;
use jem::kernels::normalise::Normalise;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        let (activated, storage) = (Some(0.2), Storage::F32);
        bench.time(&label, Normalise { geometry, epsilon: 1e-5, raw: false, activated, mask: true, storage });
    }
}
