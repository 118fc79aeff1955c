//! The programs of a training iteration, built once and replayed.
//!
//! | program | what | when |
//! |---|---|---|
//! | `gather` | images from the data set's bytes; chains from the replay buffer, with a copy of them | once |
//! | `power_iteration` | with spectral norm: a step of power iteration | once |
//! | `prepare` | results of parameters only, such as transposed weights for input gradients | once; twice with SAM |
//! | `sgld` | forward, head, input gradient, SGLD update of the chains | K times |
//! | `perturb` | with SAM: all gradients, and the weights to their perturbed values | once |
//! | `update` | one pass over [data | samples | labelled], all gradients, their norm, the optimizer | once |
//! | `scatter` | the chains to the replay buffer; last input gradient's norm, displacement, saturated pixels | once |
//!
//! Before `p_x_after` only `gather`, `power_iteration`, `prepare`, and a `perturb` and `update` of the labelled images run.
//!
//! An iteration may be stopped before the optimizer's first dispatch. Until then it has changed only buffers that the
//! next one overwrites, and parameters that `undo` restores.

mod gather;
mod layout;
mod sampling;
mod update;

pub use super::langevin::COUNTER_WORDS;
use super::{ChainStart, Recipe};
use crate::device::{Buffers, Key, Program, ProgramBuilder};
use crate::error::Result;
use crate::graph::{Graph, lower};
use crate::kernels::adam::CONTROL;
use crate::kernels::tick::COUNTERS;
use crate::nn::network::Network;
use crate::nn::optimizer::{self, CONTROL_WORDS};
use crate::nn::parameters::ParameterLayout;
use crate::nn::spectral_norm;
use crate::policy::convolution::ConvolutionPolicy;
pub use layout::{BatchLayout, BatchPart};
pub use sampling::sgld_program;
use update::LossPrograms;
pub use update::{held_gap, loss_terms};

/// The external slot of the concatenated batch `[data | samples | labelled]`.
pub const IMAGES: Key<f32> = Key::new("images");
/// The external slot of its labels.
pub const LABELS: Key<u32> = Key::new("labels");
/// The external slot of the replay buffer.
pub const REPLAY: Key<f32> = Key::new("replay buffer");
/// The external slot of the data set's bytes.
pub const DATA: Key<u8> = Key::new("data set");
/// The external slot of the metrics that the host reads after each iteration.
pub const METRICS: Key<f32> = Key::new("metrics");
/// The external slot of the indices of the images for p(x).
pub(super) const DATA_INDICES: Key<u32> = Key::new("data indices");
/// The external slot of the indices of the images for p(y|x).
pub(super) const LABELLED_INDICES: Key<u32> = Key::new("labelled indices");
/// The external slot of the chains' entries in the replay buffer.
pub(super) const CHAIN_INDICES: Key<u32> = Key::new("chain indices");
/// The external slot of the chains' classes.
pub const CHAIN_LABELS: Key<u32> = Key::new("chain labels");
/// The external slot of the entries that the chains are written to with reservoir sampling.
pub(super) const CHAIN_TARGETS: Key<u32> = Key::new("chain targets");
/// The external slot of the factor of each row's loss, where it changes from iteration to iteration.
pub(super) const LOSS_FACTORS: Key<f32> = Key::new("loss factors");
/// The external slot of the images of chains that restart.
pub(super) const FRESH_CHAINS: Key<f32> = Key::new("fresh chains");
/// The external slot of the chains at the start of the iteration.
const STARTS: Key<f32> = Key::new("chain starts");

/// The absolute value from which a sample's element counts as saturated: it is at the clamp, or outside the range of
/// images.
pub const SATURATED: f32 = 1.0 - 1e-6;

/// All programs of an iteration.
#[derive(Debug)]
pub struct Programs {
    /// Fills the batch.
    pub gather: Program,
    /// Runs a step of spectral norm's power iteration; `None` without spectral norm.
    pub power_iteration: Option<Program>,
    /// Computes results that depend on parameters only, such as transposed weights.
    pub prepare: Program,
    /// Runs one SGLD step; `None` without samples.
    pub sgld: Option<Program>,
    /// The perturbation of sharpness-aware minimisation, after which `prepare` must run again; `None` without SAM.
    pub perturb: Option<Program>,
    /// The optimizer step.
    pub update: Program,
    /// The programs that take the places of `perturb` and `update` before log p(x) joins; `None` if it does at once.
    pub early: Option<Early>,
    /// Writes the chains to the replay buffer; `None` without samples.
    pub scatter: Option<Program>,
    /// The programs that restore the parameters after an iteration that is stopped before its optimizer step.
    pub undo: Undo,
}

/// The programs that restore parameters.
#[derive(Debug)]
pub struct Undo {
    /// Restores the parameters that are not trained, such as running statistics; `None` if there are none.
    pub statistics: Option<Program>,
    /// Restores the parameters that `perturb` has changed; `None` without SAM.
    pub perturbation: Option<Program>,
}

impl Undo {
    fn new(recipe: &Recipe, layout: &ParameterLayout) -> Self {
        let (words, trained) = (layout.words(), layout.trained_words());
        let statistics = (words > trained).then(|| {
            let mut builder = ProgramBuilder::new("undo statistics");
            optimizer::restore_untrained(&mut builder, layout);
            builder.finish()
        });
        let perturbation = (recipe.sam > 0.0).then(|| {
            let mut builder = ProgramBuilder::new("undo perturbation");
            optimizer::unperturb(&mut builder, words, trained);
            builder.finish()
        });
        Self { statistics, perturbation }
    }
}

