//! Evaluation of trained models: classification, calibration, out-of-distribution detection, robustness and generation.
//!
//! *Measurements* run a model on a device: logits, input gradients, features, adversarial images, samples. They are kept
//! on disk ([`store`]). *Figures* are functions of measurements, in float64 on the host, each with a bootstrap interval
//! ([`bootstrap`]). [`evaluate`] makes both and writes the report. The formula and the source of every figure are in
//! `docs/evaluation.md`.

pub mod attacks;
pub mod bootstrap;
pub mod calibration;
pub mod classification;
pub mod detection;
mod evaluate;
mod format;
pub mod generation;
mod job;
pub mod odin;
#[cfg(test)]
mod peer;
pub mod predictions;
pub mod published;
pub mod scores;
mod sections;
pub mod sets;
pub mod store;
mod subject;

pub use evaluate::{Report, evaluate};
pub use job::{GoesOn, Unwatched, Watch};
pub use sections::generation::{SampleStart, Samples};
pub use sections::robustness::{Attacks, Attempt, RefinementSettings};
pub use subject::{EvaluationData, ImageSet, Labels, Subject};

use crate::nn::architecture::NormMode;

/// A part of an evaluation. Classification is always one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Calibration errors, reliability, temperature.
    Calibration,
    /// Out-of-distribution detection.
    Ood,
    /// Adversarial attacks.
    Robustness,
    /// Samples, and how near they are to the data.
    Generation,
}

/// The settings of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The parts to evaluate.
    pub parts: Vec<Part>,
    /// The statistics that batch normalisation uses.
    pub mode: NormMode,
    /// Images per batch.
    pub batch: usize,
    /// The number of images of each set, from its first on, that ODIN scores; it takes as long as three passes.
    pub odin_images: usize,
    /// Whether to add the published figures of the family.
    pub published: bool,
    /// The attacks.
    pub attacks: Attacks,
    /// The samples.
    pub samples: Samples,
    /// The seed of resamples and of all random numbers.
    pub seed: u32,
}

impl Settings {
    /// Everything, for a test set of `images` images.
    pub fn standard(images: usize) -> Self {
        Self {
            parts: vec![Part::Calibration, Part::Ood, Part::Robustness, Part::Generation],
            mode: NormMode::Inference,
            batch: 100,
            odin_images: 1000,
            published: false,
            attacks: Attacks::standard(images),
            samples: Samples::standard(),
            seed: 0,
        }
    }

    /// Whether to evaluate `part`.
    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}
