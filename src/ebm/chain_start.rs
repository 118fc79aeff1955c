//! The distribution that new chains start from.

use crate::named::named;

/// The distribution of a new chain's first image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChainStart {
    /// Uniform in [-1, 1] (Grathwohl et al. 2019).
    #[default]
    Uniform,
    /// Normal, with the mean and covariance of a class's training images (Yang & Ji 2021, "JEM++"): the chain's own
    /// class if samples are class-conditional, else a random class.
    Gaussian,
}

named!(ChainStart, "start": Uniform = "uniform", Gaussian = "gaussian");
