//! `replay_gather` of 32x32 chains, a twentieth of them new.

use super::timing::Bench;
use jem::kernels::replay_gather::ReplayGather;

/// Times it.
pub fn run(bench: &mut Bench) {
    let size = 10_000.max(bench.batch);
    let kernel =
        ReplayGather { batch: bench.batch, size, image: 32 * 32 * 3, reinitialise: 0.05, fresh: false };
    bench.time(&format!("of {size}"), kernel);
}
