//! `logit_loss_gradient` against float64, and the float64 gradient against differences of the loss.

use super::harness::{Expect, Inputs, check, words};
use super::reference_logits::{part_of_rows, parts, row_reference};
use jem::compute::loss_term::LossTerm;
use jem::kernels::logit_loss_gradient::LogitLossGradient;
use proptest::prelude::*;

tests![
    the_reference_is_the_derivative,
    every_part_and_width,
    large_logits,
    confident_rows_keep_their_digits,
    labels_that_are_no_class,
    any_shape
];

const BOUND: f64 = 1e-11;

pub fn compare(parts: Vec<LossTerm>, classes: usize, logits: &[f32], labels: &[u32], upstream: &[f32]) {
    let n = labels.len();
    let mut expected = Vec::new();
    for (i, part) in part_of_rows(&parts).iter().enumerate() {
        let logits: Vec<f64> = logits[i * classes..][..classes].iter().map(|&f| f64::from(f)).collect();
        let row = row_reference(&logits, labels[i], part);
        expected.extend(row.gradient.iter().map(|g| f64::from(upstream[i]) * g));
    }
    let initial = [Some(words(logits)), Some(labels.to_vec()), Some(words(upstream)), None];
    check(LogitLossGradient { n, classes, parts }, &initial, &[Expect::Close(expected, BOUND)]);
}

fn the_reference_is_the_derivative() {
    let logits: Vec<f64> = Inputs::new(1).floats(7).into_iter().map(|f| 3.0 * f64::from(f)).collect();
    for part in parts(&[1, 1, 1, 1]) {
        let gradient = row_reference(&logits, 4, &part).gradient;
        for k in 0..logits.len() {
            let at = |h: f64| {
                let mut moved = logits.clone();
                moved[k] += h;
                row_reference(&moved, 4, &part).loss
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((difference - gradient[k]).abs() < 1e-8, "{part:?} {k}: {difference} {}", gradient[k]);
        }
    }
}

fn every_part_and_width() {
    for classes in [2, 10, 64, 65, 1000] {
        for counts in [&[1][..], &[3, 2], &[2, 0, 5], &[4, 3, 2, 6]] {
            let n = counts.iter().sum();
            let mut inputs = Inputs::new((classes * n) as u64);
            let logits: Vec<f32> = (0..n * classes).map(|_| inputs.uniform(-4.0, 4.0)).collect();
            let labels = inputs.below(n, classes as u32);
            compare(parts(counts), classes, &logits, &labels, &inputs.floats(n));
        }
    }
}

fn large_logits() {
    let mut inputs = Inputs::new(4);
    let (n, classes) = (12, 10);
    let labels = inputs.below(n, classes as u32);
    let plain = vec![LossTerm { count: n, log_p_x: -0.5, cross_entropy: 1.0, ..LossTerm::default() }];
    for offset in [1e4, -1e4] {
        let near: Vec<f32> = (0..n * classes).map(|_| offset + inputs.uniform(-1.0, 1.0)).collect();
        compare(plain.clone(), classes, &near, &labels, &inputs.floats(n));
    }
    let spread: Vec<f32> = (0..n * classes).map(|_| inputs.uniform(-1e4, 1e4)).collect();
    compare(plain, classes, &spread, &labels, &inputs.floats(n));
}

/// Rows whose label is almost certain: the gradient is small, and as accurate as any.
fn confident_rows_keep_their_digits() {
    for gap in [0.5, 3.0, 6.0, 9.0, 12.0, 16.0, 25.0, 60.0f32] {
        for classes in [2, 10, 100] {
            let mut logits = Inputs::new(classes as u64).floats(classes);
            logits[1] = 1.0 + gap;
            let part = LossTerm { count: 1, cross_entropy: 1.0, ..LossTerm::default() };
            compare(vec![part], classes, &logits, &[1], &[1.0]);
        }
    }
}

fn labels_that_are_no_class() {
    let mut inputs = Inputs::new(9);
    let logits = inputs.floats(4 * 10);
    compare(parts(&[1, 1, 1, 1]), 10, &logits, &[u32::MAX, 10, 12, 4_000_000], &inputs.floats(4));
}

proptest! {
    #![proptest_config(super::harness::cases(12))]
    fn any_shape(classes in 2usize..300, counts in prop::collection::vec(1usize..9, 1..5), scale in 0.1f32..20.0) {
        let n = counts.iter().sum();
        let mut inputs = Inputs::new((classes * n) as u64);
        let logits: Vec<f32> = (0..n * classes).map(|_| inputs.uniform(-scale, scale)).collect();
        let labels = inputs.below(n, classes as u32);
        compare(parts(&counts), classes, &logits, &labels, &inputs.floats(n));
    }
}
