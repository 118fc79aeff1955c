//! Networks written as plain Rust: layers that declare their parameters where they are used.
//!
//! ```
//! use jem::nn::layers::Layered;
//! use jem::nn::network::Network;
//!
//! // A perceptron of three layers for 28x28 grey images of ten classes.
//! let network = Layered::new("perceptron", [28, 28, 1], 10, |layers, images| {
//!     let x = layers.linear("fc1", &images.flatten(), 256).leaky_relu(0.2);
//!     layers.linear("fc2", &x, 128).leaky_relu(0.2)
//! });
//! assert_eq!(network.layout().elements(), 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10);
//! ```

use super::ingredients::Norm;
use super::init::Fans;
use super::network::{Network, Pass, is_known_kind};
use super::parameters::{ParameterKind, ParameterLayout};
use super::{batch_norm, group_norm, spectral_norm};
use crate::error::{Error, Result};
use crate::graph::{Graph, Tensor};
use std::fmt;

/// The name of dropout's counters while the layers are declared, when nothing is drawn.
const COUNTERS: &str = "counters";
/// The name of a [`Layered`] network's last layer.
const HEAD: &str = "head";

/// Layers that a network applies. Each has a name, under which its parameters are in files: a linear layer `fc1` has
/// `fc1.weight` and `fc1.bias`.
#[derive(Debug)]
pub struct Layers<'a, 'b> {
    source: Source<'a, 'b>,
    /// Whether convolutions and linear layers divide their weights by their largest singular value.
    spectral_norm: bool,
}

#[derive(Debug)]
enum Source<'a, 'b> {
    /// Collects what the layers declare.
    Declaring(&'a mut ParameterLayout),
    /// Gives them their parameters.
    Passing(&'a mut Pass<'b>),
}

/// A convolution of images with a square kernel: its name and its shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution<'a> {
    pub name: &'a str,
    pub outputs: usize,
    pub size: usize,
    pub stride: usize,
    pub padding: usize,
    pub bias: bool,
}

impl<'a> Convolution<'a> {
    /// A kernel of 3x3 pixels that keeps the size of images, without a bias.
    pub fn new(name: &'a str, outputs: usize) -> Self {
        Self { name, outputs, size: 3, stride: 1, padding: 1, bias: false }
    }

    /// The same with a kernel of 1x1 pixels.
    pub fn point(self) -> Self {
        Self { size: 1, padding: 0, ..self }
    }

    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }
}

/// The parameters that `layers` declares for images of `[height, width, channels]`, those that are trained first.
pub(super) fn declared(
    [height, width, channels]: [usize; 3],
    layers: impl FnOnce(&mut Layers<'_, '_>, &Tensor),
) -> ParameterLayout {
    let mut layout = ParameterLayout::default();
    let images = Graph::new().input("images", [2, height, width, channels]);
    layers(&mut Layers { source: Source::Declaring(&mut layout), spectral_norm: false }, &images);
    layout.trained_first()
}

impl<'a, 'b> Layers<'a, 'b> {
    /// Layers with the parameters of `pass`.
    pub(super) fn of(pass: &'a mut Pass<'b>) -> Self {
        Self { source: Source::Passing(pass), spectral_norm: false }
    }

    /// Lets convolutions and linear layers divide their weights by their largest singular value
    /// ([`spectral_norm`]), if `on`.
    pub(super) fn with_spectral_norm(&mut self, on: bool) -> &mut Self {
        self.spectral_norm = on;
        self
    }
}

impl Layers<'_, '_> {
    /// `x W + b` for `x [n, inputs]`: `[n, outputs]`.
    pub fn linear(&mut self, name: &str, x: &Tensor, outputs: usize) -> Tensor {
        let inputs = x.shape().last().copied().unwrap_or(1);
        let fans = Fans { fan_in: inputs, fan_out: outputs, bias: false };
        let weights = self.weights(name, x, vec![inputs, outputs], fans);
        let bias = self.bias(name, x, outputs, fans);
        x.graph().scope(name, || x.linear(&weights, &bias))
    }

