//! `head` against float64.

use super::harness::{F16_BOUND, Inputs, assert_close, devices, run_on, stored, words};
use super::logit_loss::assert_stats;
use super::reference_logits::{RowReference, functional_reference, part_of_rows, parts, row_reference};
use jem::compute::Kernel;
use jem::compute::half::widen;
use jem::compute::loss_term::{LabelledLoss, LossTerm, STATS};
use jem::compute::mask::{mask_bit, mask_words};
use jem::compute::storage::Storage;
use jem::kernels::head::Head;
use proptest::prelude::*;
use std::sync::Arc;

tests![
    every_output,
    tensors_in_f16,
    awkward_shapes,
    large_logits,
    labels_that_are_no_class,
    functionals,
    any_shape
];

const BOUND: f64 = 1e-11;

/// The inputs of a head, in float64 and as words.
struct Case {
    activated: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    labels: Vec<u32>,
    mask: Vec<u32>,
}

/// The outputs of a head.
struct Reference {
    pooled: Vec<f64>,
    logits: Vec<f64>,
    rows: Vec<RowReference>,
    gradient: Vec<f64>,
}

fn head(counts: &[usize], pixels: usize, features: usize, classes: usize) -> Head {
    Head {
        n: counts.iter().sum(),
        pixels,
        features,
        classes,
        parts: parts(counts),
        slope: Some(0.2),
        logits: false,
        gradient: true,
        saved: true,
        storage: Storage::F32,
        factor: 1.0,
    }
}

impl Case {
    fn new(head: &Head, seed: u64) -> Self {
        let mut inputs = Inputs::new(seed);
        let activated = (0..head.n * head.pixels * head.features).map(|_| inputs.uniform(-1.0, 2.0));
        let (_, activated) = stored(head.storage, activated.collect());
        let weights = inputs.floats(head.features * head.classes);
        let mut mask = vec![0; mask_words(head.n * head.pixels, head.features)];
        for (i, &v) in activated.iter().enumerate() {
            let (word, bit) = mask_bit(i / head.features, i % head.features, head.features);
            mask[word] |= u32::from(v > 0.0) << bit;
        }
        let (bias, labels) = (inputs.floats(head.classes), inputs.below(head.n, head.classes as u32));
        Self { activated, weights, bias, labels, mask }
    }

    fn reference(&self, head: &Head) -> Reference {
        let &Head { n, pixels, features, classes, .. } = head;
        let mut reference =
            Reference { pooled: Vec::new(), logits: Vec::new(), rows: Vec::new(), gradient: Vec::new() };
        let weight = |feature: usize, class: usize| f64::from(self.weights[feature * classes + class]);
        let value = |i: usize, pixel: usize, feature: usize| {
            f64::from(self.activated[(i * pixels + pixel) * features + feature])
        };
        for (i, part) in part_of_rows(&head.parts).iter().enumerate() {
            let pooled: Vec<f64> = (0..features)
                .map(|f| (0..pixels).map(|p| value(i, p, f)).sum::<f64>() / pixels as f64)
                .collect();
            let logits: Vec<f64> = (0..classes)
                .map(|k| {
                    let dot: f64 = (0..features).map(|f| pooled[f] * weight(f, k)).sum();
                    dot + f64::from(self.bias[k])
                })
                .collect();
            let row = row_reference(&logits, self.labels[i], part);
            for pixel in 0..pixels {
                for feature in 0..features {
                    let dot: f64 = (0..classes).map(|k| row.gradient[k] * weight(feature, k)).sum();
                    let positive = value(i, pixel, feature) > 0.0;
                    let slope = if positive { 1.0 } else { head.slope.map_or(1.0, f64::from) };
                    reference.gradient.push(dot / pixels as f64 * slope * f64::from(head.factor));
                }
            }
            reference.pooled.extend(pooled);
            reference.logits.extend(logits);
            reference.rows.push(row);
        }
        assert_eq!(reference.rows.len(), n);
        reference
    }
}

fn compare(head: &Head, case: &Case) {
    let reference = case.reference(head);
    let stats: Vec<[f64; STATS]> = reference.rows.iter().map(|row| row.stats).collect();
    let logit_gradient: Vec<f64> = reference.rows.iter().flat_map(|row| row.gradient.clone()).collect();
    let kernel: Arc<dyn Kernel> = Arc::new(head.clone());
    let initial: Vec<Option<Vec<u32>>> = kernel
        .bindings()
        .iter()
        .map(|binding| match binding.name {
            "activated" => Some(stored(head.storage, case.activated.clone()).0),
            "weights" => Some(words(&case.weights)),
            "bias" => Some(words(&case.bias)),
            "labels" => Some(case.labels.clone()),
            "mask" => Some(case.mask.clone()),
            _ => None,
        })
        .collect();
    for (name, device) in devices() {
        let context = format!("{kernel:?} on {name}");
        let results = run_on(device, &kernel, &initial, &context);
        for (binding, result) in kernel.bindings().iter().zip(&results) {
            let context = format!("{context}: {}", binding.name);
            match binding.name {
                "logits" => assert_close(result, &reference.logits, BOUND, &context),
                "stats" => assert_stats(result, &stats, &context),
                "gradient" if head.storage == Storage::F16 => {
                    assert_close(&words(&widen(result)), &reference.gradient, F16_BOUND, &context);
                }
                "gradient" => assert_close(result, &reference.gradient, BOUND, &context),
                "saved" => {
                    let (pooled, gradient) = result.split_at(head.logit_gradient_offset());
                    let (pooled, padding) = pooled.split_at(head.n * head.features);
                    assert_close(pooled, &reference.pooled, BOUND, &format!("{context}: pooled"));
                    assert!(padding.iter().all(|&word| word == 0), "{context}: padding");
                    assert_close(gradient, &logit_gradient, BOUND, &format!("{context}: logit gradient"));
                }
                _ => {}
            }
        }
    }
}

