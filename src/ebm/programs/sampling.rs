//! SGLD on the chains of an iteration, and their return to the replay buffer.

use super::layout::{BatchLayout, BatchPart};
use super::{CHAIN_INDICES, CHAIN_LABELS, CHAIN_TARGETS, METRICS, REPLAY, SATURATED, STARTS};
use crate::device::{Program, ProgramBuilder};
use crate::ebm::Recipe;
use crate::ebm::langevin::{INPUT_GRADIENT, Langevin};
use crate::error::Result;
use crate::graph::Graph;
use crate::kernels::binary::{Binary, BinaryOp};
use crate::kernels::replay_scatter::ReplayScatter;
use crate::kernels::unary::{Unary, UnaryOp};
use crate::nn::batch_norm::NormMode;
use crate::nn::network::{Network, Pass};
use crate::nn::optimizer::squared_norm;
use crate::nn::parameters::ParameterLayout;
use crate::policy::convolution::ConvolutionPolicy;

/// One SGLD step on the samples of the batch. Batch norm uses the chains' own statistics, as in training; dropout is
/// off, because JEM samples in inference mode.
///
/// # Errors
/// A shape error of the graph.
pub fn sgld_program(
    recipe: &Recipe,
    network: &dyn Network,
    layout: &ParameterLayout,
    batch: BatchLayout,
    policy: &ConvolutionPolicy,
    prepare: &mut ProgramBuilder,
) -> Result<Program> {
    let count = batch.samples;
    let graph = Graph::new();
    let x = batch.leaf(&graph, batch.images_of(BatchPart::Samples));
    let labels = graph.indices(CHAIN_LABELS.name(), [count]);
    let part = Langevin::log_density(count, recipe.class_conditional);
    let mut pass = Pass::new(layout, NormMode::in_training(layout)).without_dropout();
    let log_density = network.logits(&x, &mut pass).logit_loss(&labels, &[part]);
    let mut builder = ProgramBuilder::new("sgld");
    let images = batch.view(&mut builder, BatchPart::Samples);
    Langevin::of(recipe).append(policy, &mut builder, prepare, &log_density, &x, images, &[], None)?;
    Ok(builder.finish())
}

/// Writes the chains to the replay buffer, and measures them.
pub(super) fn scatter_program(recipe: &Recipe, batch: BatchLayout) -> Program {
    let mut builder = ProgramBuilder::new("scatter");
    let image = batch.image();
    let x = batch.view(&mut builder, BatchPart::Samples);
    let indices = if recipe.reservoir { CHAIN_TARGETS } else { CHAIN_INDICES };
    let indices = builder.external(indices, batch.samples);
    let replay = builder.external(REPLAY, recipe.buffer * image);
    let kernel = ReplayScatter { batch: batch.samples, size: recipe.buffer, image };
    builder.dispatch("chains", kernel, &[x, indices, replay]);
    let n = batch.samples * image;
    let metrics = builder.external(METRICS, batch.metrics_words());
    let gradient = builder.external(INPUT_GRADIENT, n);
    squared_norm(&mut builder, "input gradient norm", gradient, n, metrics.part(batch.input_norm_word(), 1));
    let starts = builder.external(STARTS, n);
    let way = builder.transient("chain displacement", n);
    let strides = [0, 0, 0, 1];
    let difference =
        Binary { op: BinaryOp::Sub, shape: [1, 1, 1, n], a_strides: strides, b_strides: strides };
    builder.dispatch("chain displacement", difference, &[x, starts, way]);
    squared_norm(&mut builder, "chain displacement", way, n, metrics.part(batch.displacement_word(), 1));
    // The elements are 0 or 1, so their squares sum to their count.
    let inside = builder.transient("pixels inside", n);
    builder.dispatch("pixels inside", Unary { op: UnaryOp::Inside(-SATURATED, SATURATED), n }, &[x, inside]);
    squared_norm(&mut builder, "pixels inside", inside, n, metrics.part(batch.inside_word(), 1));
    builder.finish()
}