    /// A convolution of `x [n, h, w, channels]` with a square kernel of `size` and a bias: `[n, h', w', outputs]` with
    /// `h' = (h + 2 padding - size) / stride + 1`.
    pub fn conv2d(
        &mut self,
        name: &str,
        x: &Tensor,
        outputs: usize,
        size: usize,
        stride: usize,
        padding: usize,
    ) -> Tensor {
        self.convolve(x, Convolution { name, outputs, size, stride, padding, bias: true })
    }

    /// A convolution of `x [n, h, w, channels]`.
    pub(super) fn convolve(&mut self, x: &Tensor, conv: Convolution<'_>) -> Tensor {
        let (weights, bias) = self.kernel(x, conv);
        x.graph().scope(conv.name, || x.conv2d(&weights, bias.as_ref(), conv.stride, conv.padding))
    }

    /// A convolution of `x [n, h, w, channels]` and the normalisation `norm` of its result, in one kernel where that is
    /// possible.
    pub(super) fn convolve_normalise(
        &mut self,
        x: &Tensor,
        conv: Convolution<'_>,
        (norm, name): (Norm, &str),
    ) -> Tensor {
        if norm != Norm::Batch || matches!(self.source, Source::Declaring(_)) {
            let x = self.convolve(x, conv);
            return self.normalise(norm, name, &x);
        }
        let (weights, bias) = self.kernel(x, conv);
        let Source::Passing(pass) = &mut self.source else { unreachable!("declaring is dealt with above") };
        x.graph().scope(conv.name, || {
            pass.convolve_batch_norm(x, &weights, bias.as_ref(), [conv.stride, conv.padding], name)
        })
    }

    /// The weights of a convolution, and its bias if it has one.
    fn kernel(&mut self, x: &Tensor, conv: Convolution<'_>) -> (Tensor, Option<Tensor>) {
        let Convolution { name, outputs, size, bias, .. } = conv;
        let channels = x.shape().last().copied().unwrap_or(1);
        let taps = size * size;
        let fans = Fans { fan_in: taps * channels, fan_out: taps * outputs, bias: false };
        let weights = self.weights(name, x, vec![size, size, channels, outputs], fans);
        let bias = bias.then(|| self.bias(name, x, outputs, fans));
        (weights, bias)
    }

    /// The normalisation `norm` of `x [n, .., channels]` by the parameters `name`.
    pub(super) fn normalise(&mut self, norm: Norm, name: &str, x: &Tensor) -> Tensor {
        let channels = x.shape().last().copied().unwrap_or(1);
        match (norm, norm.groups(channels)) {
            (Norm::Batch, _) => self.batch_norm(name, x),
            (_, Some(groups)) => self.group_norm(name, x, groups),
            (_, None) => x.clone(),
        }
    }

    /// Batch norm of `x [.., channels]`: by the batch's statistics in training, by running ones afterwards.
    pub fn batch_norm(&mut self, name: &str, x: &Tensor) -> Tensor {
        let channels = x.shape().last().copied().unwrap_or(1);
        match &mut self.source {
            Source::Declaring(layout) => {
                batch_norm::declare_affine(layout, name, channels);
                batch_norm::declare_statistics(layout, name, channels);
                x.clone()
            }
            Source::Passing(pass) => pass.batch_norm(x, name),
        }
    }

    /// Group norm of `x [n, .., channels]` with `groups` groups, which divide the channels.
    pub fn group_norm(&mut self, name: &str, x: &Tensor, groups: usize) -> Tensor {
        let channels = x.shape().last().copied().unwrap_or(1);
        match &mut self.source {
            Source::Declaring(layout) => {
                batch_norm::declare_affine(layout, name, channels);
                x.clone()
            }
            Source::Passing(pass) => {
                x.graph().scope(name, || group_norm::normalise(x, pass.layout(), name, groups))
            }
        }
    }

