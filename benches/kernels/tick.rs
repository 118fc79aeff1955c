//! `tick`: what a dispatch costs that does nothing else.

use super::timing::Bench;
use jem::kernels::tick::{SGLD_STEP, Tick};

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    bench.time("one word", Tick { word: SGLD_STEP })?;
    Ok(())
}
