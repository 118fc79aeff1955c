//! The names of JEM's recipes. `recipe/published.rs` has their settings.

use crate::named::named;

/// A published method of training a joint energy-based model, or a baseline for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    JemPlusPlus,
    /// Yang, Su & Ji, ECML 2023: JEM++ with sharpness-aware minimisation and no augmentation of p(x)'s images.
    SadaJem,
    /// JEM with few labels: p(x) is trained on all images, p(y|x) on `labels_per_class` of each class.
    SemiSupervised,
    /// log p(x) alone, with a scalar energy instead of a logit for each class, like `--uncond` of Grathwohl et al.'s
    /// code.
    Unconditional,
}

named!(
    Family, "recipe":
    Classifier = "classifier",
    Jem = "jem",
    JemClassConditional = "jem-class-conditional",
    JemJoint = "jem-joint",
    JemPlusPlus = "jem++",
    SadaJem = "sada-jem",
    SemiSupervised = "semi-supervised",
    Unconditional = "unconditional",
);
