//! `softmax` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::softmax::Softmax;
use proptest::prelude::*;

tests![every_permutation_and_awkward_shapes, seventy_thousand_rows, huge_logits, non_finite_rows, any_shape];

fn reference(row: &[f32], log: bool) -> Vec<f64> {
    let max = row.iter().map(|&x| f64::from(x)).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
    let of = |&x: &f32| if log { f64::from(x) - max - sum.ln() } else { (f64::from(x) - max).exp() / sum };
    row.iter().map(of).collect()
}

fn compare(kernel: Softmax, x: &[f32]) {
    let y = x.chunks_exact(kernel.cols).flat_map(|row| reference(row, kernel.log)).collect();
    check(kernel, &[Some(words(x)), None], &[Expect::Close(y, 1e-11)]);
}

fn compare_random(kernel: Softmax, range: f32, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let x: Vec<f32> = (0..kernel.rows * kernel.cols).map(|_| inputs.uniform(-range, range)).collect();
    compare(kernel, &x);
}

fn every_permutation_and_awkward_shapes() {
    for kernel in Softmax::permutations() {
        compare_random(kernel, 4.0, 1);
    }
    for log in [false, true] {
        for (rows, cols) in [(1, 2), (63, 32), (65, 33), (3, 64), (2, 65), (300, 100), (1, 5000)] {
            compare_random(Softmax { rows, cols, log }, 4.0, 2);
        }
    }
}

/// More workgroups than one dimension of a dispatch may have.
fn seventy_thousand_rows() {
    compare_random(Softmax { rows: 70_000, cols: 33, log: false }, 4.0, 6);
}

fn huge_logits() {
    for log in [false, true] {
        compare_random(Softmax { rows: 9, cols: 10, log }, 1e4, 3);
        compare_random(Softmax { rows: 9, cols: 100, log }, 1e4, 4);
    }
}

fn non_finite_rows() {
    for log in [false, true] {
        for cols in [3, 70] {
            let mut x = Inputs::new(5).floats(4 * cols);
            x[cols - 1] = f32::NEG_INFINITY;
            x[cols..2 * cols].fill(f32::NEG_INFINITY);
            x[2 * cols + 1] = f32::NAN;
            x[3 * cols] = 1e4;
            x[3 * cols + 1] = -1e4;
            compare(Softmax { rows: 4, cols, log }, &x);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(
        rows in 1..80_usize,
        cols in 2..150_usize,
        log in any::<bool>(),
        range in 0.1..200.0_f32,
        seed in any::<u64>(),
    ) {
        compare_random(Softmax { rows, cols, log }, range, seed);
    }
}
