//! Joint energy-based models: Grathwohl et al. 2019, "Your classifier is secretly an energy based model and
//! you should treat it like one".
//!
//! A classifier's logits `f(x)[y]` define `p(x, y) ∝ exp f(x)[y]`, so `log p(x) = LogSumExp_y f(x)[y] + const`, the
//! energy is `E(x) = -LogSumExp_y f(x)[y]`, and softmax gives p(y|x). Training maximises log p(y|x) + log p(x);
//! the gradient of log p(x) is that of LogSumExp at data minus that at samples of the model, which are drawn by
//! stochastic gradient Langevin dynamics (SGLD) from chains kept in a replay buffer (persistent contrastive
//! divergence).

mod auto;
mod batches;
mod chain_source;
mod chain_start;
mod chains;
mod density;
pub(crate) mod discriminant;
mod evaluator;
mod export;
mod family;
mod for_data;
mod fresh_chains;
mod gaussians;
mod guard;
mod healing;
mod import;
pub mod langevin;
mod metrics;
mod model;
mod precision;
mod preset;
pub mod programs;
mod recipe;
mod run;
mod run_directory;
mod sampler;
mod sampling;
mod scan;
mod scorer;
mod start;
mod trained;
mod trainer;

pub use crate::nn::normalised::InputNormalisation;
pub use auto::{Choice, Timing, choose, choose_with};
pub use chain_source::ChainSource;
pub use chain_start::ChainStart;
pub use density::DensitySampler;
pub use evaluator::{Evaluation, Evaluator};
pub use export::SpectralForm;
pub use family::Family;
pub use for_data::{check_recipe, recipe_for};
pub use fresh_chains::{FreshChains, FreshEnergies, FreshGap};
pub use gaussians::ClassGaussians;
pub use guard::{Fault, Guard};
pub use healing::Healing;
pub use import::ImportOptions;
pub use langevin::Langevin;
pub use metrics::Metrics;
pub use model::{CLASS_NAMES, Model, REPLAY_BUFFER};
pub use precision::Precision;
pub use preset::Preset;
pub use programs::{BatchLayout, BatchPart, Programs, held_gap, loss_terms, sgld_program};
pub use recipe::{ClassificationLoss, OptimizerKind, Overrides, Recipe};
pub use run::{Outcome, RunOptions, run};
pub use run_directory::{Best, Recovered, RunDirectory};
pub use sampler::{Sampler, uniform_image};
pub use sampling::{Moment, Observer, Sampling};
pub use scan::scan;
pub use scorer::{Posterior, ScoreSettings, Scorer, Scores, ranking};
pub use start::{NetworkRecord, Start};
pub use trainer::Trainer;
