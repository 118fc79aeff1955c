//! The functionals of energies in the loss kernels, against float64 written from the table of LeCun et al. (2006).

use super::harness::{Inputs, assert_close, devices, run_on, words};
use super::logit_loss::compare;
use super::logit_loss_gradient::compare as compare_gradient;
use super::reference_logits::{FunctionalReference, functional_reference, functionals, row_reference};
use jem::compute::Kernel;
use jem::compute::functional::Functional;
use jem::compute::loss_term::{LabelledLoss, LossTerm, STATS};
use jem::kernels::logit_loss::LogitLoss;
use std::sync::Arc;

tests![
    the_reference_is_the_derivative,
    every_functional_and_width,
    both_sides_of_every_kink,
    confident_rows_keep_their_digits,
    nll_is_the_cross_entropy,
    ties_take_the_first_wrong_class,
    labels_that_are_no_class,
    non_finite_logits_show,
    without_one_it_is_zero_and_changes_nothing
];

fn part(count: usize, weight: f32, functional: Functional) -> LossTerm {
    LossTerm { count, labelled: Some(LabelledLoss { weight, functional }), ..LossTerm::default() }
}

/// A functional alone, beside every other term, of weight 0, and a part without.
fn parts(functional: Functional, counts: [usize; 4]) -> Vec<LossTerm> {
    let all =
        LossTerm { log_p_x: 0.3, cross_entropy: 0.7, logit_y: -0.4, l2: 0.01, ..part(0, -0.6, functional) };
    let plain = LossTerm { cross_entropy: 1.5, ..LossTerm::default() };
    let weighted = [part(0, 1.3, functional), plain, all, part(0, 0.0, functional)];
    counts.iter().zip(weighted).map(|(&count, part)| LossTerm { count, ..part }).collect()
}

/// Rows away from the kink, half of them with the label of the largest logit.
fn rows(functional: Functional, n: usize, classes: usize, scale: f32) -> (Vec<f32>, Vec<u32>) {
    let mut inputs = Inputs::new((n * classes) as u64);
    let (mut logits, mut labels) = (Vec::new(), Vec::new());
    while labels.len() < n {
        let row: Vec<f32> = (0..classes).map(|_| inputs.uniform(-scale, scale)).collect();
        let exact: Vec<f64> = row.iter().map(|&f| f64::from(f)).collect();
        let largest = (0..classes).max_by(|&i, &j| row[i].total_cmp(&row[j])).expect("a class");
        let label =
            if inputs.below(1, 2)[0] == 0 { largest } else { inputs.below(1, classes as u32)[0] as usize };
        if functional_reference(functional, &exact, label).kink > 1e-5 {
            logits.extend(row);
            labels.push(label as u32);
        }
    }
    (logits, labels)
}

fn the_reference_is_the_derivative() {
    for functional in functionals() {
        let (logits, labels) = rows(functional, 30, 7, 2.0);
        let mut checked = 0;
        for (row, &label) in logits.chunks(7).zip(&labels) {
            let row: Vec<f64> = row.iter().map(|&f| f64::from(f)).collect();
            let at = |k: usize, h: f64| {
                let mut moved = row.clone();
                moved[k] += h;
                functional_reference(functional, &moved, label as usize).value
            };
            let FunctionalReference { gradient, kink, .. } =
                functional_reference(functional, &row, label as usize);
            if kink < 1e-3 {
                continue;
            }
            checked += 1;
            for (k, slope) in gradient.iter().enumerate() {
                let difference = (at(k, 1e-5) - at(k, -1e-5)) / 2e-5;
                assert!((difference - slope).abs() < 1e-8, "{functional:?} {k}: {difference} {slope}");
            }
        }
        assert!(checked > 20, "{functional:?}: {checked} rows");
    }
}

fn every_functional_and_width() {
    for functional in functionals() {
        for classes in [2, 10, 65, 300] {
            let counts = [4, 2, 5, 1];
            let n = counts.iter().sum();
            let (logits, labels) = rows(functional, n, classes, 2.0);
            compare(parts(functional, counts), classes, &logits, &labels);
            let upstream = Inputs::new(classes as u64).floats(n);
            compare_gradient(parts(functional, counts), classes, &logits, &labels, &upstream);
        }
    }
}

/// One logit of a wrong class from -3 to 3, by steps that meet no kink: no loss and the largest loss are both there.
fn both_sides_of_every_kink() {
    for functional in functionals() {
        let logits: Vec<f32> = (0..40).flat_map(|i| [0.1, -3.02 + 0.15 * i as f32, -3.5]).collect();
        let kink = |row: &[f32]| {
            let row: Vec<f64> = row.iter().map(|&f| f64::from(f)).collect();
            functional_reference(functional, &row, 0).kink
        };
        assert!(logits.chunks(3).all(|row| kink(row) > 1e-3), "{functional:?}");
        let one = vec![part(40, 1.0, functional)];
        compare(one.clone(), 3, &logits, &[0; 40]);
        compare_gradient(one, 3, &logits, &[0; 40], &[1.0; 40]);
    }
}

