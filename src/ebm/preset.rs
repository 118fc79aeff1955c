//! Sizes of a recipe, by the machine that they need. `recipe/published.rs` has their settings.

use crate::error::{Error, Result};

/// A size of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// WRN-10-1 with a stabilised JEM: minutes on two CPU cores.
    Tiny,
    /// WRN-16-4: an afternoon on a laptop's GPU.
    Small,
    /// WRN-28-10 with the published settings: days on a data-centre GPU.
    Paper,
}

impl std::str::FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "tiny" => Ok(Self::Tiny),
            "small" => Ok(Self::Small),
            "paper" => Ok(Self::Paper),
            _ => Err(Error::setting("preset", format!("expected tiny, small or paper, got {text:?}"))),
        }
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Paper => "paper",
        })
    }
}

impl Preset {
    /// All presets, from the smallest to the largest.
    pub const ALL: [Self; 3] = [Self::Tiny, Self::Small, Self::Paper];

    /// The longest run, in seconds, for which `auto` selects the preset.
    pub fn patience(self) -> f64 {
        match self {
            Self::Tiny => f64::INFINITY,
            Self::Small => 8.0 * 3600.0,
            Self::Paper => 7.0 * 24.0 * 3600.0,
        }
    }
}
