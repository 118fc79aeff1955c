//! `scatter_labels` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::scatter_labels::ScatterLabels;
use proptest::prelude::*;

tests![awkward_shapes, a_bad_label_gives_zeros, non_finite_values_stay_in_their_column, any_shape];

fn compare(kernel: ScatterLabels, x: &[f32], labels: Vec<u32>) {
    let mut y = vec![0.0_f32; kernel.rows * kernel.cols];
    for (row, &label) in labels.iter().enumerate().filter(|&(_, &label)| (label as usize) < kernel.cols) {
        y[row * kernel.cols + label as usize] = x[row];
    }
    check(kernel, &[Some(words(x)), Some(labels), None], &[Expect::Exactly(words(&y))]);
}

fn compare_random(rows: usize, cols: usize, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let (x, labels) = (inputs.floats(rows), inputs.below(rows, cols as u32));
    compare(ScatterLabels { rows, cols }, &x, labels);
}

fn awkward_shapes() {
    for (rows, cols) in [(1, 1), (64, 10), (257, 3), (1000, 100)] {
        compare_random(rows, cols, rows as u64);
    }
}

fn a_bad_label_gives_zeros() {
    compare(ScatterLabels { rows: 4, cols: 10 }, &Inputs::new(1).floats(4), vec![0, 10, u32::MAX, 9]);
}

fn non_finite_values_stay_in_their_column() {
    compare(ScatterLabels { rows: 3, cols: 2 }, &[f32::NAN, f32::INFINITY, 1e4], vec![1, 0, 1]);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(rows in 1..600_usize, cols in 1..40_usize, seed in any::<u64>()) {
        compare_random(rows, cols, seed);
    }
}
