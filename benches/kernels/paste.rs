//! `paste` as half of a concatenation of channels, and as the padding of images.

use super::timing::Bench;
use jem::kernels::paste::Paste;

/// Times it.
pub fn run(bench: &mut Bench) {
    let pixels = bench.batch * 32 * 32;
    let channels = Paste { outer: pixels, axis: 16, inner: 1, length: 32, first: 16, step: 1 };
    bench.time("16 of 32 channels", channels);
    let rows = Paste { outer: bench.batch, axis: 32, inner: 32 * 16, length: 40, first: 4, step: 1 };
    bench.time("32 of 40 rows", rows);
}
