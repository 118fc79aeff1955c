//! `uniform_fill` of a replay buffer of 1000 chains.

use super::timing::Bench;
use jem::kernels::uniform_fill::UniformFill;

/// Times it.
pub fn run(bench: &mut Bench) {
    bench.time("1000 images", UniformFill { n: 1000 * 32 * 32 * 3, low: -1.0, high: 1.0, stream: 0 });
}
