//! `ascent` over whole networks.

use super::timing::Bench;
use jem::kernels::ascent::Ascent;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        bench.time(&network, Ascent { n, radius: 2.0, adaptive: true });
    }
}
