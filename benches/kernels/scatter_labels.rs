//! `scatter_labels` over logits.

use super::timing::Bench;
use jem::kernels::scatter_labels::ScatterLabels;

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    for (rows, cols) in [(bench.batch, 10), (bench.batch, 100), (4096, 1000)] {
        bench.time(&format!("{rows} x {cols}"), ScatterLabels { rows, cols })?;
    }
    Ok(())
}