/// Rows whose label is almost certain, or almost excluded: the loss is as accurate as any.
fn confident_rows_keep_their_digits() {
    let (margin, beta) = (0.75, 0.6);
    for functional in [
        Functional::Log,
        Functional::Mce,
        Functional::NegativeLogLikelihood { beta },
        Functional::MinimumEmpiricalError { beta },
        Functional::Hinge { margin },
    ] {
        for gap in [-60.0, -16.0, -3.0, 0.5, 3.0, 9.0, 16.0, 25.0, 60.0f32] {
            if matches!(functional, Functional::Hinge { .. }) && gap > -3.0 {
                continue;
            }
            let mut logits = Inputs::new(10).floats(10);
            logits[1] = 1.0 + gap;
            let one = vec![part(1, 1.0, functional)];
            compare(one.clone(), 10, &logits, &[1]);
            compare_gradient(one, 10, &logits, &[1], &[1.0]);
        }
    }
}

fn nll_is_the_cross_entropy() {
    let nll = Functional::NegativeLogLikelihood { beta: 1.0 };
    let (logits, labels) = rows(nll, 20, 10, 6.0);
    let kernel: Arc<dyn Kernel> = Arc::new(LogitLoss { n: 20, classes: 10, parts: vec![part(20, 1.0, nll)] });
    for (name, device) in devices() {
        let initial = [Some(words(&logits)), Some(labels.clone()), None, None];
        let stats = run_on(device, &kernel, &initial, name).swap_remove(3);
        for row in stats.chunks(STATS) {
            let [cross_entropy, nll] = [row[1], row[4]].map(f32::from_bits);
            assert!((cross_entropy - nll).abs() <= 2e-7 * nll, "{name}: {cross_entropy} {nll}");
        }
    }
}

fn ties_take_the_first_wrong_class() {
    let mut logits = vec![0.25f32; 2 * 130];
    logits[70] = 0.75;
    logits[71] = 0.75;
    logits[130 + 100] = 1.5;
    let hinge = Functional::Hinge { margin: 1.0 };
    // The label is the first of the largest, then no one of them: 71 and then 0 offend most.
    compare_gradient(vec![part(2, 1.0, hinge)], 130, &logits, &[70, 5], &[1.0, 1.0]);
    compare_gradient(vec![part(2, 1.0, hinge)], 130, &logits, &[71, 100], &[1.0, 1.0]);
}

fn labels_that_are_no_class() {
    for functional in functionals() {
        let mut logits: Vec<f32> = Inputs::new(9).floats(5 * 10).iter().map(|f| 0.2 * f).collect();
        // Wrong by less than the margin: no loss is 0.
        logits.chunks_mut(10).for_each(|row| (row[3], row[5]) = (0.3, 0.7));
        let labels = [3, u32::MAX, 10, 12, 3];
        compare(parts(functional, [2, 1, 1, 1]), 10, &logits, &labels);
        compare_gradient(parts(functional, [2, 1, 1, 1]), 10, &logits, &labels, &[1.0; 5]);
        // A functional of weight 0 needs no label.
        let unweighted = vec![LossTerm { log_p_x: 1.0, ..part(5, 0.0, functional) }];
        compare_gradient(unweighted, 10, &logits, &labels, &[1.0; 5]);
    }
}

fn non_finite_logits_show() {
    for functional in functionals() {
        let mut logits = Inputs::new(10).floats(4 * 10);
        logits[3] = f32::NAN;
        logits[17] = f32::INFINITY;
        logits[25] = f32::NEG_INFINITY;
        let parts = vec![part(4, 1.0, functional)];
        let kernel: Arc<dyn Kernel> = Arc::new(LogitLoss { n: 4, classes: 10, parts });
        let initial = [Some(words(&logits)), Some(vec![0; 4]), None, None];
        for (name, device) in devices() {
            let loss = run_on(device, &kernel, &initial, name).swap_remove(2);
            let finite: Vec<bool> = loss.iter().map(|&word| f32::from_bits(word).is_finite()).collect();
            // An answer of infinite energy is none.
            assert_eq!(finite, [false, false, true, true], "{functional:?} on {name}");
        }
    }
}

/// The same bits with the functional's shader and without it.
fn without_one_it_is_zero_and_changes_nothing() {
    let plain = LossTerm {
        count: 6,
        log_p_x: 0.3,
        cross_entropy: 0.7,
        logit_y: -0.4,
        l2: 0.01,
        ..LossTerm::default()
    };
    let (logits, labels) = rows(Functional::Energy, 7, 10, 4.0);
    let [without, with] = [LossTerm { count: 1, ..plain }, part(1, 1.0, Functional::Log)].map(|last| {
        let kernel: Arc<dyn Kernel> = Arc::new(LogitLoss { n: 7, classes: 10, parts: vec![plain, last] });
        devices().map(|(name, device)| {
            let initial = [Some(words(&logits)), Some(labels.clone()), None, None];
            run_on(device, &kernel, &initial, name).split_off(2)
        })
    });
    for (a, b) in without.iter().zip(&with) {
        assert_eq!(a[0][..6], b[0][..6]);
        assert_eq!(a[1][..6 * STATS], b[1][..6 * STATS]);
        assert!(a[1].chunks(STATS).all(|row| row[4] == 0));
        assert_ne!(b[1][6 * STATS + 4], 0);
    }
    let row =
        row_reference(&logits[..10].iter().map(|&f| f64::from(f)).collect::<Vec<_>>(), labels[0], &plain);
    assert_close(&with[0][0][..1], &[row.loss], 1e-11, "the loss");
}
