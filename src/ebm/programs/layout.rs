//! Where the images, labels and figures of an iteration lie.

use super::{IMAGES, LABELS};
use crate::compute::loss_term::STATS;
use crate::device::{ProgramBuilder, View};
use crate::ebm::Recipe;
use crate::error::{Error, Result};
use crate::graph::{Graph, Indices, Leaf, Tensor};
use crate::nn::wide_resnet::Norm;
use std::ops::Range;

/// Views start at multiples of this many words.
const ALIGNMENT: usize = 64;

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
    /// Whether each part goes through the network by itself, as batch norm wants it; else all go at once.
    pub separate: bool,
}

/// A part of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchPart {
    /// Images for log p(x).
    Data,
    /// Chains.
    Samples,
    /// Images for log p(y|x).
    Labelled,
}

impl BatchLayout {
    /// The layout of `recipe` for images of this size.
    pub fn new(recipe: &Recipe, height: usize, width: usize, channels: usize) -> Self {
        let data = if recipe.p_x != 0.0 { recipe.batch } else { 0 };
        let samples = if recipe.samples() { recipe.batch } else { 0 };
        let labelled = if recipe.p_y_given_x != 0.0 || recipe.p_xy != 0.0 { recipe.labelled() } else { 0 };
        let separate = recipe.norm == Norm::Batch;
        Self { data, samples, labelled, height, width, channels, separate }
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
        if starts.iter().any(|start| !(start * self.image()).is_multiple_of(ALIGNMENT)) {
            let images = (1..=ALIGNMENT).find(|n| (n * self.image()).is_multiple_of(ALIGNMENT));
            let message = format!(
                "must be a multiple of {} for images of {height}x{width}x{channels}, got {}",
                images.unwrap_or(ALIGNMENT),
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

    /// The images of a part.
    pub fn images_of(&self, role: BatchPart) -> Range<usize> {
        match role {
            BatchPart::Data => 0..self.data,
            BatchPart::Samples => self.data..self.data + self.samples,
            BatchPart::Labelled => self.data + self.samples..self.images(),
        }
    }

    /// The rows of labels and figures of a part: its images, or, where parts go apart, from a multiple of 64 on.
    pub fn rows_of(&self, role: BatchPart) -> Range<usize> {
        if !self.separate {
            return self.images_of(role);
        }
        let first = match role {
            BatchPart::Data => 0,
            BatchPart::Samples => self.data.next_multiple_of(ALIGNMENT),
            BatchPart::Labelled => {
                self.data.next_multiple_of(ALIGNMENT) + self.samples.next_multiple_of(ALIGNMENT)
            }
        };
        first..first + self.images_of(role).len()
    }

    /// All rows of labels and figures.
    pub fn rows(&self) -> usize {
        self.rows_of(BatchPart::Labelled).end
    }

    /// The word of [`super::METRICS`] with the squared parameter gradient norm; the stats are in front.
    pub fn gradient_norm_word(&self) -> usize {
        (self.rows() * STATS).next_multiple_of(ALIGNMENT)
    }

    /// The word of [`super::METRICS`] with the squared norm of the last SGLD gradient.
    pub fn input_norm_word(&self) -> usize {
        self.gradient_norm_word() + ALIGNMENT
    }

    /// The word of [`super::METRICS`] with the squared distance that the chains went in the iteration.
    pub fn displacement_word(&self) -> usize {
        self.input_norm_word() + ALIGNMENT
    }

    /// The word of [`super::METRICS`] with the number of the samples' elements inside of [`super::SATURATED`].
    pub fn inside_word(&self) -> usize {
        self.displacement_word() + ALIGNMENT
    }

    /// The word of [`super::METRICS`] with the gradient penalty's part of the loss.
    pub fn penalty_word(&self) -> usize {
        self.inside_word() + ALIGNMENT
    }

    /// The words of [`super::METRICS`].
    pub fn metrics_words(&self) -> usize {
        self.penalty_word() + 1
    }

    /// The images of `range` as a leaf.
    pub(super) fn leaf(&self, graph: &Graph, range: Range<usize>) -> Tensor {
        let words = self.images() * self.image();
        let leaf =
            Leaf { slot: IMAGES.name().into(), words, offset: range.start * self.image(), parameter: false };
        graph.leaf(leaf, [range.len(), self.height, self.width, self.channels])
    }

    /// The labels of `rows` as a leaf.
    pub(super) fn labels(&self, graph: &Graph, rows: Range<usize>) -> Indices {
        let leaf =
            Leaf { slot: LABELS.name().into(), words: self.rows(), offset: rows.start, parameter: false };
        graph.indices_leaf(leaf, [rows.len()])
    }

    /// Where the images of a part lie.
    pub(super) fn view(&self, builder: &mut ProgramBuilder, role: BatchPart) -> View {
        let images = builder.external(IMAGES, self.images() * self.image());
        let range = self.images_of(role);
        images.part(range.start * self.image(), range.len() * self.image())
    }
}
