//! `gather_rows` as an embedding.

use super::timing::Bench;
use jem::kernels::gather_rows::GatherRows;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (count, rows, width) in [(4096, 8192, 64), (4096, 32_768, 512)] {
        bench.time(&format!("{count} of {rows} rows of {width}"), GatherRows { count, rows, width });
    }
}
