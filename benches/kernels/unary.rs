//! `unary` over the largest activation of WRN-10-1.

use super::timing::Bench;
use jem::kernels::unary::{Unary, UnaryOp};

/// Times it.
pub fn run(bench: &mut Bench) {
    let n = bench.batch * 32 * 32 * 16;
    for op in [UnaryOp::Exp, UnaryOp::LeakyRelu(0.2), UnaryOp::Softplus] {
        bench.time(&format!("{op:?}, {n} elements"), Unary { op, n });
    }
}
