//! `adam` over whole networks, with and without a bound on the gradient norm.

use super::shapes::PARAMETERS;
use super::timing::Bench;
use jem::kernels::adam::Adam;

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    for (network, n) in PARAMETERS {
        let kernel = Adam { n, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, clip: None };
        bench.time(network, kernel)?;
        bench.time(&format!("{network}, clipped"), Adam { clip: Some(1.0), ..kernel })?;
    }
    Ok(())
}
