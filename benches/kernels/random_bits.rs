//! `random_bits`: the generator alone.

use super::timing::Bench;
use jem::kernels::random_bits::RandomBits;

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    let n = bench.batch * 32 * 32 * 3;
    bench.time(&format!("{n} words"), RandomBits { n, key: [1, 2], counter: [3, 4] })?;
    Ok(())
}
