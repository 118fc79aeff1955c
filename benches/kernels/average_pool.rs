//! `average_pool` at the end of the network, and by 2 on its largest activation.

use super::timing::Bench;
use jem::kernels::average_pool::AveragePool;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (side, c, size) in [(8, 64, 8), (8, 640, 8), (32, 16, 2)] {
        let kernel = AveragePool { n: bench.batch, h: side, w: side, c, size };
        bench.time(&format!("{side}x{side}x{c} by {size}"), kernel);
    }
}
