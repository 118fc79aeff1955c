//! `moments_combine`: the parts of a tensor's moments put together.

use super::shapes::norms;
use super::timing::Bench;
use jem::kernels::moments_combine::MomentsCombine;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        bench.time(&label, MomentsCombine { geometry });
    }
}
