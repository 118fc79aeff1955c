//! `gather_labels` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::gather_labels::GatherLabels;
use proptest::prelude::*;

tests![awkward_shapes, a_bad_label_gives_nan, non_finite_logits_stay, any_shape];

fn compare(kernel: GatherLabels, x: &[f32], labels: Vec<u32>) {
    let at = |(row, &label): (usize, &u32)| {
        if (label as usize) < kernel.cols {
            f64::from(x[row * kernel.cols + label as usize])
        } else {
            f64::NAN
        }
    };
    let y = labels.iter().enumerate().map(at).collect();
    check(kernel, &[Some(words(x)), Some(labels), None], &[Expect::Close(y, 0.0)]);
}

fn compare_random(rows: usize, cols: usize, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let (x, labels) = (inputs.floats(rows * cols), inputs.below(rows, cols as u32));
    compare(GatherLabels { rows, cols }, &x, labels);
}

fn awkward_shapes() {
    for (rows, cols) in [(1, 1), (64, 10), (257, 3), (1000, 100)] {
        compare_random(rows, cols, rows as u64);
    }
}

fn a_bad_label_gives_nan() {
    let x = Inputs::new(1).floats(5 * 10);
    compare(GatherLabels { rows: 5, cols: 10 }, &x, vec![0, 10, 9, u32::MAX, 3]);
}

fn non_finite_logits_stay() {
    let x = [f32::NAN, 1.0, f32::NEG_INFINITY, 2.0, 1e4, -1e4];
    compare(GatherLabels { rows: 3, cols: 2 }, &x, vec![0, 0, 1]);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(rows in 1..600_usize, cols in 1..40_usize, seed in any::<u64>()) {
        compare_random(rows, cols, seed);
    }
}
