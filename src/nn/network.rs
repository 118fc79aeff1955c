//! The interface of networks: parameters, logits, and the name of the network in files.

use super::batch_norm::{self, NormMode};
use super::parameters::ParameterLayout;
use crate::error::{Error, Result};
use crate::graph::{Counters, Tensor};
use crate::words::counted;
use std::collections::BTreeMap;
use std::fmt;

/// The metadata key of [`Network::kind`].
pub const KIND: &str = "architecture";
/// The metadata key of [`Network::settings`].
pub const SETTINGS: &str = "network";

/// The kinds of the library's own networks.
const KINDS: [&str; 4] = ["wide-resnet", "resnet", "cifar-resnet", "vgg"];

/// Whether files of the library's own networks name this kind.
pub(crate) fn is_known_kind(kind: &str) -> bool {
    KINDS.contains(&kind)
}

/// A network that turns images into logits f(x), and so an energy `E(x) = -LogSumExp_y f(x)[y]`. With one class
/// that is `E(x) = -f(x)`, and the network is an energy alone. It can be trained, evaluated, scored and sampled.
///
/// Shapes: images are `[n, h, w, channels]` in [-1, 1], features `[n, ...]`, logits `[n, classes]`.
pub trait Network: fmt::Debug + Send + Sync {
    /// A name for people, such as `WRN-28-10`.
    fn name(&self) -> String;

    /// Classes; 1 for a network that is an energy alone.
    fn classes(&self) -> usize;

    /// Channels of the images.
    fn channels(&self) -> usize;

    /// Rows and columns of the images; `None` if the network takes images of any size.
    fn image_size(&self) -> Option<[usize; 2]> {
        None
    }

    /// Rows and columns of the images that it was published with, for a file that does not name their size.
    fn usual_image_size(&self) -> [usize; 2] {
        self.image_size().unwrap_or([32, 32])
    }

    /// Checks its settings.
    ///
    /// # Errors
    /// [`Error::Setting`] with the setting, the allowed range and the value.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Its parameters: first all that are trained, then running statistics and the like.
    fn layout(&self) -> ParameterLayout;

    /// The slope below 0 of its activation, on which He initialisations depend: 0 for ReLU and smooth relatives.
    fn slope(&self) -> f32 {
        0.0
    }

    /// The features that its last layer reads.
    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor;

    /// The logits of [`Network::features`].
    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor;

    /// The kind of network that files name, such as `wide-resnet`.
    fn kind(&self) -> &str;

    /// Everything that makes this network one of its kind, as TOML.
    fn settings(&self) -> String;

    /// The logits of images. A pass with the parameters of another network is a mistake, which the graph keeps.
    fn logits(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let own = self.layout();
        if !own.is_alike(pass.layout()) {
            let message = format!(
                "{} has {own}; the pass is made with the {} of another network",
                self.name(),
                pass.layout()
            );
            images.graph().fail("network", message);
        }
        let features = self.features(images, pass);
        self.head(&features, pass)
    }

    /// Checks the size of images `[height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] with both shapes.
    fn check_images(&self, [height, width, channels]: [usize; 3]) -> Result<()> {
        let [h, w] = self.image_size().unwrap_or([height, width]);
        if [h, w, self.channels()] == [height, width, channels] {
            return Ok(());
        }
        let expected = format!("{h}x{w} images with {}", counted(self.channels(), "channel"));
        let message = format!("{} takes {expected}, got {height}x{width} with {channels}", self.name());
        Err(Error::Shape { operation: "network", message })
    }

    /// Says in a file's metadata which network it has.
    fn write_metadata(&self, metadata: &mut BTreeMap<String, String>) {
        metadata.insert(KIND.into(), self.kind().into());
        metadata.insert(SETTINGS.into(), self.settings());
    }
}

/// Whether a pass drops elements.
#[derive(Debug, Clone)]
enum Dropout {
    /// Not chosen: no dropout in inference, a mistake in training.
    Unsaid,
    Off,
    On(Counters),
}

/// One pass of a batch through a network: the parameters that its layers take, the statistics that batch norm uses and
/// sees, and the random numbers of dropout.
#[derive(Debug)]
pub struct Pass<'a> {
    layout: &'a ParameterLayout,
    mode: NormMode,
    dropout: Dropout,
    /// The name and the input of each batch norm, in [`NormMode::Training`].
    seen: Vec<(String, Tensor)>,
}

