//! `argmax` over logits, and over the channels of an image.

use super::timing::Bench;
use jem::kernels::argmax::ArgMax;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (outer, axis, inner) in [(bench.batch, 10, 1), (4096, 1000, 1), (bench.batch, 64, 32 * 32)] {
        bench.time(&format!("{outer} x {axis} x {inner}"), ArgMax { outer, axis, inner });
    }
}
