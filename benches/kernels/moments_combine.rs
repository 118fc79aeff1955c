//! `moments_combine` of the parts of a tensor's moments.

use super::shapes::norms;
use super::timing::Bench;
use jem::kernels::moments_combine::MomentsCombine;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        bench.time(&label, MomentsCombine { geometry });
    }
}
