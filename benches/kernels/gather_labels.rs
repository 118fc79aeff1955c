//! `gather_labels` over logits.

use super::timing::Bench;
use jem::kernels::gather_labels::GatherLabels;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (rows, cols) in [(bench.batch, 10), (bench.batch, 100), (4096, 1000)] {
        bench.time(&format!("{rows} x {cols}"), GatherLabels { rows, cols });
    }
}
