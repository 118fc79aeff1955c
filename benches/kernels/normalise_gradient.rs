//! `normalise_gradient`, with the shortcut's gradient added.

use super::shapes::norms;
use super::timing::Bench;
use jem::compute::storage::Storage;
use jem::kernels::normalise_gradient::NormaliseGradient;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        let storage = Storage::F32;
        bench.time(&label, NormaliseGradient { geometry, epsilon: 1e-5, residual: true, storage });
    }
}
