//! `tick`: the cost of a dispatch that does next to nothing.

use super::timing::Bench;
use jem::kernels::tick::{SGLD_STEP, Tick};

/// Times it.
pub fn run(bench: &mut Bench) {
    bench.time("one word", Tick { word: SGLD_STEP });
}
