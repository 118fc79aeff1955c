//! `logit_loss` against float64.

use super::harness::{Inputs, assert_close, devices, run_on, words};
use jem::kernels::Kernel;
use jem::kernels::logit_loss::{LogitLoss, Part, STATS};
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

/// One row's loss and statistics, and the loss's gradient.
pub struct RowReference {
    pub loss: f64,
    pub stats: [f64; STATS],
    pub gradient: Vec<f64>,
}

/// The naive statement, in float64.
pub fn row_reference(logits: &[f64], label: u32, part: &Part) -> RowReference {
    let maximum = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let argmax = logits.iter().position(|&f| f == maximum);
    // Without the largest, whose 1 would swallow what the others of a confident row add.
    let others = logits.iter().enumerate().filter(|(k, _)| Some(*k) != argmax);
    let log_sum = others.map(|(_, f)| (f - maximum).exp()).sum::<f64>().ln_1p();
    let [a, b, c, d] = [part.log_p_x, part.cross_entropy, part.logit_y, part.l2].map(f64::from);
    let label = label as usize;
    let logit_y = logits.get(label).copied().unwrap_or(f64::NAN);
    let cross_entropy = (maximum - logit_y) + log_sum;
    let squares: f64 = logits.iter().map(|f| f * f).sum();
    let labelled = b != 0.0 || c != 0.0;
    let mut loss = a * (maximum + log_sum) + d * squares;
    if labelled {
        loss += b * cross_entropy + c * logit_y;
    }
    let functional = part.labelled.map(|labelled| {
        let row = match label < logits.len() {
            true => super::functional::reference(labelled.functional, logits, label),
            false => super::functional::Reference {
                value: f64::NAN,
                gradient: vec![f64::NAN; logits.len()],
                kink: 0.0,
            },
        };
        (f64::from(labelled.weight), row)
    });
    let weighted = functional.as_ref().filter(|(weight, _)| *weight != 0.0);
    if let Some((weight, row)) = weighted {
        loss += weight * row.value;
    }
    let gradient = (0..logits.len()).map(|k| {
        let log_softmax = (logits[k] - maximum) - log_sum;
        let labels_part = match label {
            l if l >= logits.len() && labelled => f64::NAN,
            l if l == k => b * log_softmax.exp_m1() + c,
            _ => b * log_softmax.exp(),
        };
        let functional_part = weighted.map_or(0.0, |(weight, row)| weight * row.gradient[k]);
        a * log_softmax.exp() + labels_part + 2.0 * d * logits[k] + functional_part
    });
    let correct = if argmax == Some(label) { 1.0 } else { 0.0 };
    let gradient = gradient.collect();
    let value = functional.as_ref().map_or(0.0, |(_, row)| row.value);
    let stats = [maximum + log_sum, cross_entropy, correct, squares, value];
    RowReference { loss, stats, gradient }
}

/// The part of each row.
pub fn part_of_rows(parts: &[Part]) -> Vec<Part> {
    parts.iter().flat_map(|part| vec![*part; part.count]).collect()
}

/// Four parts with every weight, `counts` rows each.
pub fn parts(counts: &[usize]) -> Vec<Part> {
    let weights = [
        Part { log_p_x: -1.0, l2: 0.05, ..Part::default() },
        Part { log_p_x: 1.0, l2: 0.05, ..Part::default() },
        Part { cross_entropy: 1.5, ..Part::default() },
        Part { log_p_x: 0.3, cross_entropy: 0.7, logit_y: -0.4, l2: 0.01, ..Part::default() },
    ];
    counts.iter().zip(weights).map(|(&count, part)| Part { count, ..part }).collect()
}

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

pub fn compare(parts: Vec<Part>, classes: usize, logits: &[f32], labels: &[u32]) {
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
        let plain = vec![Part { count: n, cross_entropy: 1.0, ..Part::default() }];
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
            let part = Part { count: 1, cross_entropy: 1.0, ..Part::default() };
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
        parts: vec![Part { count: n, log_p_x: 1.0, ..Part::default() }],
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
