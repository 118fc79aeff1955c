//! Common losses. Those of joint energy-based models are in `layers.rs` ([`Tensor::logit_loss`]).

use super::{Indices, Tensor};
use crate::compute::loss_term::LossTerm;

impl Tensor {
    /// The mean squared difference to `target`, a scalar.
    pub fn mse(&self, target: &Tensor) -> Tensor {
        let squares = self.sub(target).square();
        let n = squares.elements();
        squares.sum_all().scale(1.0 / n as f32)
    }

    /// The mean cross-entropy of logits `[n, classes]` and `labels` `[n]`, in nats, a scalar. It is NaN if a label is
    /// not a class.
    pub fn cross_entropy(&self, labels: &Indices) -> Tensor {
        let n = self.shape().first().copied().unwrap_or(1);
        let part = LossTerm { count: n, cross_entropy: 1.0, ..LossTerm::default() };
        self.logit_loss(labels, &[part]).sum_all().scale(1.0 / n as f32)
    }
}
