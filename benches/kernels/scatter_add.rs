//! `scatter_add` as the gradient of an embedding.

use super::timing::Bench;
use jem::kernels::scatter_add::ScatterAdd;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (count, rows, width) in [(4096, 8192, 64), (4096, 32_768, 512)] {
        bench.time(&format!("{count} into {rows} rows of {width}"), ScatterAdd { count, rows, width });
    }
}
