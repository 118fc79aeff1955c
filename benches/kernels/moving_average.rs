//! `moving_average` over whole networks.

use super::timing::Bench;
use jem::kernels::moving_average::MovingAverage;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        bench.time(&network, MovingAverage { n });
    }
}
