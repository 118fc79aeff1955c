//! A recipe is a value: every setting of a training run, readable as TOML, stored in every checkpoint.

mod check;
mod choices;
mod published;

use super::chain_start::ChainStart;
use super::family::Family;
use super::precision::Precision;
use crate::compute::functional::Functional;
use crate::error::{Error, Result};
use crate::nn::frozen::NormStatistics;
use crate::nn::ingredients::{Activation, Norm};
use crate::nn::init::Init;
use crate::nn::network::Network;
use crate::nn::optimizer::Optimizer;
use crate::nn::wide_resnet::WideResNet;
pub use choices::{ClassificationLoss, OptimizerKind};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Declares [`Recipe`], and [`Overrides`], which has the same settings as options, for the command line and for TOML
/// files.
macro_rules! settings {
    ($([$heading:expr] $($(#[$attribute:meta])* $name:ident $(as $key:literal)?: $type:ty,)*)*) => {
        /// Every setting of a training run. A value of 0 turns off an optional feature.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct Recipe {
            $($($(#[$attribute])* $(#[serde(rename = $key)])? pub $name: $type,)*)*
        }

        /// Settings that replace a preset's: flags of a command line, or keys of a TOML file.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[cfg_attr(feature = "cli", derive(clap::Args))]
        #[serde(deny_unknown_fields, default)]
        pub struct Overrides {
            $($(
                $(#[$attribute])*
                $(#[serde(rename = $key)])?
                #[cfg_attr(feature = "cli", arg(
                    long $(= $key)?,
                    value_name = <$type as flag::Value>::NAME,
                    value_delimiter = ',',
                    allow_negative_numbers = true,
                    hide_possible_values = true,
                    help_heading = $heading,
                ))]
                pub $name: Option<$type>,
            )*)*
        }

        impl Recipe {
            /// Replaces the settings that `overrides` has.
            pub fn apply(&mut self, overrides: &Overrides) {
                $($(if let Some(value) = &overrides.$name {
                    self.$name = value.clone();
                })*)*
            }
        }
    };
}

settings! {
    // Without a heading: listed among the options of the command itself.
    [None::<&'static str>]
    /// Recipe to start from: classifier, jem, jem-class-conditional, jem-joint, jem++, sada-jem, semi-supervised or
    /// unconditional
    family as "recipe": Family,

    ["Model"]
    /// Number of layers of the WideResNet: 6n + 4
    depth: usize,
    /// Widening factor of the WideResNet
    width: usize,
    /// Initial weights: lecun-uniform, he-normal or glorot-uniform
    init: Init,
    /// Normalisation before activations: none, batch, instance, layer or group:G
    norm: Norm,
    /// Weight of the current batch in batch norm's running statistics (PyTorch's momentum)
    norm_momentum: f32,
    /// Statistics of batch norm in training: batch (each batch's own, which the running statistics follow) or frozen
    /// (the running statistics that the network begins with, as those of --from)
    norm_statistics: NormStatistics,
    /// Activation: relu, leaky-relu, leaky-relu:SLOPE, silu or softplus
    activation: Activation,
    /// Divide each layer's weights by their largest singular value
    spectral_norm: bool,
    /// Replace the output for each class by one scalar energy, trained by log p(x) alone without labels
    unconditional: bool,

    ["Data"]
    /// Images per iteration for p(x); also the number of samples and, without --labelled-batch, of labelled images
    batch: usize,
    /// Labelled images per iteration; 0: the same number as --batch
    labelled_batch: usize,
    /// Labelled images of each class to train p(y|x) on; 0: all labelled images
    labels_per_class: usize,

    ["SGLD"]
    /// SGLD steps per iteration (K)
    steps: usize,
    /// Updates of the samples per SGLD step, all with the gradient at its start (JEM++'s N)
    inner_steps: usize,
    /// SGLD step size: factor of the gradient in each update of the samples
    step_size: f32,
    /// Standard deviation of the noise added in each update of the samples, for images in [-1, 1]
    noise: f32,
    /// Bound on each element of SGLD's gradient; 0: no bound
    clamp_gradient: f32,
    /// Clamp samples to [-1, 1]
    clamp_x: bool,
    /// Number of chains in the replay buffer
    buffer: usize,
    /// Probability that a chain restarts when an iteration draws it
    reinitialise: f32,
    /// Starting points of chains: uniform in [-1, 1], or gaussian with the mean and covariance of a class's images
    start: ChainStart,
    /// Return samples to the replay buffer by reservoir sampling instead of to the entries of their chains
    reservoir: bool,
    /// Sample x from p(x|y) for uniform y, instead of from p(x)
    class_conditional: bool,

    ["Loss"]
    /// Weight of log p(x)
    p_x: f32,
    /// Iterations that train p(y|x) alone before log p(x) joins, when the chains start; 0: none
    p_x_after: u64,
    /// Iterations over which the weight of log p(x), and of all terms of its images and samples, rises to its full
    /// value; 0: at once
    p_x_ramp: u64,
    /// Gap of mean energies in a batch, samples' minus data's, from which on the weight of log p(x) is 0; the weight
    /// falls linearly from its full value at a gap of 0; 0: constant weight
    hold_gap: f32,
    /// Weight of log p(y|x), or of the --labelled-loss that replaces it
    p_y_given_x: f32,
    /// Loss of labelled images: cross-entropy, or one of LeCun et al. (2006): energy, perceptron, hinge, log, lvq2, mce,
    /// square-square, square-exponential, nll, mee
    labelled_loss: ClassificationLoss,
    /// Margin of hinge and square-square; largest loss of lvq2
    margin: f32,
    /// Inverse temperature of nll and mee; weight of the wrong answer in square-exponential
    beta: f32,
    /// Weight of log p(x, y); requires class-conditional samples
    p_xy: f32,
    /// Weight of the mean squared logits of data plus the mean squared logits of samples
    energy_l2: f32,
    /// Weight of the mean squared norm of the gradient of log p(x) at the data
    gradient_penalty: f32,

    ["Optimizer"]
    /// Optimizer: adam, adamw (decoupled weight decay) or sgd
    optimizer: OptimizerKind,
    /// Learning rate
    lr: f64,
    /// Adam's decay rate of the first moment
    beta1: f64,
    /// Adam's decay rate of the second moment
    beta2: f64,
    /// Adam's epsilon
    epsilon: f32,
    /// SGD's momentum
    momentum: f32,
    /// Weight decay: added to the gradient, or decoupled with adamw
    weight_decay: f32,
    /// Radius of sharpness-aware minimisation (SAM); 0: no SAM
    sam: f32,
    /// Scale SAM's radius by the size of the weights
    sam_adaptive: bool,
    /// Decay of the moving average of the weights, which is evaluated and saved instead of them; 0: no average
    ema: f64,
    /// Bound on the global gradient norm; 0: no bound
    clip_norm: f32,
    /// Iterations of linear learning-rate warm-up; 0: none
    warmup: u64,
    /// Epochs after which the learning rate decays, separated by commas
    decay_at: Vec<f64>,
    /// Factor of the learning rate at each decay
    decay_factor: f64,

    ["Run"]
    /// Passes over the training images
    epochs: f64,
    /// Number of iterations; 0: the number that --epochs takes
    iterations: u64,

    ["Data"]
    /// Reflect padding before the random crop, in pixels; 0: no crop
    pad: usize,
    /// Flip training images at random
    flip: bool,
    /// Standard deviation of the noise added to training images, for images in [-1, 1]
    input_noise: f32,
    /// Augment the images for p(x) like the labelled ones, with crop, flip and noise
    augment_p_x: bool,
    /// Number of training images held out to choose the best model
    validation: usize,

    ["Run"]
    /// Iterations between evaluations on the held-out images
    evaluate_every: u64,
    /// Number of fresh chains that evaluations follow for K, 10 × K or 100 × K steps; 0: none
    fresh_chains: usize,
    /// Iterations between sample grids
    sample_every: u64,
    /// Iterations between checkpoints
    checkpoint_every: u64,
    /// Number of checkpoints to keep
    keep: usize,
    /// Precision of activations: f32, f16 (on the GPU's tensor cores if they pass a test), or auto (f16 if they pass,
    /// else f32)
    precision: Precision,

    ["Guard"]
    /// Heal a run that diverges: roll back, reseed and apply a remedy; false: stop
    guard: bool,
    /// Number of faults to heal before the run is given up
    max_trips: u32,
    /// Iterations between the snapshots that a run rolls back to
    snapshot_every: u64,
    /// Treat an |energy|, loss or gradient norm above this as a fault; inf: no limit
    diverged_above: f64,
    /// Treat an |energy of samples - energy of data| above this as a fault; inf: no limit
    max_gap: f64,
    /// Treat a root-mean-square displacement of pixels by the SGLD of an iteration above this, for images in [-1, 1],
    /// as a fault; inf: no limit
    max_displacement: f64,
    /// Treat a fraction of sample pixels at -1 or 1 above this as a fault; inf: no limit
    max_saturated: f64,
    /// Treat a mean age of chains above this many SGLD steps as a fault, because chains do not restart; inf: no limit
    max_chain_age: f64,

    ["Run"]
    /// Random seed
    seed: u32,
}

/// The keys of the settings that only [`Recipe::network`] reads.
const NETWORK: [&str; 6] = ["depth", "width", "norm", "activation", "spectral_norm", "unconditional"];

/// The value names in the help of the flags.
#[cfg(feature = "cli")]
mod flag {
    use super::{
        Activation, ChainStart, ClassificationLoss, Family, Init, Norm, NormStatistics, OptimizerKind,
        Precision,
    };

    /// A type of setting, with the name of its values.
    pub trait Value {
        const NAME: &'static str;
    }

    macro_rules! names {
        ($($name:literal: $($type:ty),*;)*) => {
            $($(impl Value for $type {
                const NAME: &'static str = $name;
            })*)*
        };
    }

    names! {
        "N": usize, u64, u32;
        "X": f32, f64;
        "X,X": Vec<f64>;
        "BOOL": bool;
        "NAME": Activation, ChainStart, ClassificationLoss, Family, Init, Norm, NormStatistics, OptimizerKind, Precision;
    }
}

impl Overrides {
    /// Reads a TOML file of settings.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::File`] with the line and key that is wrong.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text).map_err(|message| Error::file(path, message))
    }

    /// Reads the text of a TOML file of settings.
    ///
    /// # Errors
    /// The line and key that is wrong, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| one_line(&error.to_string()))
    }
}

/// A TOML error in one line, with the key that it points at instead of the excerpt of the file.
fn one_line(message: &str) -> String {
    let lines = || message.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('|'));
    let drawn = lines().find_map(|line| line.split_once(" | "));
    let is_key = |key: &&str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let key = drawn.and_then(|(_, line)| line.split_once('=')).map(|(key, _)| key.trim()).filter(is_key);
    let mut parts: Vec<&str> = lines().filter(|line| !line.contains(" | ")).collect();
    if let Some(key) = key.filter(|key| !parts.iter().any(|part| part.contains(&format!("`{key}`")))) {
        parts.insert(1.min(parts.len()), key);
    }
    parts.join(": ")
}

impl Recipe {
    /// The recipe as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe is plain data")
    }

    /// The recipe of a run of `network` as TOML. If that is not the recipe's own network, the settings of the recipe's
    /// network are left out, because they have no effect.
    pub fn to_toml_of(&self, network: &dyn Network) -> String {
        let own = self.network(network.classes(), network.channels());
        let text = self.to_toml();
        if (own.kind(), own.settings()) == (network.kind(), network.settings()) {
            return text;
        }
        let is_of_own = |line: &&str| !NETWORK.iter().any(|key| line.starts_with(&format!("{key} = ")));
        text.lines().filter(is_of_own).map(|line| format!("{line}\n")).collect()
    }

    /// The network for `classes` classes of images with `channels` channels; it has one output if the recipe is
    /// unconditional.
    pub fn network(&self, classes: usize, channels: usize) -> WideResNet {
        let classes = if self.unconditional { 1 } else { classes };
        WideResNet {
            norm: self.norm,
            activation: self.activation,
            spectral_norm: self.spectral_norm,
            ..WideResNet::new(self.depth, self.width, classes, channels)
        }
    }

    /// The update rule.
    pub fn optimizer(&self) -> Optimizer {
        let Self { beta1, beta2, epsilon, momentum, weight_decay, .. } = *self;
        let adam = |decoupled| Optimizer::Adam { beta1, beta2, epsilon, weight_decay, decoupled };
        match self.optimizer {
            OptimizerKind::Adam => adam(false),
            OptimizerKind::AdamW => adam(true),
            OptimizerKind::Sgd => Optimizer::Momentum { momentum, weight_decay },
        }
    }

    /// The functional of the energies of labelled images; `None` for the cross-entropy.
    pub fn functional(&self) -> Option<Functional> {
        self.labelled_loss.functional(self.margin, self.beta)
    }

    /// The number of labelled images per iteration.
    pub fn labelled(&self) -> usize {
        if self.labelled_batch == 0 { self.batch } else { self.labelled_batch }
    }

    /// Whether training needs samples: whether a term of the loss is a density of x.
    pub fn samples(&self) -> bool {
        self.p_x != 0.0 || self.p_xy != 0.0
    }

    /// Whether `iteration` (from 0 on) trains p(y|x) alone, before log p(x) joins.
    pub fn is_early(&self, iteration: u64) -> bool {
        self.samples() && iteration < self.p_x_after
    }

    /// The factor of the weight of log p(x), and of all terms of its images and samples, in `iteration` (from 0 on):
    /// 0 up to `p_x_after`, then rising to 1 over `p_x_ramp` iterations.
    pub fn p_x_factor(&self, iteration: u64) -> f64 {
        match iteration.checked_sub(self.p_x_after) {
            None => 0.0,
            Some(since) => ((since + 1) as f64 / self.p_x_ramp.max(1) as f64).min(1.0),
        }
    }

    /// The number of iterations after which log p(x) has reached its full weight.
    pub fn p_x_complete(&self) -> u64 {
        self.p_x_after.saturating_add(self.p_x_ramp)
    }

    /// The number of iterations for `images` training images.
    pub fn total_iterations(&self, images: usize) -> u64 {
        match self.iterations {
            0 => (self.epochs * images as f64 / self.batch as f64).ceil() as u64,
            iterations => iterations,
        }
    }

    /// The learning rate of `iteration` (from 0 on) for `images` training images: linear warm-up, then
    /// `lr * decay_factor^(decays passed)`.
    pub fn learning_rate(&self, iteration: u64, images: usize) -> f64 {
        let epoch = iteration as f64 * self.batch as f64 / images as f64;
        let decays = self.decay_at.iter().filter(|&&at| epoch >= at).count();
        let warm = ((iteration + 1) as f64 / self.warmup.max(1) as f64).min(1.0);
        self.lr * warm * self.decay_factor.powi(decays as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebm::Preset;

    #[test]
    fn a_run_of_another_network_has_no_settings_of_the_recipes_own() {
        let recipe = Family::Jem.recipe(Preset::Tiny);
        let own = recipe.network(10, 3);
        assert_eq!(recipe.to_toml_of(&own), recipe.to_toml());
        let text = recipe.to_toml_of(&WideResNet { depth: 16, ..own });
        let keys = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect()
        };
        let mut expected = keys(&recipe.to_toml());
        expected.retain(|key| !NETWORK.contains(&key.as_str()));
        assert_eq!(keys(&text), expected);
        assert!(expected.contains(&"init".to_owned()) && expected.contains(&"norm_momentum".to_owned()));
        Overrides::parse(&text).unwrap();
    }

    #[test]
    fn what_is_wrong_in_a_file_is_one_line_with_the_key() {
        for (text, key) in [
            ("steps = 3\nlr = \"fast\"\n", "lr"),
            ("steps = -1\n", "steps"),
            ("step_sise = 1.0\n", "step_sise"),
            ("recipe = \"jem+++\"\n", "recipe"),
            ("norm = \"spectral\"\n", "norm"),
            ("clamp_x = 1\n", "clamp_x"),
        ] {
            let message = Overrides::parse(text).unwrap_err();
            assert!(message.contains(key) && message.contains("line "), "{key}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
