//! Robustness: adversarial attacks as published, on any [`Victim`].
//!
//! [`Attack::run`] searches, for each image that the victim classifies right, a perturbation within a [`Threat`] after
//! which it does not. Radii are in units of [0, 1] pixels, while the images of models are in [-1, 1]; [`Threat`] alone
//! converts. Every adversarial image is measured in float64 and scored again before it counts. The random numbers of an
//! image depend on the seed and on its position in the set, not on the size of batches.
//!
//! - [`Classifier`] is a trained model; [`Refined`] a joint energy-based model behind SGLD, attacked adaptively;
//! - [`minimal_perturbations`] are the distances to the decision boundary that FAB finds;
//! - [`sanity_checks`] are those of Carlini et al. 2019, which show attacks that fail;
//! - [`distal`] makes images of a class from noise.

mod apgd;
mod attack;
mod checks;
mod classifier;
mod distal;
mod fab;
mod hyperplane;
mod losses;
mod noise;
mod pgd;
mod programs;
mod refined;
mod run;
#[cfg(test)]
mod small_network;
mod square;
mod start;
#[cfg(test)]
mod tests;
mod threat;
mod victim;

pub use attack::Attack;
pub use checks::{Check, sanity_checks};
pub use classifier::Classifier;
pub use distal::{Distal, DistalSettings, DistalStart, distal};
pub use fab::minimal_perturbations;
pub use losses::Loss;
pub use refined::{Backward, Refined, Refinement};
pub use run::{Attacked, Images};
pub use threat::{Norm, Threat, parse_epsilon};
pub use victim::{Answer, Victim};

/// A report of progress: it takes the fraction of the work that is done, an estimate, and returns whether to go on.
pub type Progress<'a> = &'a mut dyn FnMut(f64) -> bool;
