//! `adam` over whole networks, with and without a bound on the gradient norm.

use super::timing::Bench;
use jem::kernels::adam::Adam;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (network, n) in bench.parameters() {
        let kernel = Adam {
            n,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            clip: None,
        };
        bench.time(&network, kernel);
        bench.time(&format!("{network}, clipped"), Adam { clip: Some(1.0), ..kernel });
    }
}
