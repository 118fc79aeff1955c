//! The loss functionals of LeCun et al., "A Tutorial on Energy-Based Learning" (2006), table 1, over the
//! energies `E(x, y) = -f(x)[y]` of a row of logits: values and derivatives, a line each.
//!
//! Twin: `shaders/common/functional.wgsl`, whose numbers are those of [`Functional::words`].

use crate::compute::cpu::elementwise::limited;

/// A loss of one labelled example, which pulls the energy of the right answer down and pushes that of others up.
///
/// With `E` the energy of the right answer, `W = min over other classes` that of the most offending wrong one,
/// and `p = exp(-β E) / Σ exp(-β E_k)` the right answer's probability:
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Functional {
    /// `E`. Pushes nothing up: all energies collapse unless the architecture forbids it.
    Energy,
    /// `E - min over all classes`. It has no margin: equal energies have no loss.
    Perceptron,
    /// `max(0, margin + E - W)`.
    Hinge {
        /// The least difference by which the wrong answer's energy must be higher.
        margin: f32,
    },
    /// `ln(1 + exp(E - W))`, a hinge with a soft margin.
    Log,
    /// `min(bound, max(0, E - W))`: an example beyond the bound has no gradient. It has no margin.
    Lvq2 {
        /// The largest loss.
        bound: f32,
    },
    /// `1 / (1 + exp(W - E))`, the minimum classification error: a smooth count of mistakes.
    Mce,
    /// `E² + max(0, margin - W)²`: the energies themselves, not their difference.
    SquareSquare {
        /// The energy of the wrong answer from which it is no longer pushed up.
        margin: f32,
    },
    /// `E² + beta exp(-W)`.
    SquareExponential {
        /// The weight of the wrong answer.
        beta: f32,
    },
    /// `E + ln(Σ exp(-β E_k)) / β = -ln(p) / β`, the negative log-likelihood, or maximum mutual information; with
    /// β = 1 the cross-entropy.
    NegativeLogLikelihood {
        /// The inverse temperature.
        beta: f32,
    },
    /// `1 - p`, the minimum empirical error.
    MinimumEmpiricalError {
        /// The inverse temperature.
        beta: f32,
    },
}

/// The inputs of a functional, for one row of logits.
#[derive(Debug, Clone, Copy)]
pub struct Energies {
    /// E, of the right answer.
    pub right: f32,
    /// W, of the most offending wrong answer.
    pub wrong: f32,
    /// -ln p of the right answer at the functional's inverse temperature, in nats.
    pub surprise: f32,
}

/// The value of a functional and its partial derivatives with respect to its inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slopes {
    /// The loss.
    pub value: f32,
    /// The derivative with respect to [`Energies::right`].
    pub right: f32,
    /// The derivative with respect to [`Energies::wrong`].
    pub wrong: f32,
    /// The derivative with respect to [`Energies::surprise`].
    pub surprise: f32,
}

impl Functional {
    /// Every functional, with `margin` for each margin or bound, and `beta` for each weight or inverse temperature.
    pub fn all(margin: f32, beta: f32) -> [Self; 10] {
        [
            Self::Energy,
            Self::Perceptron,
            Self::Hinge { margin },
            Self::Log,
            Self::Lvq2 { bound: margin },
            Self::Mce,
            Self::SquareSquare { margin },
            Self::SquareExponential { beta },
            Self::NegativeLogLikelihood { beta },
            Self::MinimumEmpiricalError { beta },
        ]
    }

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::Perceptron => "perceptron",
            Self::Hinge { .. } => "hinge",
            Self::Log => "log",
            Self::Lvq2 { .. } => "lvq2",
            Self::Mce => "mce",
            Self::SquareSquare { .. } => "square-square",
            Self::SquareExponential { .. } => "square-exponential",
            Self::NegativeLogLikelihood { .. } => "nll",
            Self::MinimumEmpiricalError { .. } => "mee",
        }
    }

    /// Its number, from 1 on, and its parameter, 0 if it has none.
    fn numbered(self) -> (u32, f32) {
        match self {
            Self::Energy => (1, 0.0),
            Self::Perceptron => (2, 0.0),
            Self::Hinge { margin } => (3, margin),
            Self::Log => (4, 0.0),
            Self::Lvq2 { bound } => (5, bound),
            Self::Mce => (6, 0.0),
            Self::SquareSquare { margin } => (7, margin),
            Self::SquareExponential { beta } => (8, beta),
            Self::NegativeLogLikelihood { beta } => (9, beta),
            Self::MinimumEmpiricalError { beta } => (10, beta),
        }
    }

    /// Its number and its parameter as words of a uniform block.
    pub fn words(self) -> [u32; 2] {
        let (number, parameter) = self.numbered();
        [number, parameter.to_bits()]
    }

    /// The inverse temperature β of a functional of the Gibbs distribution, which needs the surprise; `None` for
    /// others.
    pub fn temperature(self) -> Option<f32> {
        match self {
            Self::NegativeLogLikelihood { beta } | Self::MinimumEmpiricalError { beta } => Some(beta),
            _ => None,
        }
    }

    /// About the largest derivative with respect to a logit. This is a bound except for the two functionals that square
    /// the energies, where the energies are assumed to be about the margin.
    pub fn steepness(self) -> f32 {
        match self {
            Self::SquareSquare { margin } => 2.0 * margin,
            Self::SquareExponential { beta } => beta.max(2.0),
            Self::MinimumEmpiricalError { beta } => 0.25 * beta,
            Self::Mce => 0.25,
            _ => 1.0,
        }
    }

    /// Value and derivatives. At a kink the derivative is that of the side where the loss is constant.
    pub fn slopes(self, energies: Energies) -> Slopes {
        let Energies { right, wrong, surprise } = energies;
        let zero = Slopes { value: 0.0, right: 0.0, wrong: 0.0, surprise: 0.0 };
        // Slopes of functionals of the two energies, of their difference, and of the surprise.
        let each = |value, right, wrong| Slopes { value, right, wrong, ..zero };
        let gap = |value, slope: f32| each(value, slope, -slope);
        let gibbs = |value, surprise| Slopes { value, surprise, ..zero };
        let step = |on: bool| if on { 1.0 } else { 0.0 };

        let g = right - wrong;
        let small = (-g.abs()).exp();
        let sigmoid = if g > 0.0 { 1.0 } else { small } / (1.0 + small);
        match self {
            Self::Energy => each(right, 1.0, 0.0),
            Self::Perceptron => gap(g.max(0.0), step(g > 0.0)),
            Self::Hinge { margin: m } => gap((m + g).max(0.0), step(m + g > 0.0)),
            Self::Log => gap(g.max(0.0) + small.ln_1p(), sigmoid),
            Self::Lvq2 { bound: m } => gap(limited(g, 0.0, m), step(g > 0.0 && g < m)),
            Self::Mce => gap(sigmoid, small / ((1.0 + small) * (1.0 + small))),
            Self::SquareSquare { margin: m } => {
                let below = (m - wrong).max(0.0);
                each(right * right + below * below, 2.0 * right, -2.0 * below)
            }
            Self::SquareExponential { beta } => {
                let push = beta * (-wrong).exp();
                each(right * right + push, 2.0 * right, -push)
            }
            Self::NegativeLogLikelihood { beta } => gibbs(surprise / beta, 1.0 / beta),
            Self::MinimumEmpiricalError { .. } => gibbs(-(-surprise).exp_m1(), (-surprise).exp()),
        }
    }
}
