//! `mismatches` of two flat parameter buffers.

use super::timing::Bench;
use jem::kernels::mismatches::Mismatches;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        bench.time(&network, Mismatches::new(n));
    }
}
