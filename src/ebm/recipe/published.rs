//! The settings of the presets and of the published recipes. [`Preset::Paper`] has the numbers of the papers.

use super::{ClassificationLoss, OptimizerKind, Overrides, Recipe};
use crate::ebm::chain_start::ChainStart;
use crate::ebm::family::Family;
use crate::ebm::precision::Precision;
use crate::ebm::preset::Preset;
use crate::nn::frozen::NormStatistics;
use crate::nn::ingredients::{Activation, Norm};
use crate::nn::init::Init;

impl Recipe {
    /// Reads the text that [`Recipe::to_toml`] wrote; settings that it lacks, as from an earlier version, are the
    /// published ones.
    ///
    /// # Errors
    /// The line and key that is wrong, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::of(Preset::Paper, &[&Overrides::parse(text)?]))
    }

    /// The recipe of `preset`'s size with `overrides`, of which later ones replace earlier ones; JEM unless they name
    /// another recipe.
    pub fn of(preset: Preset, overrides: &[&Overrides]) -> Self {
        let family = overrides.iter().rev().find_map(|overrides| overrides.family).unwrap_or_default();
        let mut recipe = family.recipe(preset);
        overrides.iter().for_each(|overrides| recipe.apply(overrides));
        // Settings of a preset that apply to log p(x) give way with it.
        if recipe.p_x == 0.0 {
            let asked = |set: fn(&Overrides) -> bool| overrides.iter().any(|overrides| set(overrides));
            if !asked(|overrides| overrides.hold_gap.is_some()) {
                recipe.hold_gap = 0.0;
            }
            if !asked(|overrides| overrides.p_x_ramp.is_some()) {
                recipe.p_x_ramp = 0;
            }
        }
        recipe
    }
}

/// The number of training images of CIFAR-10, which the presets are made for.
const CIFAR_10: usize = 50_000;

impl Recipe {
    /// Makes the learning rate decay after the same number of images as `preset` has on CIFAR-10, whatever the number
    /// `images` of training images. Presets whose length is in epochs do not change.
    pub fn decay_as_on_cifar_10(&mut self, preset: Preset, images: usize) {
        let own = self.family.recipe(preset);
        if own.iterations > 0 {
            let ratio = (CIFAR_10 - own.validation) as f64 / images.max(1) as f64;
            self.decay_at = own.decay_at.iter().map(|at| at * ratio).collect();
        }
    }
}

impl Preset {
    /// JEM at this size.
    pub fn recipe(self) -> Recipe {
        // Grathwohl et al. 2019, appendix and released code.
        let paper = Recipe {
            family: Family::Jem,
            depth: 28,
            width: 10,
            init: Init::LecunUniform,
            norm: Norm::None,
            norm_momentum: 0.1,
            norm_statistics: NormStatistics::Batch,
            activation: Activation::JEM,
            spectral_norm: false,
            unconditional: false,
            batch: 64,
            labelled_batch: 0,
            labels_per_class: 0,
            steps: 20,
            inner_steps: 1,
            step_size: 1.0,
            noise: 0.01,
            clamp_gradient: 0.0,
            clamp_x: false,
            buffer: 10_000,
            reinitialise: 0.05,
            start: ChainStart::Uniform,
            reservoir: false,
            class_conditional: false,
            p_x: 1.0,
            p_x_after: 0,
            p_x_ramp: 0,
            hold_gap: 0.0,
            p_y_given_x: 1.0,
            labelled_loss: ClassificationLoss::CrossEntropy,
            margin: 1.0,
            beta: 1.0,
            p_xy: 0.0,
            energy_l2: 0.0,
            gradient_penalty: 0.0,
            optimizer: OptimizerKind::Adam,
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum: 0.9,
            weight_decay: 0.0,
            sam: 0.0,
            sam_adaptive: false,
            ema: 0.0,
            clip_norm: 0.0,
            warmup: 1000,
            decay_at: vec![160.0, 180.0],
            decay_factor: 0.3,
            epochs: 200.0,
            iterations: 0,
            pad: 4,
            flip: true,
            input_noise: 0.03,
            augment_p_x: true,
            validation: 5000,
            evaluate_every: 700,
            fresh_chains: 16,
            sample_every: 350,
            checkpoint_every: 700,
            keep: 3,
            precision: Precision::F32,
            guard: true,
            max_trips: 20,
            snapshot_every: 50,
            diverged_above: 1e6,
            max_gap: 200.0,
            // The root mean square of moving from one end of [-1, 1] to the other, the largest displacement of an
            // image. Healthy runs measured below 0.7.
            max_displacement: 2.0,
            max_saturated: 0.98,
            max_chain_age: f64::INFINITY,
            seed: 1,
        };
        match self {
            Self::Paper => paper,
            // The clamps and the L2 on the energy keep a short run at a high learning rate from diverging.
            Self::Small => Recipe {
                depth: 16,
                width: 4,
                steps: 10,
                clamp_gradient: 1.0,
                clamp_x: true,
                energy_l2: 0.05,
                lr: 2e-4,
                warmup: 500,
                decay_at: vec![14.0, 18.0],
                epochs: 20.0,
                ..paper
            },
            // A small replay buffer, so that each chain is drawn often, with long steps: after 1,000 iterations most
            // chains have left their initial noise, and the energy gap stays near 0.
            Self::Tiny => Recipe {
                depth: 10,
                width: 1,
                batch: 32,
                steps: 8,
                step_size: 6.0,
                clamp_gradient: 1.0,
                clamp_x: true,
                buffer: 320,
                reinitialise: 0.02,
                p_x: 0.5,
                energy_l2: 0.1,
                lr: 1.8e-3,
                clip_norm: 3.0,
                warmup: 100,
                decay_at: vec![0.45],
                epochs: 0.0,
                iterations: 800,
                validation: 2000,
                evaluate_every: 200,
                fresh_chains: 8,
                sample_every: 200,
                checkpoint_every: 200,
                ..paper
            },
            // The input gradients of a classifier are steep: its first chains reach energies far below the data's. So
            // the weight of log p(x) rises slowly while training removes these directions, and the held gap lets the
            // classifier recover.
            Self::FineTune => Recipe {
                norm_statistics: NormStatistics::Frozen,
                batch: 32,
                steps: 10,
                step_size: 0.15,
                noise: 0.005,
                clamp_gradient: 1.0,
                clamp_x: true,
                buffer: 1000,
                start: ChainStart::Gaussian,
                p_x: 0.3,
                p_x_ramp: 100,
                hold_gap: 2.5,
                max_gap: 1000.0,
                energy_l2: 0.003,
                clip_norm: 5.0,
                warmup: 50,
                decay_at: Vec::new(),
                epochs: 0.0,
                iterations: 800,
                validation: 2000,
                evaluate_every: 200,
                sample_every: 200,
                checkpoint_every: 200,
                fresh_chains: 8,
                ..paper
            },
        }
    }
}

