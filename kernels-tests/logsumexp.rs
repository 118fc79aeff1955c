//! `logsumexp` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::logsumexp::LogSumExp;
use proptest::prelude::*;

tests![every_permutation_and_awkward_shapes, seventy_thousand_rows, huge_logits, non_finite_rows, any_shape];

fn reference(row: &[f32]) -> f64 {
    if row.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let max = row.iter().map(|&x| f64::from(x)).fold(f64::NEG_INFINITY, f64::max);
    if max.is_infinite() {
        return max;
    }
    max + row.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()
}

fn compare(rows: usize, cols: usize, x: &[f32]) {
    let y = x.chunks_exact(cols).map(reference).collect();
    check(LogSumExp { rows, cols }, &[Some(words(x)), None], &[Expect::Close(y, 1e-12)]);
}

fn compare_random(rows: usize, cols: usize, range: f32, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let x: Vec<f32> = (0..rows * cols).map(|_| inputs.uniform(-range, range)).collect();
    compare(rows, cols, &x);
}

fn every_permutation_and_awkward_shapes() {
    for LogSumExp { rows, cols } in LogSumExp::permutations() {
        compare_random(rows, cols, 4.0, 1);
    }
    for (rows, cols) in [(1, 2), (63, 32), (65, 33), (3, 64), (2, 65), (300, 100), (1, 5000)] {
        compare_random(rows, cols, 4.0, 2);
    }
}

/// More workgroups than one dimension of a dispatch may have.
fn seventy_thousand_rows() {
    compare_random(70_000, 33, 4.0, 6);
}

fn huge_logits() {
    compare_random(9, 10, 1e4, 3);
    compare_random(9, 100, 1e4, 4);
}

fn non_finite_rows() {
    for cols in [3, 70] {
        let mut x = Inputs::new(5).floats(6 * cols);
        x[cols - 1] = f32::NEG_INFINITY;
        x[cols..2 * cols].fill(f32::NEG_INFINITY);
        x[2 * cols + 1] = f32::NAN;
        x[3 * cols + 2] = f32::INFINITY;
        x[4 * cols] = 1e4;
        x[4 * cols + 1] = -1e4;
        compare(6, cols, &x);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(rows in 1..80_usize, cols in 1..150_usize, range in 0.1..200.0_f32, seed in any::<u64>()) {
        compare_random(rows, cols, range, seed);
    }
}
