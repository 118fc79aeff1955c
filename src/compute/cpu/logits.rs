//! One row of logits in the loss kernels' twins: its values and gradients.

use crate::compute::functional::{Energies, Slopes};
use crate::compute::loss_term::{LabelledLoss, LossTerm, STATS};

/// One row of logits with its label.
pub struct LogitRow<'a> {
    logits: &'a [f32],
    label: usize,
    maximum: f32,
    /// ln Σ exp(f - maximum), kept separate from `maximum`: the sum of both loses digits if the logits are large.
    log_sum: f32,
    /// ln Σ exp(f)
    pub logsumexp: f32,
    /// Σ f²
    pub squares: f32,
    argmax: usize,
}

impl<'a> LogitRow<'a> {
    /// Reduces the row. A NaN or +inf logit makes `logsumexp` NaN.
    pub fn new(logits: &'a [f32], label: u32) -> Self {
        let (mut argmax, mut maximum, mut squares) = (0, f32::MIN, 0.0);
        for (class, &f) in logits.iter().enumerate() {
            if f > maximum {
                (argmax, maximum) = (class, f);
            }
            squares += f * f;
        }
        let log_sum = log_sum(logits, argmax, maximum, 1.0);
        let logsumexp = maximum + log_sum;
        Self { logits, label: label as usize, maximum, log_sum, logsumexp, squares, argmax }
    }

    /// f[label]; NaN if the label is not a class.
    fn logit_y(&self) -> f32 {
        self.logits.get(self.label).copied().unwrap_or(f32::NAN)
    }

    /// LogSumExp, cross-entropy, correct, Σ f², the part's functional.
    pub fn stats(&self, part: &LossTerm) -> [f32; STATS] {
        let correct = if self.argmax == self.label { 1.0 } else { 0.0 };
        let functional = part.labelled.map_or(0.0, |labelled| self.functional(&labelled).slopes.value);
        [self.logsumexp, self.cross_entropy(), correct, self.squares, functional]
    }

    /// A functional of the row. It is NaN if the label is not a class, or if `logsumexp` is NaN.
    fn functional(&self, labelled: &LabelledLoss) -> FunctionalRow {
        let functional = labelled.functional;
        let (mut wrong, mut largest) = (self.logits.len(), f32::MIN);
        for (class, &f) in self.logits.iter().enumerate() {
            if class != self.label && f > largest {
                (wrong, largest) = (class, f);
            }
        }
        let beta = functional.temperature().unwrap_or(0.0);
        let log_sum = if beta == 0.0 { 0.0 } else { log_sum(self.logits, self.argmax, self.maximum, beta) };
        let surprise = beta * (self.maximum - self.logit_y()) + log_sum;
        let mut slopes = functional.slopes(Energies { right: -self.logit_y(), wrong: -largest, surprise });
        if self.label >= self.logits.len() || self.logsumexp.is_nan() {
            slopes = Slopes { value: f32::NAN, right: f32::NAN, wrong: f32::NAN, surprise: f32::NAN };
        }
        FunctionalRow { slopes, wrong, beta, log_sum }
    }

    fn cross_entropy(&self) -> f32 {
        (self.maximum - self.logit_y()) + self.log_sum
    }

    /// The loss under the weights of `part`; terms of weight 0 are not touched.
    pub fn loss(&self, part: &LossTerm) -> f32 {
        let term = |weight: f32, value: f32| if weight == 0.0 { 0.0 } else { weight * value };
        term(part.log_p_x, self.logsumexp)
            + term(part.cross_entropy, self.cross_entropy())
            + term(part.logit_y, self.logit_y())
            + term(part.l2, self.squares)
            + part.labelled.map_or(0.0, |l| term(l.weight, self.functional(&l).slopes.value))
    }

    /// The gradient of `upstream` times the loss.
    pub fn gradient(&self, part: &LossTerm, upstream: f32, gradient: &mut [f32]) {
        let labelled = part.labelled.filter(|labelled| labelled.weight != 0.0);
        let functional = labelled.map(|labelled| (labelled.weight, self.functional(&labelled)));
        let no_label = self.label >= self.logits.len() && (part.logit_y != 0.0 || part.cross_entropy != 0.0);
        for (class, (gradient, &f)) in gradient.iter_mut().zip(self.logits).enumerate() {
            let log_softmax = (f - self.maximum) - self.log_sum;
            let softmax = log_softmax.exp();
            // softmax - 1 at the label, without the cancellation.
            let (towards, logit_y) =
                if class == self.label { (log_softmax.exp_m1(), part.logit_y) } else { (softmax, 0.0) };
            let mut sum = part.log_p_x * softmax + part.cross_entropy * towards + logit_y + 2.0 * part.l2 * f;
            if let Some((weight, row)) = &functional {
                sum += weight * self.functional_gradient(row, class);
            }
            *gradient = if no_label { f32::NAN } else { upstream * sum };
        }
    }

    /// The gradient of a functional at one logit.
    fn functional_gradient(&self, row: &FunctionalRow, class: usize) -> f32 {
        let Slopes { right, wrong, surprise, .. } = row.slopes;
        // β (p - [k = y]), without the cancellation at the label.
        let by_surprise = if row.beta == 0.0 {
            0.0
        } else {
            let log_p = row.beta * (self.logits[class] - self.maximum) - row.log_sum;
            row.beta * if class == self.label { log_p.exp_m1() } else { log_p.exp() }
        };
        let energy = if class == self.label {
            right
        } else if class == row.wrong {
            wrong
        } else {
            0.0
        };
        surprise * by_surprise - energy
    }
}

/// A functional of one row.
struct FunctionalRow {
    slopes: Slopes,
    /// The class of the most offending wrong answer, the first of equals.
    wrong: usize,
    /// The inverse temperature; 0 for a functional that does not use the Gibbs distribution.
    beta: f32,
    /// ln Σ exp(β (f - maximum))
    log_sum: f32,
}

/// ln Σ exp(β (f - maximum)), where class `argmax` has the largest logit.
fn log_sum(logits: &[f32], argmax: usize, maximum: f32, beta: f32) -> f32 {
    // The largest adds 1, beside which the others of a confident row would be lost. (Not 1 but 0 or NaN
    // where no logit is finite.)
    let exponential = |&f: &f32| (beta * (f - maximum)).exp();
    let (before, rest) = logits.split_at(argmax);
    let (largest, after) = rest.split_at(1);
    let others: f32 = before.iter().chain(after).map(exponential).sum();
    let largest = exponential(&largest[0]);
    if largest == 1.0 { others.ln_1p() } else { (largest + others).ln() }
}
