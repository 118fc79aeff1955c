//! The functionals of energies in the loss kernels, against float64 written from the table of LeCun et al. (2006).

use super::harness::{Inputs, assert_close, devices, run_on, words};
use super::logit_loss::{compare, row_reference};
use super::logit_loss_gradient::compare as compare_gradient;
use jem::kernels::Kernel;
use jem::kernels::functional::Functional;
use jem::kernels::logit_loss::{LabelledLoss, LogitLoss, Part, STATS};
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

/// A functional of one row in float64.
pub struct Reference {
    pub value: f64,
    /// By the logits.
    pub gradient: Vec<f64>,
    /// How far the row is from a place without a derivative.
    pub kink: f64,
}

/// The naive statement: `energies = -logits`.
pub fn reference(functional: Functional, logits: &[f64], label: usize) -> Reference {
    let energies: Vec<f64> = logits.iter().map(|f| -f).collect();
    let classes = energies.len();
    let right = energies[label];
    let lowest = |of: &dyn Fn(usize) -> bool| {
        (0..classes).filter(|&k| of(k)).min_by(|&i, &j| energies[i].total_cmp(&energies[j])).expect("a class")
    };
    let best = lowest(&|_| true);
    let offending = lowest(&|k| k != label);
    let wrong = energies[offending];
    let between_wrong = (0..classes)
        .filter(|&k| k != label && k != offending)
        .map(|k| energies[k] - wrong)
        .fold(f64::INFINITY, f64::min);
    // The derivative by the energies: of the label's, of the most offending wrong answer's.
    let two = |of_right: f64, of_wrong: f64| -> Vec<f64> {
        let mut by_energy = vec![0.0; classes];
        by_energy[label] += of_right;
        by_energy[offending] += of_wrong;
        by_energy
    };
    let on = |condition: bool| if condition { 1.0 } else { 0.0 };
    // exp(-β E) / Σ exp(-β E) of all classes, and 1 - that of the label, without cancellation.
    let gibbs = |beta: f64| {
        let lowest = energies[best];
        let weights: Vec<f64> = energies.iter().map(|e| (-beta * (e - lowest)).exp()).collect();
        let z: f64 = weights.iter().sum();
        let others: f64 = (0..classes).filter(|&k| k != label).map(|k| weights[k]).sum();
        (weights.iter().map(|w| w / z).collect::<Vec<f64>>(), others / z)
    };
    let not = |p: &[f64], others: f64, k: usize| if k == label { others } else { -p[k] };
    let gap = right - wrong;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (value, by_energy, kink) = match functional {
        Functional::Energy => (right, two(1.0, 0.0), f64::INFINITY),
        Functional::Perceptron => {
            let mut by_energy = two(1.0, 0.0);
            by_energy[best] -= 1.0;
            (right - energies[best], by_energy, gap.abs())
        }
        Functional::Hinge { margin } => {
            let inside = f64::from(margin) + gap;
            (inside.max(0.0), two(on(inside > 0.0), -on(inside > 0.0)), inside.abs())
        }
        Functional::Log => {
            let value = if gap > 0.0 { gap + (-gap).exp().ln_1p() } else { gap.exp().ln_1p() };
            (value, two(sigmoid(gap), -sigmoid(gap)), f64::INFINITY)
        }
        Functional::Lvq2 { bound } => {
            let m = f64::from(bound);
            let between = on(gap > 0.0 && gap < m);
            (m.min(gap.max(0.0)), two(between, -between), gap.abs().min((gap - m).abs()))
        }
        Functional::Mce => {
            let slope = sigmoid(gap) * sigmoid(-gap);
            (sigmoid(gap), two(slope, -slope), f64::INFINITY)
        }
        Functional::SquareSquare { margin } => {
            let below = f64::from(margin) - wrong;
            let value = right.powi(2) + below.max(0.0).powi(2);
            (value, two(2.0 * right, -2.0 * below.max(0.0)), below.abs())
        }
        Functional::SquareExponential { beta } => {
            let push = f64::from(beta) * (-wrong).exp();
            (right.powi(2) + push, two(2.0 * right, -push), f64::INFINITY)
        }
        Functional::NegativeLogLikelihood { beta } => {
            let beta = f64::from(beta);
            let (p, others) = gibbs(beta);
            // E + ln(Σ exp(-β E_k)) / β
            let sum: f64 =
                (0..classes).filter(|&k| k != label).map(|k| (beta * (right - energies[k])).exp()).sum();
            let by_energy = (0..classes).map(|k| not(&p, others, k)).collect();
            (sum.ln_1p() / beta, by_energy, f64::INFINITY)
        }
        Functional::MinimumEmpiricalError { beta } => {
            let (p, others) = gibbs(f64::from(beta));
            let slope = f64::from(beta) * p[label];
            let by_energy = (0..classes).map(|k| slope * not(&p, others, k)).collect();
            (others, by_energy, f64::INFINITY)
        }
    };
    let has_wrong = !matches!(
        functional,
        Functional::Energy
            | Functional::NegativeLogLikelihood { .. }
            | Functional::MinimumEmpiricalError { .. }
    );
    let kink = if has_wrong { kink.min(between_wrong) } else { kink };
    Reference { value, gradient: by_energy.iter().map(|g| -g).collect(), kink }
}

/// The functionals with a margin and a β that are not 1.
pub fn functionals() -> [Functional; 10] {
    Functional::all(0.75, 0.6)
}

fn part(count: usize, weight: f32, functional: Functional) -> Part {
    Part { count, labelled: Some(LabelledLoss { weight, functional }), ..Part::default() }
}

/// A functional alone, beside every other term, of weight 0, and a part without.
fn parts(functional: Functional, counts: [usize; 4]) -> Vec<Part> {
    let all = Part { log_p_x: 0.3, cross_entropy: 0.7, logit_y: -0.4, l2: 0.01, ..part(0, -0.6, functional) };
    let plain = Part { cross_entropy: 1.5, ..Part::default() };
    let weighted = [part(0, 1.3, functional), plain, all, part(0, 0.0, functional)];
    counts.iter().zip(weighted).map(|(&count, part)| Part { count, ..part }).collect()
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
        if reference(functional, &exact, label).kink > 1e-5 {
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
                reference(functional, &moved, label as usize).value
            };
            let Reference { gradient, kink, .. } = reference(functional, &row, label as usize);
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
            reference(functional, &row, 0).kink
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
        let unweighted = vec![Part { log_p_x: 1.0, ..part(5, 0.0, functional) }];
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
    let plain =
        Part { count: 6, log_p_x: 0.3, cross_entropy: 0.7, logit_y: -0.4, l2: 0.01, ..Part::default() };
    let (logits, labels) = rows(Functional::Energy, 7, 10, 4.0);
    let [without, with] = [Part { count: 1, ..plain }, part(1, 1.0, Functional::Log)].map(|last| {
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
