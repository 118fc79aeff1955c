//! The layout of the images, labels and metrics of an iteration.

use super::{IMAGES, LABELS, LOSS_FACTORS};
use crate::compute::loss_term::STATS;
use crate::device::{ProgramBuilder, View};
use crate::ebm::Recipe;
use crate::error::{Error, Result};
use crate::graph::{Graph, Indices, Leaf, Tensor};
use crate::nn::ingredients::Norm;
use std::ops::Range;

/// The alignment of views, in words.
const ALIGNMENT: usize = 64;

/// The layout of the images of an iteration.
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
    /// Whether each part goes through the network separately, as batch norm needs; else all parts go through together.
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

    /// Checks that the programs can handle the images: each part of the batch must start at a multiple of 64 words, and
    /// the reflect padding must be narrower than the image.
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
            let (multiple, got) = (images.unwrap_or(ALIGNMENT), self.data.max(self.samples));
            let near = (got / multiple * multiple).max(multiple);
            let message = format!(
                "must be a multiple of {multiple} for images of {height}x{width}x{channels}, such as {near}; got {got}"
            );
            return Err(Error::setting("batch", message));
        }
        Ok(())
    }

    /// The number of elements of an image.
    pub fn image(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The number of images in the batch.
    pub fn images(&self) -> usize {
        self.data + self.samples + self.labelled
    }

    /// The range of the images of a part.
    pub fn images_of(&self, role: BatchPart) -> Range<usize> {
        match role {
            BatchPart::Data => 0..self.data,
            BatchPart::Samples => self.data..self.data + self.samples,
            BatchPart::Labelled => self.data + self.samples..self.images(),
        }
    }

    /// The rows of labels and metrics of a part: its images, or, for separate parts, rows that start at a multiple of
    /// 64.
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

    /// The rows of labels and metrics of the labelled images in an iteration that has no others.
    pub fn early_rows(&self) -> Range<usize> {
        0..self.labelled
    }

    /// The number of rows of labels and metrics.
    pub fn rows(&self) -> usize {
        self.rows_of(BatchPart::Labelled).end
    }

    /// The word of [`super::METRICS`] with the squared parameter gradient norm, after the statistics.
    pub fn gradient_norm_word(&self) -> usize {
        (self.rows() * STATS).next_multiple_of(ALIGNMENT)
    }

    /// The word of [`super::METRICS`] with the squared norm of the last SGLD gradient.
    pub fn input_norm_word(&self) -> usize {
        self.gradient_norm_word() + ALIGNMENT
    }

    /// The word of [`super::METRICS`] with the squared displacement of the chains in the iteration.
    pub fn displacement_word(&self) -> usize {
        self.input_norm_word() + ALIGNMENT
    }

    /// The word of [`super::METRICS`] with the number of the samples' elements within ±[`super::SATURATED`].
    pub fn inside_word(&self) -> usize {
        self.displacement_word() + ALIGNMENT
    }

    /// The word of [`super::METRICS`] with the gradient penalty, a part of the loss.
    pub fn penalty_word(&self) -> usize {
        self.inside_word() + ALIGNMENT
    }

    /// The number of words of [`super::METRICS`].
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

    /// The factors of the losses of `rows` as a leaf.
    pub(super) fn factors(&self, graph: &Graph, rows: Range<usize>) -> Tensor {
        let leaf = Leaf {
            slot: LOSS_FACTORS.name().into(),
            words: self.rows(),
            offset: rows.start,
            parameter: false,
        };
        graph.leaf(leaf, [rows.len()])
    }

    /// The view of the images of a part.
    pub(super) fn view(&self, builder: &mut ProgramBuilder, role: BatchPart) -> View {
        let images = builder.external(IMAGES, self.images() * self.image());
        let range = self.images_of(role);
        images.part(range.start * self.image(), range.len() * self.image())
    }
}