    /// Dropout of `x`, of any shape: in training each element is 0 with probability `p`, in [0, 1), else `x / (1 - p)`
    /// (Srivastava et al. 2014). It is the identity in inference, unless the pass has [`Pass::with_dropout`], and in
    /// the trainer's SGLD steps, because JEM samples in inference mode. A training loop of your own provides the random
    /// numbers by [`Pass::with_dropout`].
    pub fn dropout(&mut self, x: &Tensor, p: f32) -> Tensor {
        match &mut self.source {
            Source::Declaring(_) => x.dropout(p, &x.graph().counters(COUNTERS)),
            Source::Passing(pass) => pass.dropout(x, p),
        }
    }

    /// A parameter of your own, such as `(ParameterKind::Constant(1.0), vec![channels])`; `like` says in which graph.
    pub fn parameter(
        &mut self,
        name: &str,
        like: &Tensor,
        shape: Vec<usize>,
        role: impl Into<ParameterKind>,
    ) -> Tensor {
        match &mut self.source {
            Source::Declaring(layout) => {
                layout.push(name.to_owned(), shape.clone(), role);
                like.graph().constant(0.0, shape)
            }
            Source::Passing(pass) => pass.parameter(like, name),
        }
    }

    /// The weights `[.., outputs]` of a layer.
    fn weights(&mut self, layer: &str, like: &Tensor, shape: Vec<usize>, fans: Fans) -> Tensor {
        let name = format!("{layer}.weight");
        let weights = self.parameter(&name, like, shape, fans);
        if !self.spectral_norm {
            return weights;
        }
        match &mut self.source {
            Source::Declaring(layout) => {
                spectral_norm::declare(layout, &name, weights.shape());
                weights
            }
            Source::Passing(pass) => {
                like.graph().scope(layer, || spectral_norm::divide(&weights, pass.layout(), &name))
            }
        }
    }

    fn bias(&mut self, layer: &str, like: &Tensor, outputs: usize, fans: Fans) -> Tensor {
        self.parameter(&format!("{layer}.bias"), like, vec![outputs], Fans { bias: true, ..fans })
    }
}

/// A network whose features a function builds from layers; a linear layer, `head`, turns them into logits.
pub struct Layered<F> {
    name: String,
    image: [usize; 3],
    classes: usize,
    slope: f32,
    features: F,
    layout: ParameterLayout,
    /// The first mistake in shapes, if there is one.
    mistake: Option<(&'static str, String)>,
}

impl<F: Fn(&mut Layers<'_, '_>, &Tensor) -> Tensor + Send + Sync> Layered<F> {
    /// A network for images `[height, width, channels]` of `classes` classes, or with one class for an energy alone.
    /// `features` maps images `[n, height, width, channels]` to features `[n, count]`. It runs once now, to collect the
    /// parameters, and again for every program; it must declare the same layers each time.
    ///
    /// [`Network::check`] returns the first mistake in shapes.
    pub fn new(name: &str, image: [usize; 3], classes: usize, features: F) -> Self {
        let mut layout = ParameterLayout::default();
        let graph = Graph::new();
        let [height, width, channels] = image;
        let images = graph.input("images", [2, height, width, channels]);
        let mut layers = Layers { source: Source::Declaring(&mut layout), spectral_norm: false };
        let x = features(&mut layers, &images);
        layers.linear(HEAD, &x, classes);
        let mistake = match graph.check() {
            Err(Error::Shape { operation, message }) => Some((operation, message)),
            _ => None,
        };
        let layout = layout.trained_first();
        Self { name: name.into(), image, classes, slope: 0.0, features, layout, mistake }
    }