fn every_output() {
    let update = head(&[3, 2, 4], 16, 24, 10);
    let case = Case::new(&update, 1);
    for (slope, logits, gradient, saved) in [
        (Some(0.2), false, true, true),
        (Some(0.2), true, true, false),
        (Some(0.2), true, false, true),
        (Some(0.01), false, true, false),
        (None, true, true, true),
        (None, true, false, false),
        (None, false, false, true),
        (None, false, true, false),
        (None, false, false, false),
    ] {
        compare(&Head { slope, logits, gradient, saved, ..update.clone() }, &case);
    }
}

fn tensors_in_f16() {
    for (pixels, features) in [(16, 24), (1, 4), (64, 640), (9, 128)] {
        let half = Head { storage: Storage::F16, factor: 1024.0, ..head(&[2, 1, 2], pixels, features, 10) };
        let case = Case::new(&half, features as u64);
        compare(&half, &case);
        compare(&Head { saved: false, slope: None, factor: 1.0, ..half.clone() }, &case);
        compare(&Head { gradient: false, logits: true, ..half }, &case);
    }
}

fn awkward_shapes() {
    for (counts, pixels, features, classes) in [
        (&[1][..], 1, 1, 2),
        (&[1, 1], 1, 1024, 1000),
        (&[2], 3, 257, 3),
        (&[1, 0, 2], 64, 640, 100),
        (&[3], 65, 64, 10),
        (&[3], 49, 85, 257),
        (&[2, 1, 1, 3], 9, 129, 11),
        (&[2], 300, 3, 256),
    ] {
        let kernel = head(counts, pixels, features, classes);
        compare(&kernel, &Case::new(&kernel, features as u64));
    }
}

fn large_logits() {
    let kernel = Head { logits: true, slope: None, ..head(&[2, 2, 2, 2], 4, 16, 10) };
    let mut case = Case::new(&kernel, 5);
    // Distinct enough that no softmax depends on the last bits of a logit of 1e4.
    case.bias = (0..10).map(|k| if k % 2 == 0 { 1e4 - 1000.0 * k as f32 } else { -1e4 }).collect();
    compare(&kernel, &case);
}

fn functionals() {
    for functional in super::reference_logits::functionals() {
        let labelled = |weight| Some(LabelledLoss { weight, functional });
        let parts = vec![
            LossTerm { count: 4, labelled: labelled(1.3), ..LossTerm::default() },
            LossTerm { count: 1, log_p_x: 1.0, l2: 0.05, ..LossTerm::default() },
            LossTerm { count: 3, cross_entropy: 0.7, labelled: labelled(-0.6), ..LossTerm::default() },
        ];
        let away = |kernel: &Head, case: &Case| {
            let rows = case.reference(kernel).logits;
            let mut rows = rows.chunks(kernel.classes).zip(&case.labels);
            rows.all(|(row, &y)| functional_reference(functional, row, y as usize).kink > 1e-3)
        };
        for (pixels, features, classes) in [(16, 24, 10), (9, 129, 3)] {
            let kernel = Head { parts: parts.clone(), ..head(&[4, 1, 3], pixels, features, classes) };
            let mut cases = (0..50).map(|seed| Case::new(&kernel, seed));
            let case = cases.find(|case| away(&kernel, case)).expect("rows away from the kinks");
            compare(&kernel, &case);
            compare(&Head { saved: false, logits: true, ..kernel.clone() }, &case);
            compare(&Head { gradient: false, saved: false, ..kernel }, &case);
        }
    }
}

fn labels_that_are_no_class() {
    let kernel = head(&[2, 1, 1, 1], 4, 8, 10);
    let mut case = Case::new(&kernel, 6);
    case.labels = vec![3, u32::MAX, 10, 11, 12];
    compare(&kernel, &case);
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_shape(
        counts in prop::collection::vec(1usize..5, 1..5),
        pixels in 1usize..80,
        features in 1usize..300,
        classes in 2usize..40,
    ) {
        let kernel = head(&counts, pixels, features, classes);
        compare(&kernel, &Case::new(&kernel, (pixels * features) as u64));
    }
}
