//! `random_bits`: the generator alone.

use super::timing::Bench;
use jem::kernels::random_bits::RandomBits;

/// Times it.
pub fn run(bench: &mut Bench) {
    let n = bench.batch * 32 * 32 * 3;
    bench.time(&format!("{n} words"), RandomBits { n, key: [1, 2], counter: [3, 4] });
}
