//! `binary` over the largest activation of WRN-10-1: whole tensors, and a bias broadcast to one.

use super::timing::Bench;
use jem::kernels::binary::{Binary, BinaryOp};

/// Times it.
pub fn run(bench: &mut Bench) {
    let (size, channels) = (32, 16);
    let shape = [bench.batch, size, size, channels];
    let whole = [size * size * channels, size * channels, channels, 1];
    for (label, b_strides) in [("two tensors", whole), ("a bias broadcast", [0, 0, 0, 1])] {
        bench.time(label, Binary { op: BinaryOp::Add, shape, a_strides: whole, b_strides });
    }
}