    /// Sets the slope below 0 of the activation, for [`init::Init::HeNormal`](super::init::Init::HeNormal).
    pub fn with_slope(mut self, slope: f32) -> Self {
        self.slope = slope;
        self
    }
}

impl<F> fmt::Debug for Layered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, image, classes, .. } = self;
        f.debug_struct("Layered")
            .field("name", name)
            .field("image", image)
            .field("classes", classes)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(&mut Layers<'_, '_>, &Tensor) -> Tensor + Send + Sync> Network for Layered<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn channels(&self) -> usize {
        self.image[2]
    }

    fn image_size(&self) -> Option<[usize; 2]> {
        Some([self.image[0], self.image[1]])
    }

    fn check(&self) -> Result<()> {
        if let Some((operation, message)) = &self.mistake {
            return Err(Error::Shape { operation, message: format!("network {}: {message}", self.name) });
        }
        if is_known_kind(&self.name) {
            let message = format!("{} is the name of a network of the library; choose another", self.name);
            return Err(Error::Shape { operation: "network", message });
        }
        let mut names: Vec<&str> = self.layout.parameters().iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("network {}: two parameters are called {}", self.name, pair[0]);
            return Err(Error::Shape { operation: "network", message });
        }
        Ok(())
    }

    fn layout(&self) -> ParameterLayout {
        self.layout.clone()
    }

    fn slope(&self) -> f32 {
        self.slope
    }

    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        (self.features)(&mut Layers::of(pass), images)
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        Layers::of(pass).linear(HEAD, features, self.classes)
    }

    fn kind(&self) -> &str {
        &self.name
    }

    fn settings(&self) -> String {
        let [height, width, channels] = self.image;
        format!("image = [{height}, {width}, {channels}]\nclasses = {}\n", self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::batch_norm::NormMode;

    #[test]
    fn statistics_come_after_all_that_is_trained() {
        let network = Layered::new("small", [8, 8, 3], 10, |layers, images| {
            let x = layers.conv2d("conv1", images, 16, 3, 2, 1);
            let x = layers.batch_norm("bn1", &x).relu();
            let x = layers.conv2d("conv2", &x, 16, 3, 1, 1);
            layers.group_norm("gn2", &x, 4).relu().global_average_pool()
        });
        network.check().unwrap();
        let names: Vec<String> = network.layout().parameters().iter().map(|p| p.name.clone()).collect();
        assert_eq!(
            names,
            [
                "conv1.weight",
                "conv1.bias",
                "bn1.weight",
                "bn1.bias",
                "conv2.weight",
                "conv2.bias",
                "gn2.weight",
                "gn2.bias",
                "head.weight",
                "head.bias",
                "bn1.running_mean",
                "bn1.running_var"
            ]
        );
        let layout = network.layout();
        assert!(layout.has_statistics() && !layout.has_spectral_norm());
        let graph = Graph::new();
        let images = graph.input("images", [5, 8, 8, 3]);
        let mut pass = Pass::new(&layout, NormMode::Training);
        assert_eq!(network.logits(&images, &mut pass).shape(), [5, 10]);
        assert_eq!(pass.running_statistics(0.1).len(), 2);
        graph.check().unwrap();
    }

    #[test]
    fn mistakes_name_the_network() {
        let twice = Layered::new("twice", [4, 4, 1], 2, |layers, images| {
            let x = layers.linear("fc", &images.flatten(), 16);
            layers.linear("fc", &x, 16)
        });
        assert!(twice.check().unwrap_err().to_string().contains("two parameters are called fc.bias"));
        let flat = Layered::new("flat", [4, 4, 1], 2, |layers, images| layers.linear("fc", images, 16));
        assert!(flat.check().unwrap_err().to_string().contains("network flat"), "{:?}", flat.check());
        let known = Layered::new("wide-resnet", [4, 4, 1], 2, |_, images| images.flatten());
        assert!(known.check().unwrap_err().to_string().contains("choose another"));
        let small = Layered::new("small", [4, 4, 1], 2, |_, images| images.flatten());
        let message = small.check_images([8, 8, 1]).unwrap_err().to_string();
        assert!(message.contains("small takes 4x4 images with 1 channel, got 8x8"), "{message}");
    }
}
