//! The settings of a recipe that are choices from a list.

use crate::compute::functional::Functional;
use crate::named::named;

/// The update rule of the parameters, without its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba 2015); weight decay is added to the gradient.
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

named!(OptimizerKind, "optimizer": Adam = "adam", AdamW = "adamw", Sgd = "sgd");

/// The loss of labelled images: the cross-entropy, or a functional of LeCun et al. (2006), "A Tutorial on Energy-Based
/// Learning", without its margin or inverse temperature. [`Functional`] has the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassificationLoss {
    /// -log p(y|x).
    #[default]
    CrossEntropy,
    /// [`Functional::Energy`].
    Energy,
    /// [`Functional::Perceptron`].
    Perceptron,
    /// [`Functional::Hinge`].
    Hinge,
    /// [`Functional::Log`].
    Log,
    /// [`Functional::Lvq2`].
    Lvq2,
    /// [`Functional::Mce`], the minimum classification error.
    Mce,
    /// [`Functional::SquareSquare`].
    SquareSquare,
    /// [`Functional::SquareExponential`].
    SquareExponential,
    /// [`Functional::NegativeLogLikelihood`].
    NegativeLogLikelihood,
    /// [`Functional::MinimumEmpiricalError`].
    MinimumEmpiricalError,
}

named!(
    ClassificationLoss, "labelled_loss":
    CrossEntropy = "cross-entropy",
    Energy = "energy",
    Perceptron = "perceptron",
    Hinge = "hinge",
    Log = "log",
    Lvq2 = "lvq2",
    Mce = "mce",
    SquareSquare = "square-square",
    SquareExponential = "square-exponential",
    NegativeLogLikelihood = "nll",
    MinimumEmpiricalError = "mee",
);

impl ClassificationLoss {
    /// The functional with its `margin`, or its inverse temperature `beta`; `None` for the cross-entropy.
    pub fn functional(self, margin: f32, beta: f32) -> Option<Functional> {
        Functional::all(margin, beta).into_iter().find(|functional| functional.name() == self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_but_the_cross_entropy_is_a_functional() {
        let all = ClassificationLoss::ALL.map(|loss| loss.functional(0.5, 2.0));
        assert_eq!(all[0], None);
        let expected = Functional::all(0.5, 2.0).map(Some);
        assert_eq!(all[1..], expected);
    }
}
