//! `normalise_sums`: what batch norm's gradient needs of all rows, in parts of them.

use super::shapes::norms;
use super::timing::Bench;
use jem::compute::storage::Storage;
use jem::kernels::normalise_sums::NormaliseSums;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        bench.time(&label, NormaliseSums { geometry, epsilon: 1e-5, storage: Storage::F32 });
    }
}
