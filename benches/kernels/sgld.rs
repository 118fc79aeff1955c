//! `sgld` on the chains of a batch: the noise of each element, with and without clamps.

use super::timing::Bench;
use jem::kernels::sgld::Sgld;

/// Times it.
pub fn run(bench: &mut Bench) {
    let n = bench.batch * 32 * 32 * 3;
    let kernel = Sgld { n, step: 1.0, noise: 0.01, clamp_gradient: None, clamp_x: None, masked: false };
    bench.time("plain", kernel);
    bench.time("clamped", Sgld { clamp_gradient: Some(1.0), clamp_x: Some((-1.0, 1.0)), ..kernel });
    bench.time("masked", Sgld { masked: true, ..kernel });
}
