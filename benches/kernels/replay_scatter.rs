//! `replay_scatter` of 32x32 chains.

use super::timing::Bench;
use jem::kernels::replay_scatter::ReplayScatter;

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    let size = 10_000.max(bench.batch);
    bench.time(&format!("into {size}"), ReplayScatter { batch: bench.batch, size, image: 32 * 32 * 3 })?;
    Ok(())
}