impl Family {
    /// The settings of the recipe at the size of `preset`; those of [`Preset::Paper`] are the published ones.
    pub fn recipe(self, preset: Preset) -> Recipe {
        let jem = Recipe { family: self, ..preset.recipe() };
        match self {
            Self::Jem => jem,
            Self::Classifier => Recipe { p_x: 0.0, energy_l2: 0.0, p_x_ramp: 0, hold_gap: 0.0, ..jem },
            Self::JemClassConditional => Recipe { class_conditional: true, ..jem },
            Self::JemJoint => Recipe {
                class_conditional: true,
                p_x: 0.0,
                p_x_ramp: 0,
                hold_gap: 0.0,
                p_y_given_x: 0.0,
                p_xy: 1.0,
                ..jem
            },
            Self::JemPlusPlus => Self::plus_plus(preset, jem),
            Self::SadaJem => Self::sada(preset, Self::plus_plus(preset, jem)),
            Self::SemiSupervised => Recipe { labels_per_class: 100, ..jem },
            Self::Unconditional => Recipe { unconditional: true, p_y_given_x: 0.0, ..jem },
        }
    }

    fn plus_plus(preset: Preset, jem: Recipe) -> Recipe {
        let recipe = Recipe {
            norm: Norm::Batch,
            norm_momentum: 0.9,
            start: ChainStart::Gaussian,
            inner_steps: 5,
            step_size: 0.2,
            noise: 0.0,
            clamp_gradient: 1.0,
            clamp_x: true,
            optimizer: OptimizerKind::Sgd,
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 4e-4,
            ..jem.clone()
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
            // JEM's sampler and optimizer without the noise: five inner steps equal one of their total length.
            Preset::FineTune => Recipe { inner_steps: 5, step_size: jem.step_size / 5.0, noise: 0.0, ..jem },
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
            // Half as many steps as JEM's, of twice the length.
            Preset::FineTune => Recipe { step_size: 0.3, weight_decay: 0.0, ..recipe },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let flags = Overrides { family: Some(Family::SadaJem), steps: Some(7), ..Overrides::default() };
        let recipe = Recipe::of(Preset::Paper, &[&file, &flags]);
        assert_eq!((recipe.family, recipe.lr, recipe.steps, recipe.sam), (Family::SadaJem, 0.05, 7, 2.0));
        assert_eq!(Recipe::of(Preset::Paper, &[&file]).inner_steps, 5);
        assert_eq!(Recipe::of(Preset::Tiny, &[]), Preset::Tiny.recipe());
        // Without log p(x) the preset's settings of it give way, and those that are asked for do not.
        let without = Overrides { p_x: Some(0.0), ..Overrides::default() };
        let recipe = Recipe::of(Preset::FineTune, &[&without]);
        assert_eq!((recipe.hold_gap, recipe.p_x_ramp), (0.0, 0));
        recipe.check(45_000, 10).unwrap();
        let asked = Overrides { hold_gap: Some(2.0), ..without };
        assert!(Recipe::of(Preset::FineTune, &[&asked]).check(45_000, 10).is_err());
    }
}
