//! The programs of a training iteration, built once and replayed.
//!
//! | program | what | when |
//! |---|---|---|
//! | `gather` | data and labelled images from the data set's bytes; chains from the replay buffer, kept as they were | once an iteration |
//! | `prepare` | the transposed weights that input gradients read | once an iteration |
//! | `sgld` | forward, head, input gradient, SGLD update of the chains | K times |
//! | `scatter` | the chains back into the replay buffer; the last input gradient's norm, how far they went, saturated pixels | once |
//! | `update` | one pass over [data | samples | labelled], all gradients, their norm, the optimizer | once |

use super::Recipe;
pub use super::langevin::COUNTER_WORDS;
use super::langevin::{INPUT_GRADIENT, Langevin};
use crate::device::{Program, ProgramBuilder, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, Leaf, Output, Tensor, lower};
use crate::kernels::batch_gather::BatchGather;
use crate::kernels::binary::{Binary, BinaryOp};
use crate::kernels::choice::Choices;
use crate::kernels::copy::StridedCopy;
use crate::kernels::logit_loss::{LabelledLoss, Part, STATS};
use crate::kernels::replay_gather::ReplayGather;
use crate::kernels::replay_scatter::ReplayScatter;
use crate::kernels::tick::COUNTERS;
use crate::kernels::unary::{Unary, UnaryOp};
use crate::nn::optimizer::{GRADIENTS, gradient_norm, squared_norm};
use crate::nn::parameters::Layout;
use crate::nn::wide_resnet::WideResNet;

/// The external slot of the concatenated batch `[data | samples | labelled]`.
pub const IMAGES: &str = "images";
/// The external slot of its labels.
pub const LABELS: &str = "labels";
/// The external slot of the replay buffer.
pub const REPLAY: &str = "replay buffer";
/// The external slot of the data set's bytes.
pub const DATA: &str = "data set";
/// The external slot of what the host reads after each iteration.
pub const METRICS: &str = "metrics";
/// The external slot of the chains as the iteration found them.
const STARTS: &str = "chain starts";

/// A sample's element of this size or more is saturated: the clamp holds it, or images have no such value.
pub const SATURATED: f32 = 1.0 - 1e-6;

/// How the images of an iteration are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLayout {
    /// Images for log p(x); they come first.
    pub data: usize,
    /// Chains; they come second.
    pub samples: usize,
    /// Images for log p(y|x); they come last.
    pub labelled: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Channels of an image.
    pub channels: usize,
}

impl BatchLayout {
    /// The layout of `recipe` for images of this size.
    pub fn new(recipe: &Recipe, height: usize, width: usize, channels: usize) -> Self {
        let data = if recipe.p_x != 0.0 { recipe.batch } else { 0 };
        let samples = if recipe.samples() { recipe.batch } else { 0 };
        let labelled = if recipe.p_y_given_x != 0.0 || recipe.p_xy != 0.0 { recipe.batch } else { 0 };
        Self { data, samples, labelled, height, width, channels }
    }

    /// Checks that the programs can take the images apart: each part of the batch starts at a multiple of 64
    /// words, and a reflected margin is narrower than the image.
    ///
    /// # Errors
    /// [`Error::Setting`] for `batch` or `pad`.
    pub fn check(&self, pad: usize) -> Result<()> {
        let Self { height, width, channels, .. } = *self;
        if pad >= height.min(width) {
            let message = format!("must be below the images' {height}x{width}, got {pad}");
            return Err(Error::setting("pad", message));
        }
        let starts = [self.data, self.data + self.samples];
        if starts.iter().any(|start| !(start * self.image()).is_multiple_of(64)) {
            let images = (1..=64).find(|n| (n * self.image()).is_multiple_of(64)).unwrap_or(64);
            let message = format!(
                "must be a multiple of {images} for images of {height}x{width}x{channels}, got {}",
                self.data.max(self.samples)
            );
            return Err(Error::setting("batch", message));
        }
        Ok(())
    }

