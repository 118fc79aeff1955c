//! `fill` of a flat parameter buffer.

use super::timing::Bench;
use jem::kernels::fill::Fill;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        bench.time(&network, Fill { n, value: 0.5 });
    }
}
