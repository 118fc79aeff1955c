//! Sizes of a recipe, by the machine that they need. `recipe/published.rs` has their settings.

use crate::named::named;

/// A size of a recipe; the smallest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// WRN-10-1 with a stabilised JEM: minutes on two CPU cores.
    Tiny,
    /// WRN-16-4: an afternoon on a laptop's GPU.
    Small,
    /// WRN-28-10 with the published settings: days on a data-centre GPU.
    Paper,
}

named!(Preset, "preset": Tiny = "tiny", Small = "small", Paper = "paper");

impl Preset {
    /// The longest run, in seconds, for which `auto` selects the preset.
    pub fn patience(self) -> f64 {
        match self {
            Self::Tiny => f64::INFINITY,
            Self::Small => 8.0 * 3600.0,
            Self::Paper => 7.0 * 24.0 * 3600.0,
        }
    }
}
