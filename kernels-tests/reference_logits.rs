//! Losses of rows of logits in float64.

use jem::compute::functional::Functional;
use jem::compute::loss_term::{LossTerm, STATS};

/// One row's loss and statistics, and the loss's gradient.
pub struct RowReference {
    pub loss: f64,
    pub stats: [f64; STATS],
    pub gradient: Vec<f64>,
}

/// The naive statement, in float64.
pub fn row_reference(logits: &[f64], label: u32, part: &LossTerm) -> RowReference {
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
            true => functional_reference(labelled.functional, logits, label),
            false => {
                FunctionalReference { value: f64::NAN, gradient: vec![f64::NAN; logits.len()], kink: 0.0 }
            }
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
pub fn part_of_rows(parts: &[LossTerm]) -> Vec<LossTerm> {
    parts.iter().flat_map(|part| vec![*part; part.count]).collect()
}

/// Four parts with every weight, `counts` rows each.
pub fn parts(counts: &[usize]) -> Vec<LossTerm> {
    let weights = [
        LossTerm { log_p_x: -1.0, l2: 0.05, ..LossTerm::default() },
        LossTerm { log_p_x: 1.0, l2: 0.05, ..LossTerm::default() },
        LossTerm { cross_entropy: 1.5, ..LossTerm::default() },
        LossTerm { log_p_x: 0.3, cross_entropy: 0.7, logit_y: -0.4, l2: 0.01, ..LossTerm::default() },
    ];
    counts.iter().zip(weights).map(|(&count, part)| LossTerm { count, ..part }).collect()
}

/// A functional of one row in float64.
pub struct FunctionalReference {
    pub value: f64,
    /// By the logits.
    pub gradient: Vec<f64>,
    /// The distance of the row from the nearest point without a derivative.
    pub kink: f64,
}

/// The naive statement: `energies = -logits`.
pub fn functional_reference(functional: Functional, logits: &[f64], label: usize) -> FunctionalReference {
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
    FunctionalReference { value, gradient: by_energy.iter().map(|g| -g).collect(), kink }
}

/// The functionals with a margin and a β that are not 1.
pub fn functionals() -> [Functional; 10] {
    Functional::all(0.75, 0.6)
}
