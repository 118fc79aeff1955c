//! `softmax` and its logarithm.

use super::timing::Bench;
use jem::kernels::softmax::Softmax;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (rows, cols) in [(bench.batch, 10), (bench.batch, 100), (4096, 1000)] {
        for log in [false, true] {
            let label = format!("{rows} x {cols}{}", if log { ", log" } else { "" });
            bench.time(&label, Softmax { rows, cols, log });
        }
    }
}
