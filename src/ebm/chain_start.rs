//! The distribution that new chains start from.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The distribution of a new chain's first image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainStart {
    /// Uniform in [-1, 1] (Grathwohl et al. 2019).
    #[default]
    Uniform,
    /// Normal, with the mean and covariance of a class's training images (Yang & Ji 2021, "JEM++"): the chain's own
    /// class if samples are class-conditional, else a random class.
    Gaussian,
}

impl std::str::FromStr for ChainStart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "gaussian" => Ok(Self::Gaussian),
            _ => Err(Error::setting("start", format!("expected uniform or gaussian, got {text:?}"))),
        }
    }
}
