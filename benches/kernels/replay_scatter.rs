//! `replay_scatter` of 32x32 chains.

use super::timing::Bench;
use jem::kernels::replay_scatter::ReplayScatter;

/// Times it.
pub fn run(bench: &mut Bench) {
    let size = 10_000.max(bench.batch);
    bench.time(&format!("into {size}"), ReplayScatter { batch: bench.batch, size, image: 32 * 32 * 3 });
}
