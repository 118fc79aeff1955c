//! Evaluation of trained models: classification, calibration, out-of-distribution detection, robustness and generation.
//!
//! *Measurements* run a model on a device: logits, input gradients, features, adversarial images, samples. *Figures*
//! are functions of measurements, in float64 on the host, each with a bootstrap interval ([`bootstrap`]). The formula
//! and the source of every figure are in `docs/evaluation.md`.

pub mod bootstrap;
pub mod generation;
