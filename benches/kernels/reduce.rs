//! `reduce`: the sums for bias gradients, the gradient norm and the loss, and a maximum.

use super::timing::Bench;
use jem::kernels::reduce::{Reduce, ReduceOp};

/// Times it.
pub fn run(bench: &mut Bench) {
    let pixels = bench.batch * 32 * 32;
    for (label, outer, axis, inner) in [
        ("bias gradient, 16 channels", 1, pixels, 16),
        ("all elements", 1, pixels * 16, 1),
        ("rows of 10", bench.batch, 10, 1),
    ] {
        for stage in Reduce::stages(outer, axis, inner, ReduceOp::Sum) {
            bench.time(&format!("{label}: {} to {}", stage.input_len(), stage.output_len()), stage);
        }
    }
    for stage in Reduce::stages(1, pixels * 16, 1, ReduceOp::Max) {
        bench.time(&format!("maximum: {} to {}", stage.input_len(), stage.output_len()), stage);
    }
}
