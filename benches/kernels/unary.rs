//! `unary` over the largest activation of WRN-10-1.

use super::timing::Bench;
use jem::kernels::unary::{Unary, UnaryOp};

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    let n = bench.batch * 32 * 32 * 16;
    for op in [UnaryOp::Exp, UnaryOp::LeakyRelu(0.2)] {
        bench.time(&format!("{op:?}, {n} elements"), Unary { op, n })?;
    }
    Ok(())
}
