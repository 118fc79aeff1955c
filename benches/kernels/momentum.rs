//! `momentum` over whole networks.

use super::timing::Bench;
use jem::kernels::momentum::Momentum;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        let kernel = Momentum { n, momentum: 0.9, nesterov: false, weight_decay: 4e-4, clip: None };
        bench.time(&network, kernel);
    }
}
