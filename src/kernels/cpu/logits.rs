//! What the loss kernels' twins compute of one row of logits.

use crate::kernels::logit_loss::Part;

/// One row of logits with its label.
pub struct LogitRow<'a> {
    logits: &'a [f32],
    label: usize,
    maximum: f32,
    /// ln Σ exp(f - maximum): kept apart from `maximum`, or large logits would cancel.
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
        // The largest adds 1, beside which the others of a confident row would be lost. (Not 1 but 0 or NaN
        // where no logit is finite.)
        let exponential = |&f: &f32| (f - maximum).exp();
        let (before, rest) = logits.split_at(argmax);
        let (largest, after) = rest.split_at(1);
        let others: f32 = before.iter().chain(after).map(exponential).sum();
        let largest = exponential(&largest[0]);
        let log_sum = if largest == 1.0 { others.ln_1p() } else { (largest + others).ln() };
        let logsumexp = maximum + log_sum;
        Self { logits, label: label as usize, maximum, log_sum, logsumexp, squares, argmax }
    }

    /// f[label]; NaN for a label that is no class.
    fn logit_y(&self) -> f32 {
        self.logits.get(self.label).copied().unwrap_or(f32::NAN)
    }

    /// LogSumExp, cross-entropy, correct, Σ f².
    pub fn stats(&self) -> [f32; 4] {
        let correct = if self.argmax == self.label { 1.0 } else { 0.0 };
        [self.logsumexp, self.cross_entropy(), correct, self.squares]
    }

    fn cross_entropy(&self) -> f32 {
        (self.maximum - self.logit_y()) + self.log_sum
    }

    /// The loss under the weights of `part`; terms of weight 0 are not touched.
    pub fn loss(&self, part: &Part) -> f32 {
        let term = |weight: f32, value: f32| if weight == 0.0 { 0.0 } else { weight * value };
        term(part.log_p_x, self.logsumexp)
            + term(part.cross_entropy, self.cross_entropy())
            + term(part.logit_y, self.logit_y())
            + term(part.l2, self.squares)
    }

    /// The gradient of `upstream` times the loss.
    pub fn gradient(&self, part: &Part, upstream: f32, gradient: &mut [f32]) {
        let no_label = self.label >= self.logits.len() && (part.logit_y != 0.0 || part.cross_entropy != 0.0);
        for (class, (gradient, &f)) in gradient.iter_mut().zip(self.logits).enumerate() {
            let log_softmax = (f - self.maximum) - self.log_sum;
            let softmax = log_softmax.exp();
            // softmax - 1 at the label, without the cancellation.
            let (towards, logit_y) =
                if class == self.label { (log_softmax.exp_m1(), part.logit_y) } else { (softmax, 0.0) };
            let sum = part.log_p_x * softmax + part.cross_entropy * towards + logit_y + 2.0 * part.l2 * f;
            *gradient = if no_label { f32::NAN } else { upstream * sum };
        }
    }
}
