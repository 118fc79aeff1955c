//! Sizes of a recipe: how much machine it wants.

use super::chain_start::Start;
use super::family::Family;
use super::{Precision, Recipe};
use crate::error::{Error, Result};
use crate::nn::init::Init;
use crate::nn::wide_resnet::{Activation, Norm};

/// A named recipe.
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
            _ => {
                Err(Error::setting("--preset", format!("expected auto, tiny, small or paper, got {text:?}")))
            }
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
    /// From the smallest to the largest.
    pub const ALL: [Self; 3] = [Self::Tiny, Self::Small, Self::Paper];

    /// The longest run, in seconds, for which `auto` takes the preset.
    pub fn patience(self) -> f64 {
        match self {
            Self::Tiny => f64::INFINITY,
            Self::Small => 8.0 * 3600.0,
            Self::Paper => 7.0 * 24.0 * 3600.0,
        }
    }

    /// Its settings.
    pub fn recipe(self) -> Recipe {
        // Grathwohl et al. 2019, appendix and released code.
        let paper = Recipe {
            recipe: Family::Jem,
            depth: 28,
            width: 10,
            init: Init::LecunUniform,
            norm: Norm::None,
            norm_momentum: 0.1,
            activation: Activation::LeakyRelu,
            spectral_norm: false,
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
            start: Start::Uniform,
            reservoir: false,
            class_conditional: false,
            p_x: 1.0,
            p_y_given_x: 1.0,
            labelled_loss: "cross-entropy".into(),
            margin: 1.0,
            beta: 1.0,
            p_xy: 0.0,
            energy_l2: 0.0,
            gradient_penalty: 0.0,
            optimizer: "adam".into(),
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
            sample_every: 350,
            checkpoint_every: 700,
            keep: 3,
            precision: Precision::F32,
            guard: true,
            max_trips: 20,
            snapshot_every: 50,
            diverged_above: 1e6,
            max_gap: 200.0,
            // From one end of [-1, 1] to the other, root mean square: no image goes further. Healthy runs that were
            // watched stay below 0.7.
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
            // Few chains, visited often, with long steps: after a thousand iterations most have left their
            // noise, and the energy gap stays near 0.
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
                sample_every: 200,
                checkpoint_every: 200,
                ..paper
            },
        }
    }
}
