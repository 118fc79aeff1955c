//! `normalise_sums_combine` of the parts of those sums.

use super::shapes::norms;
use super::timing::Bench;
use jem::kernels::normalise_sums_combine::NormaliseSumsCombine;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        bench.time(&label, NormaliseSumsCombine { geometry, factor: 1.0 });
    }
}
