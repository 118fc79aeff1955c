//! `leaky_relu_gradient` from values and from their sign mask.

use super::timing::Bench;
use jem::kernels::leaky_relu_gradient::LeakyReluGradient;

/// Times it.
pub fn run(bench: &mut Bench) {
    for packed in [false, true] {
        let kernel = LeakyReluGradient { pixels: bench.batch * 32 * 32, channels: 16, slope: 0.2, packed };
        bench.time(if packed { "from a mask" } else { "from values" }, kernel);
    }
}
