//! `normalise_sums`: the sums over rows for batch norm's gradient, in parts of the rows.

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
