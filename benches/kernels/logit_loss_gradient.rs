//! `logit_loss_gradient` over a concatenated batch [data | samples | labelled].

use super::timing::Bench;
use jem::compute::loss_term::LossTerm;
use jem::kernels::logit_loss_gradient::LogitLossGradient;

/// Times it.
pub fn run(bench: &mut Bench) {
    let part = LossTerm { count: bench.batch, ..LossTerm::default() };
    let parts = [
        LossTerm { log_p_x: -1.0, ..part },
        LossTerm { log_p_x: 1.0, ..part },
        LossTerm { cross_entropy: 1.0, ..part },
    ];
    for classes in [10, 100] {
        let kernel = LogitLossGradient { n: 3 * bench.batch, classes, parts: parts.to_vec() };
        bench.time(&format!("{classes} classes"), kernel);
    }
}
