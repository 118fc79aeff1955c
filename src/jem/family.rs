//! The recipes that JEM's successors published, as settings over a preset's size.

use super::chain_start::Start;
use super::{Preset, Recipe};
use crate::error::{Error, Result};
use crate::nn::wide_resnet::Norm;
use serde::{Deserialize, Serialize};

/// A published way to train a joint energy-based model, or what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The network as a classifier alone: the baseline.
    Classifier,
    /// Grathwohl et al., ICLR 2020: log p(y|x) + log p(x).
    #[default]
    Jem,
    /// The same with samples from p(x|y) for y uniform.
    JemClassConditional,
    /// log p(x, y) alone, the factorisation that Grathwohl et al. compare with.
    JemJoint,
    /// Yang & Ji, ICCV 2021: batch norm, SGD, chains from class-wise Gaussians, proximal inner steps, clamps.
    #[serde(rename = "jem++")]
    JemPlusPlus,
    /// Yang, Su & Ji, ECML 2023: JEM++ with sharpness-aware minimisation and p(x)'s images as they are.
    SadaJem,
    /// JEM with few labels: p(x) is trained on all images, p(y|x) on `labels_per_class` of each class.
    SemiSupervised,
}

impl Family {
    /// All, the baseline first.
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

    /// Its settings at the size of `preset`; those of [`Preset::Paper`] are the published ones.
    pub fn recipe(self, preset: Preset) -> Recipe {
        let jem = Recipe { recipe: self, ..preset.recipe() };
        match self {
            Self::Jem => jem,
            Self::Classifier => Recipe { p_x: 0.0, energy_l2: 0.0, ..jem },
            Self::JemClassConditional => Recipe { class_conditional: true, ..jem },
            Self::JemJoint => {
                Recipe { class_conditional: true, p_x: 0.0, p_y_given_x: 0.0, p_xy: 1.0, ..jem }
            }
            Self::JemPlusPlus => Self::plus_plus(preset, jem),
            Self::SadaJem => Self::sada(preset, Self::plus_plus(preset, jem)),
            Self::SemiSupervised => Recipe { labels_per_class: 100, ..jem },
        }
    }

    fn plus_plus(preset: Preset, jem: Recipe) -> Recipe {
        let recipe = Recipe {
            norm: Norm::Batch,
            norm_momentum: 0.9,
            start: Start::Gaussian,
            inner_steps: 5,
            step_size: 0.2,
            noise: 0.0,
            clamp_gradient: 1.0,
            clamp_x: true,
            optimizer: "sgd".into(),
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 4e-4,
            ..jem
        };
        match preset {
            Preset::Paper => Recipe {
                steps: 10,
                epochs: 150.0,
                decay_at: vec![50.0, 100.0, 125.0],
                decay_factor: 0.2,
                ..recipe
            },
            Preset::Small | Preset::Tiny => Recipe { steps: recipe.steps.min(5), ..recipe },
        }
    }

    fn sada(preset: Preset, plus_plus: Recipe) -> Recipe {
        let recipe = Recipe {
            labelled_batch: 2 * plus_plus.batch,
            inner_steps: 1,
            steps: 5,
            step_size: 1.0,
            input_noise: 0.0,
            augment_p_x: false,
            sam: 2.0,
            sam_adaptive: true,
            weight_decay: 5e-4,
            ..plus_plus
        };
        match preset {
            Preset::Paper => Recipe { epochs: 200.0, decay_at: vec![60.0, 120.0, 180.0], ..recipe },
            Preset::Small | Preset::Tiny => recipe,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jem::Overrides;

    #[test]
    fn names_are_read_as_they_are_written() {
        for family in Family::ALL {
            assert_eq!(family.name().parse::<Family>().unwrap(), family);
            let text = family.recipe(Preset::Tiny).to_toml();
            assert!(text.contains(&format!("recipe = \"{family}\"")), "{text}");
        }
        let error = "jem+++".parse::<Family>().unwrap_err().to_string();
        assert!(error.contains("recipe") && error.contains("jem++, sada-jem"), "{error}");
    }

    #[test]
    fn every_recipe_of_every_size_is_in_range_and_comes_back_from_its_text() {
        for family in Family::ALL {
            for preset in Preset::ALL {
                let recipe = family.recipe(preset);
                recipe.check(45_000, 10).unwrap_or_else(|error| panic!("{family} {preset}: {error}"));
                assert_eq!(Recipe::parse(&recipe.to_toml()).unwrap(), recipe, "{family} {preset}");
            }
        }
    }

    #[test]
    fn what_is_named_last_is_the_recipe_and_what_is_set_stays_set() {
        let file = Overrides::parse("recipe = \"jem++\"\nlr = 0.05").unwrap();
        let flags = Overrides { recipe: Some(Family::SadaJem), steps: Some(7), ..Overrides::default() };
        let recipe = Recipe::of(Preset::Paper, &[&file, &flags]);
        assert_eq!((recipe.recipe, recipe.lr, recipe.steps, recipe.sam), (Family::SadaJem, 0.05, 7, 2.0));
        assert_eq!(Recipe::of(Preset::Paper, &[&file]).inner_steps, 5);
        assert_eq!(Recipe::of(Preset::Tiny, &[]), Preset::Tiny.recipe());
    }
}
