//! `narrow` of a flat parameter buffer: as often as the weights change.

use super::timing::Bench;
use jem::kernels::narrow::Narrow;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        bench.time(&network, Narrow { n: n / 2 * 2 });
    }
}