    /// Elements of one image.
    pub fn image(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// All images.
    pub fn images(&self) -> usize {
        self.data + self.samples + self.labelled
    }

    /// The word of [`METRICS`] with the squared parameter gradient norm; the stats are in front.
    pub fn gradient_norm_word(&self) -> usize {
        (self.images() * STATS).next_multiple_of(64)
    }

    /// The word of [`METRICS`] with the squared norm of the last SGLD gradient.
    pub fn input_norm_word(&self) -> usize {
        self.gradient_norm_word() + 64
    }

    /// The word of [`METRICS`] with the squared distance that the chains went in the iteration.
    pub fn displacement_word(&self) -> usize {
        self.input_norm_word() + 64
    }

    /// The word of [`METRICS`] with the number of the samples' elements inside of [`SATURATED`].
    pub fn inside_word(&self) -> usize {
        self.displacement_word() + 64
    }

    /// The words of [`METRICS`].
    pub fn metrics_words(&self) -> usize {
        self.inside_word() + 1
    }

    /// `count` images from image `first` on as a leaf.
    fn leaf(&self, graph: &Graph, first: usize, count: usize) -> Tensor {
        let words = self.images() * self.image();
        let leaf = Leaf { slot: IMAGES.into(), words, offset: first * self.image(), parameter: false };
        graph.leaf(leaf, [count, self.height, self.width, self.channels])
    }

    fn view(&self, builder: &mut ProgramBuilder, first: usize, count: usize) -> View {
        let images = builder.external(IMAGES, self.images() * self.image());
        images.part(first * self.image(), count * self.image())
    }
}

/// All programs of an iteration.
#[derive(Debug)]
pub struct Programs {
    /// Fills the batch.
    pub gather: Program,
    /// Transposes weights.
    pub prepare: Program,
    /// One SGLD step; `None` without samples.
    pub sgld: Option<Program>,
    /// Puts the chains back; `None` without samples.
    pub scatter: Option<Program>,
    /// The optimizer step.
    pub update: Program,
}

impl Programs {
    /// Builds the programs for a data set of `data_images` training images and a device of these `choices`.
    ///
    /// # Errors
    /// A mistake in shapes, or an unknown optimizer.
    pub fn build(
        recipe: &Recipe,
        network: &WideResNet,
        batch: BatchLayout,
        data_images: usize,
        choices: Choices,
    ) -> Result<Self> {
        let layout = network.layout();
        let mut prepare = ProgramBuilder::new("prepare");
        let sampling = batch.samples > 0;
        let sgld = sampling
            .then(|| sgld_program(recipe, network, &layout, batch, choices.clone(), &mut prepare))
            .transpose()?;
        let update = update_program(recipe, network, &layout, batch, choices, &mut prepare)?;
        Ok(Self {
            gather: gather_program(recipe, batch, data_images),
            prepare: prepare.finish(),
            sgld,
            scatter: sampling.then(|| scatter_program(recipe, batch)),
            update,
        })
    }
}

fn gather_program(recipe: &Recipe, batch: BatchLayout, data_images: usize) -> Program {
    let mut builder = ProgramBuilder::new("gather");
    let counters = builder.external(COUNTER_WORDS, COUNTERS);
    let parts =
        [("data indices", 0, batch.data), ("labelled indices", batch.data + batch.samples, batch.labelled)];
    for (stream, (slot, first, count)) in parts.into_iter().enumerate().filter(|(_, (.., count))| *count > 0)
    {
        let kernel = BatchGather {
            batch: count,
            h: batch.height,
            w: batch.width,
            c: batch.channels,
            images: data_images,
            pad: recipe.pad,
            flip: recipe.flip,
            noise: recipe.input_noise,
            stream: stream as u32,
            shard_words: BatchGather::SHARD_WORDS,
        };
        let data = builder.external(DATA, kernel.data_words());
        let indices = builder.external(slot, count);
        let out = batch.view(&mut builder, first, count);
        let mut shards = kernel.data_parts().into_iter().map(|(first, words)| data.part(first, words));
        let mut views: Vec<View> = shards.next().into_iter().collect();
        views.extend([indices, counters, out]);
        views.extend(shards);
        builder.dispatch(slot, kernel, &views);
    }
    if batch.samples > 0 {
        let image = batch.image();
        let kernel = ReplayGather {
            batch: batch.samples,
            size: recipe.buffer,
            image,
            reinitialise: recipe.reinitialise,
        };
        let replay = builder.external(REPLAY, recipe.buffer * image);
        let indices = builder.external("chain indices", batch.samples);
        let out = batch.view(&mut builder, batch.data, batch.samples);
        builder.dispatch("chains", kernel, &[replay, indices, counters, out]);
        let n = batch.samples * image;
        let starts = builder.external(STARTS, n);
        let copy = StridedCopy { shape: [1, 1, 1, n], strides: [0, 0, 0, 1] };
        builder.dispatch("chain starts", copy, &[out, starts]);
    }
    builder.finish()
}

/// One SGLD step on the samples of the batch.
///
/// # Errors
/// A mistake in shapes.
pub fn sgld_program(
    recipe: &Recipe,
    network: &WideResNet,
    layout: &Layout,
    batch: BatchLayout,
    choices: Choices,
    prepare: &mut ProgramBuilder,
) -> Result<Program> {
    let count = batch.samples;
    let graph = Graph::new();
    let x = batch.leaf(&graph, batch.data, count);
    let labels = graph.input("chain labels", [count]);
    let part = Langevin::log_density(count, recipe.class_conditional);
    let log_density = network.logits(layout, &x).logit_loss(&labels, &[part]);
    let mut builder = ProgramBuilder::new("sgld").choosing(choices);
    let images = batch.view(&mut builder, batch.data, count);
    Langevin::of(recipe).append(&mut builder, prepare, &log_density, &x, images, &[], None)?;
    Ok(builder.finish())
}

fn scatter_program(recipe: &Recipe, batch: BatchLayout) -> Program {
    let mut builder = ProgramBuilder::new("scatter");
    let image = batch.image();
    let x = batch.view(&mut builder, batch.data, batch.samples);
    let indices = builder.external("chain indices", batch.samples);
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
    // Ones and zeros are their own squares.
    let inside = builder.transient("pixels inside", n);
    builder.dispatch("pixels inside", Unary { op: UnaryOp::Inside(-SATURATED, SATURATED), n }, &[x, inside]);
    squared_norm(&mut builder, "pixels inside", inside, n, metrics.part(batch.inside_word(), 1));
    builder.finish()
}

/// The parts of the loss: means over each part, so weights are divided by its images.
///
/// `loss = p_x (mean f(samples) - mean f(data)) + p_y_given_x mean labelled_loss(labelled)
///       + p_xy (mean f(samples)[y] - mean f(labelled)[y]) + energy_l2 (mean f² over data, and over samples)`,
/// with `f(x) = LogSumExp_y f(x)[y]`, and f² averaged over classes. The labelled loss is the cross-entropy or a
/// [`crate::kernels::functional::Functional`].
///
/// # Errors
/// [`Error::Setting`] for a labelled loss that there is not.
pub fn loss_parts(recipe: &Recipe, batch: BatchLayout, classes: usize) -> Result<Vec<Part>> {
    let mean = |weight: f32, count: usize| weight / count as f32;
    let weight = mean(recipe.p_y_given_x, batch.labelled);
    let labelled = recipe.functional()?.map(|functional| LabelledLoss { weight, functional });
    let l2 = |count: usize| mean(recipe.energy_l2, count * classes);
    let data = Part {
        count: batch.data,
        log_p_x: mean(-recipe.p_x, batch.data),
        l2: l2(batch.data),
        ..Part::default()
    };
    let samples = Part {
        count: batch.samples,
        log_p_x: mean(recipe.p_x, batch.samples),
        logit_y: mean(recipe.p_xy, batch.samples),
        l2: l2(batch.samples),
        ..Part::default()
    };
    let labelled = Part {
        count: batch.labelled,
        cross_entropy: if labelled.is_none() { weight } else { 0.0 },
        logit_y: mean(-recipe.p_xy, batch.labelled),
        labelled,
        ..Part::default()
    };
    Ok([data, samples, labelled].into_iter().filter(|part| part.count > 0).collect())
}

fn update_program(
    recipe: &Recipe,
    network: &WideResNet,
    layout: &Layout,
    batch: BatchLayout,
    choices: Choices,
    prepare: &mut ProgramBuilder,
) -> Result<Program> {
    let graph = Graph::new();
    let x = batch.leaf(&graph, 0, batch.images());
    let labels = graph.input(LABELS, [batch.images()]);
    let parts = loss_parts(recipe, batch, network.classes)?;
    let logits = network.logits(layout, &x);
    let loss = logits.logit_loss(&labels, &parts);
    let stats = logits.logit_stats(&labels, &parts);
    let leaves = layout.leaves(&graph);
    let gradients = graph.grad(&loss, &leaves.iter().collect::<Vec<_>>());
    let mut builder = ProgramBuilder::new("update").choosing(choices);
    let flat = builder.external(GRADIENTS, layout.words());
    let metrics = builder.external(METRICS, batch.metrics_words());
    let mut outputs = vec![Output { tensor: &stats, view: metrics.part(0, batch.images() * STATS) }];
    for (parameter, tensor) in layout.trained().zip(&gradients) {
        outputs.push(Output { tensor, view: flat.part(parameter.offset, parameter.elements()) });
    }
    lower(&mut builder, Some(prepare), &outputs)?;
    let norm = metrics.part(batch.gradient_norm_word(), 1);
    gradient_norm(&mut builder, layout.words(), norm);
    let clip = (recipe.clip_norm > 0.0).then_some(recipe.clip_norm);
    recipe.optimizer()?.step(&mut builder, layout.words(), clip, norm);
    Ok(builder.finish())
}
