//! Sizes of a recipe, by the machine that they need, and the settings that continue a trained model.
//! `recipe/published.rs` has their settings.

use crate::named::named;

/// A size of a recipe, the smallest first, or [`Preset::FineTune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// WRN-10-1 with a stabilised JEM: minutes on two CPU cores.
    Tiny,
    /// WRN-16-4: an afternoon on a laptop's GPU.
    Small,
    /// WRN-28-10 with the published settings: days on a data-centre GPU.
    Paper,
    /// Settings that turn a trained classifier into a JEM within half an hour on two CPU cores; the network is the
    /// model's.
    FineTune,
}

named!(Preset, "preset": Tiny = "tiny", Small = "small", Paper = "paper", FineTune = "fine-tune");

impl Preset {
    /// The presets that begin with initial weights, each with the size of its network.
    pub const SIZES: [Self; 3] = [Self::Tiny, Self::Small, Self::Paper];

    /// The longest run, in seconds, for which `auto` selects the preset.
    pub fn patience(self) -> f64 {
        match self {
            Self::Tiny | Self::FineTune => f64::INFINITY,
            Self::Small => 8.0 * 3600.0,
            Self::Paper => 7.0 * 24.0 * 3600.0,
        }
    }
}
