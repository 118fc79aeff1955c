//! `fill` of a flat parameter buffer.

use super::shapes::PARAMETERS;
use super::timing::Bench;
use jem::kernels::fill::Fill;

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    for (network, n) in PARAMETERS {
        bench.time(network, Fill { n, value: 0.5 })?;
    }
    Ok(())
}
