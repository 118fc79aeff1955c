//! `logit_loss_gradient` over a concatenated batch [data | samples | labelled].

use super::timing::Bench;
use jem::compute::logit_part::Part;
use jem::kernels::logit_loss_gradient::LogitLossGradient;

/// Times it.
pub fn run(bench: &mut Bench) {
    let part = Part { count: bench.batch, ..Part::default() };
    let parts =
        [Part { log_p_x: -1.0, ..part }, Part { log_p_x: 1.0, ..part }, Part { cross_entropy: 1.0, ..part }];
    for classes in [10, 100] {
        let kernel = LogitLossGradient { n: 3 * bench.batch, classes, parts: parts.to_vec() };
        bench.time(&format!("{classes} classes"), kernel);
    }
}