/// The programs that train p(y|x) alone.
#[derive(Debug)]
pub struct Early {
    /// The perturbation of sharpness-aware minimisation; `None` without SAM.
    pub perturb: Option<Program>,
    /// The optimizer step.
    pub update: Program,
}

impl Programs {
    /// Builds the programs for a data set of `data_images` training images, with the convolution kernels that `policy`
    /// chooses.
    ///
    /// # Errors
    /// A shape error of the graph, or an unknown optimizer.
    pub fn build(
        recipe: &Recipe,
        network: &dyn Network,
        batch: BatchLayout,
        data_images: usize,
        policy: &ConvolutionPolicy,
    ) -> Result<Self> {
        let layout = network.layout();
        let mut prepare = ProgramBuilder::new("prepare");
        let sampling = batch.samples > 0;
        let sgld = sampling
            .then(|| sgld_program(recipe, network, &layout, batch, policy, &mut prepare))
            .transpose()?;
        let losses = LossPrograms { recipe, network, layout: &layout, batch, policy, early: false };
        let early = LossPrograms { early: true, ..losses.clone() };
        let mut pair = |losses: LossPrograms<'_>| -> Result<_> {
            let perturb = (recipe.sam > 0.0).then(|| losses.perturb(&mut prepare)).transpose()?;
            Ok((perturb, losses.update(&mut prepare)?))
        };
        let (perturb, update) = pair(losses)?;
        let early = recipe.is_early(0).then(|| pair(early)).transpose()?;
        Ok(Self {
            gather: gather::program(recipe, &layout, batch, data_images),
            power_iteration: layout
                .has_spectral_norm()
                .then(|| power_iteration_program(&layout))
                .transpose()?,
            prepare: prepare.finish(),
            sgld,
            perturb,
            update,
            early: early.map(|(perturb, update)| Early { perturb, update }),
            scatter: sampling.then(|| sampling::scatter_program(recipe, batch)),
            undo: Undo::new(recipe, &layout),
        })
    }
}

fn power_iteration_program(layout: &ParameterLayout) -> Result<Program> {
    let mut builder = ProgramBuilder::new("power iteration");
    let next = spectral_norm::power_iteration(layout, &Graph::new());
    let outputs = layout.outputs(&mut builder, &next);
    lower(&ConvolutionPolicy::default(), &mut builder, None, &outputs)?;
    Ok(builder.finish())
}

/// Creates the buffers that the host writes before each iteration, and those of the state that the programs carry over;
/// existing buffers are kept.
///
/// # Errors
/// The errors of [`crate::device::Device::buffer`].
pub fn make_inputs(
    buffers: &mut Buffers,
    recipe: &Recipe,
    batch: BatchLayout,
    layout: &ParameterLayout,
) -> Result<()> {
    buffers.zeros(COUNTER_WORDS, COUNTERS)?;
    buffers.zeros(CONTROL_WORDS, CONTROL)?;
    buffers.zeros(LABELS, batch.rows())?;
    if batch.data > 0 {
        buffers.zeros(DATA_INDICES, batch.data)?;
    }
    if batch.labelled > 0 {
        buffers.zeros(LABELLED_INDICES, batch.labelled)?;
    }
    if batch.samples > 0 {
        buffers.zeros(CHAIN_INDICES, batch.samples)?;
        buffers.zeros(CHAIN_LABELS, batch.samples)?;
        buffers.zeros(REPLAY, recipe.buffer * batch.image())?;
        if recipe.p_x_ramp > 0 {
            buffers.zeros(LOSS_FACTORS, batch.rows())?;
        }
        if recipe.reservoir {
            buffers.zeros(CHAIN_TARGETS, batch.samples)?;
        }
        if recipe.start == ChainStart::Gaussian {
            buffers.zeros(FRESH_CHAINS, batch.samples * batch.image())?;
        }
    }
    recipe.optimizer().state().iter().try_for_each(|&slot| buffers.zeros(slot, layout.words()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::submissions;
    use crate::ebm::Preset;
    use std::time::Duration;

    #[test]
    fn an_iteration_of_wide_resnet_28_10_takes_few_submissions() {
        let recipe = Preset::Paper.recipe();
        let network = recipe.network(10, 3);
        let batch = BatchLayout::new(&recipe, 32, 32, 3);
        let policy = ConvolutionPolicy::default();
        let programs = Programs::build(&recipe, &network, batch, 50_000, &policy).unwrap();
        let steps = std::iter::repeat_n(programs.sgld.as_ref().unwrap(), recipe.steps);
        let before_steps = [&programs.gather, &programs.prepare];
        let after_steps = [&programs.update, programs.scatter.as_ref().unwrap()];
        let iteration: Vec<_> = before_steps.into_iter().chain(steps).chain(after_steps).collect();
        let devices: [fn(Duration) -> f64; 3] = [|_| 50e12, |_| 150e12, |_| 300e12];
        let counts = devices.map(|device| submissions(&iteration, ConvolutionPolicy::HARDWARE, device));
        // At least one for each of 24 programs.
        assert_eq!(counts, [(188, 51), (188, 26), (188, 25)]);
    }
}
