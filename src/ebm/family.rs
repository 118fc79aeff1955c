//! The names of JEM's recipes. `recipe/published.rs` has their settings.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A published method of training a joint energy-based model, or a baseline for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The network as a classifier only: the baseline.
    Classifier,
    /// Grathwohl et al., ICLR 2020: log p(y|x) + log p(x).
    #[default]
    Jem,
    /// JEM with samples from p(x|y) for uniform y.
    JemClassConditional,
    /// log p(x, y) alone, the factorisation that Grathwohl et al. compare with.
    JemJoint,
    /// Yang & Ji, ICCV 2021: batch norm, SGD, chains from class-wise Gaussians, proximal inner steps, clamps.
    #[serde(rename = "jem++")]
    JemPlusPlus,
    /// Yang, Su & Ji, ECML 2023: JEM++ with sharpness-aware minimisation and no augmentation of p(x)'s images.
    SadaJem,
    /// JEM with few labels: p(x) is trained on all images, p(y|x) on `labels_per_class` of each class.
    SemiSupervised,
}

impl Family {
    /// All recipes, the baseline first.
    pub const ALL: [Self; 7] = [
        Self::Classifier,
        Self::Jem,
        Self::JemClassConditional,
        Self::JemJoint,
        Self::JemPlusPlus,
        Self::SadaJem,
        Self::SemiSupervised,
    ];

    /// The name on a command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classifier => "classifier",
            Self::Jem => "jem",
            Self::JemClassConditional => "jem-class-conditional",
            Self::JemJoint => "jem-joint",
            Self::JemPlusPlus => "jem++",
            Self::SadaJem => "sada-jem",
            Self::SemiSupervised => "semi-supervised",
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Family {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::setting("recipe", format!("expected one of {names}, got {text:?}"))
        })
    }
}
