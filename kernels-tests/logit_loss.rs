//! `logit_loss` against float64.

use super::harness::{Inputs, assert_close, devices, run_on, words};
use super::reference_logits::{RowReference, part_of_rows, parts, row_reference};
use jem::compute::Kernel;
use jem::compute::loss_term::{LossTerm, STATS};
use jem::kernels::logit_loss::LogitLoss;
use proptest::prelude::*;
use std::sync::Arc;

tests![
    every_part_and_width,
    large_logits_do_not_cancel,
    confident_rows_keep_their_digits,
    ties_take_the_first_class,
    labels_that_are_no_class,
    non_finite_logits_show,
    any_shape
];

/// Relative error of every loss and statistic: float32 sums of up to 1000 classes.
pub const BOUND: f64 = 1e-11;

/// Compares the statistics column by column: the squares would hide the rest.
pub fn assert_stats(result: &[u32], expected: &[[f64; STATS]], context: &str) {
    for (column, name) in
        ["logsumexp", "cross-entropy", "correct", "squares", "functional"].into_iter().enumerate()
    {
        let result: Vec<u32> = result.iter().skip(column).step_by(STATS).copied().collect();
        let expected: Vec<f64> = expected.iter().map(|stats| stats[column]).collect();
        let context = format!("{context}: {name}");
        if name == "correct" || expected.iter().all(|&v| v == 0.0) {
            let result: Vec<f64> = result.iter().map(|&w| f64::from(f32::from_bits(w))).collect();
            assert_eq!(result, expected, "{context}");
        } else {
            assert_close(&result, &expected, BOUND, &context);
        }
    }
}

pub fn compare(parts: Vec<LossTerm>, classes: usize, logits: &[f32], labels: &[u32]) {
    let n = labels.len();
    let rows: Vec<RowReference> = logits
        .chunks(classes)
        .zip(labels)
        .zip(part_of_rows(&parts))
        .map(|((logits, &label), part)| {
            let logits: Vec<f64> = logits.iter().map(|&f| f64::from(f)).collect();
            row_reference(&logits, label, &part)
        })
        .collect();
    let loss: Vec<f64> = rows.iter().map(|row| row.loss).collect();
    let stats: Vec<_> = rows.iter().map(|row| row.stats).collect();
    let kernel: Arc<dyn Kernel> = Arc::new(LogitLoss { n, classes, parts });
    let initial = [Some(words(logits)), Some(labels.to_vec()), None, None];
    for (name, device) in devices() {
        let context = format!("{kernel:?} on {name}");
        let results = run_on(device, &kernel, &initial, &context);
        assert_close(&results[2], &loss, BOUND, &format!("{context}: loss"));
        assert_stats(&results[3], &stats, &context);
    }
}

fn every_part_and_width() {
    for classes in [2, 3, 10, 63, 64, 65, 100, 1000] {
        for counts in [&[1][..], &[3, 2], &[2, 0, 5], &[4, 3, 2, 6]] {
            let n = counts.iter().sum();
            let mut inputs = Inputs::new((classes * n) as u64);
            let logits: Vec<f32> = (0..n * classes).map(|_| inputs.uniform(-4.0, 4.0)).collect();
            let labels = inputs.below(n, classes as u32);
            compare(parts(counts), classes, &logits, &labels);
        }
    }
}

fn large_logits_do_not_cancel() {
    let mut inputs = Inputs::new(4);
    let (n, classes) = (12, 10);
    let labels = inputs.below(n, classes as u32);
    for offset in [1e4, -1e4] {
        // About 1e4 with a spread of 2: the cross-entropy is about 2.3 and still accurate.
        let near: Vec<f32> = (0..n * classes).map(|_| offset + inputs.uniform(-1.0, 1.0)).collect();
        let plain = vec![LossTerm { count: n, cross_entropy: 1.0, ..LossTerm::default() }];
        compare(plain, classes, &near, &labels);
    }
    let spread: Vec<f32> = (0..n * classes).map(|_| inputs.uniform(-1e4, 1e4)).collect();
    compare(parts(&[3, 3, 3, 3]), classes, &spread, &labels);
}

/// Rows whose label is almost certain: the cross-entropy is small, and as accurate as any.
fn confident_rows_keep_their_digits() {
    for gap in [0.5, 3.0, 6.0, 9.0, 12.0, 16.0, 25.0, 60.0f32] {
        for classes in [2, 10, 100] {
            let mut logits = Inputs::new(classes as u64).floats(classes);
            logits[1] = 1.0 + gap;
            let part = LossTerm { count: 1, cross_entropy: 1.0, ..LossTerm::default() };
            compare(vec![part], classes, &logits, &[1]);
        }
    }
}

fn ties_take_the_first_class() {
    let mut logits = vec![0.25f32; 3 * 130];
    logits[129] = 0.5;
    logits[130 + 70] = 0.75;
    logits[130 + 71] = 0.75;
    compare(parts(&[1, 1, 1]), 130, &logits, &[129, 70, 0]);
    compare(parts(&[1, 1, 1]), 130, &logits, &[128, 71, 1]);
}

fn labels_that_are_no_class() {
    // The first two parts do not use the label: their losses stay finite.
    let logits = Inputs::new(9).floats(5 * 10);
    compare(parts(&[2, 1, 1, 1]), 10, &logits, &[3, u32::MAX, 10, 12, 4_000_000]);
}

fn non_finite_logits_show() {
    let mut logits = Inputs::new(10).floats(5 * 10);
    logits[3] = f32::NAN;
    logits[17] = f32::INFINITY;
    logits[25] = f32::NEG_INFINITY;
    let n = 5;
    let kernel: Arc<dyn Kernel> = Arc::new(LogitLoss {
        n,
        classes: 10,
        parts: vec![LossTerm { count: n, log_p_x: 1.0, ..LossTerm::default() }],
    });
    let initial = [Some(words(&logits)), Some(vec![0; n]), None, None];
    for (name, device) in devices() {
        let loss = run_on(device, &kernel, &initial, name).swap_remove(2);
        let finite: Vec<bool> = loss.iter().map(|&word| f32::from_bits(word).is_finite()).collect();
        // One logit of -infinity is a class of probability 0.
        assert_eq!(finite, [false, false, true, true, true], "{name}");
    }
}

proptest! {
    #![proptest_config(super::harness::cases(12))]
    fn any_shape(classes in 2usize..300, counts in prop::collection::vec(1usize..9, 1..5), scale in 0.1f32..50.0) {
        let n = counts.iter().sum();
        let mut inputs = Inputs::new((classes * n) as u64);
        let mut logits: Vec<f32> = (0..n * classes).map(|_| inputs.uniform(-scale, scale)).collect();
        // One label is the least likely: not every cross-entropy is close to 0.
        logits[0] = -scale;
        let mut labels = inputs.below(n, classes as u32);
        labels[0] = 0;
        compare(parts(&counts), classes, &logits, &labels);
    }
}
