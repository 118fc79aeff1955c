//! `momentum` over whole networks.

use super::shapes::PARAMETERS;
use super::timing::Bench;
use jem::kernels::momentum::Momentum;

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    for (network, n) in PARAMETERS {
        let kernel = Momentum { n, momentum: 0.9, nesterov: false, weight_decay: 4e-4, clip: None };
        bench.time(network, kernel)?;
    }
    Ok(())
}