impl<'a> Pass<'a> {
    /// A pass with the parameters of `layout`, the network's own.
    pub fn new(layout: &'a ParameterLayout, mode: NormMode) -> Self {
        Self { layout, mode, dropout: Dropout::Unsaid, seen: Vec::new() }
    }

    /// Drops elements, in either mode, by the random numbers of `counters`, which each step must change
    /// ([`StepOptions::counters`](super::training::StepOptions::counters)) after their first value was set.
    pub fn with_dropout(self, counters: &Counters) -> Self {
        Self { dropout: Dropout::On(counters.clone()), ..self }
    }

    /// Drops nothing, even in [`NormMode::Training`].
    pub fn without_dropout(self) -> Self {
        Self { dropout: Dropout::Off, ..self }
    }

    /// Dropout of `x` ([`Tensor::dropout`]) after [`Pass::with_dropout`], the identity after [`Pass::without_dropout`].
    /// Without either it is the identity in [`NormMode::Inference`] and a mistake in [`NormMode::Training`].
    pub fn dropout(&self, x: &Tensor, p: f32) -> Tensor {
        match (&self.dropout, self.mode) {
            (Dropout::On(counters), _) => x.dropout(p, counters),
            (Dropout::Unsaid, NormMode::Training) => {
                let message =
                    "a pass in training needs random numbers (Pass::with_dropout), or Pass::without_dropout";
                x.graph().fail("dropout", message.into());
                x.clone()
            }
            (Dropout::Unsaid, NormMode::Inference) | (Dropout::Off, _) => x.clone(),
        }
    }

    /// The parameters.
    pub fn layout(&self) -> &'a ParameterLayout {
        self.layout
    }

    /// The statistics that batch norm takes.
    pub fn mode(&self) -> NormMode {
        self.mode
    }

    /// The parameter `name` as a leaf of the graph of `like`. An unknown name is a mistake, which the graph keeps: the
    /// pass is made with the layout of another network.
    pub fn parameter(&self, like: &Tensor, name: &str) -> Tensor {
        self.layout.leaf(like.graph(), name)
    }

    /// The statistics that batch norm takes in this pass: [`Pass::mode`], but those of training if they are frozen.
    fn norm_mode(&self) -> NormMode {
        if self.layout.has_statistics() { self.mode } else { NormMode::Inference }
    }

    /// Batch norm `name` of `x`; in [`NormMode::Training`] it is noted for [`Pass::running_statistics`].
    pub fn batch_norm(&mut self, x: &Tensor, name: &str) -> Tensor {
        let mode = self.norm_mode();
        if mode == NormMode::Training {
            self.seen.push((name.to_owned(), x.clone()));
        }
        x.graph().scope(name, || batch_norm::normalise(x, self.layout, name, mode))
    }

    /// A convolution (`weights [kh, kw, c_in, c_out]`, bias or none) and batch norm `norm` of its result, in one kernel
    /// where the statistics are those of training.
    pub fn convolve_batch_norm(
        &mut self,
        x: &Tensor,
        weights: &Tensor,
        bias: Option<&Tensor>,
        [stride, padding]: [usize; 2],
        norm: &str,
    ) -> Tensor {
        match self.norm_mode() {
            NormMode::Inference => batch_norm::convolve(x, weights, bias, stride, padding, self.layout, norm),
            NormMode::Training => self.batch_norm(&x.conv2d(weights, bias, stride, padding), norm),
        }
    }

    /// For each running statistic of the batch norms in this pass, the parameter's name and its next value
    /// `(1 - momentum) running + momentum batch`; none in [`NormMode::Inference`]. They are results of nodes that the
    /// logits need anyway, so they do not change gradients. A batch norm that saw several batches, because its layer or
    /// the pass was used twice, takes them one after the other.
    pub fn running_statistics(&self, momentum: f32) -> Vec<(String, Tensor)> {
        let mut next: Vec<(String, Tensor)> = Vec::new();
        for (name, x) in &self.seen {
            for (statistic, batch) in batch_norm::batch_statistics(x, name) {
                let known = next.iter().position(|(name, _)| *name == statistic);
                let running = match known {
                    Some(at) => next.remove(at).1,
                    None => self.layout.leaf(x.graph(), &statistic),
                };
                next.push((statistic, running.scale(1.0 - momentum).add(&batch.scale(momentum))));
            }
        }
        next
    }
}
