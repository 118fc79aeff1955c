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
use super::network::Pass;
use super::parameters::{ParameterKind, ParameterLayout};
use super::{batch_norm, group_norm, spectral_norm};
use crate::graph::{Graph, Tensor};

pub use super::layered::Layered;

/// The name of dropout's counters while the layers are declared, when nothing is drawn.
const COUNTERS: &str = "counters";

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

/// The methods of [`Network`](super::network::Network) that all networks of the library share. The network needs the
/// fields `classes`, `channels`, `activation` and `spectral_norm`, a constant `KIND`, and two methods: `body` builds
/// the features of images, `output` names the last layer. Its serialised fields are its settings.
macro_rules! written_once {
    () => {
        fn classes(&self) -> usize {
            self.classes
        }

        fn channels(&self) -> usize {
            self.channels
        }

        fn layout(&self) -> $crate::nn::parameters::ParameterLayout {
            let [height, width] = self.usual_image_size();
            $crate::nn::layers::declared([height, width, self.channels], |layers, images| {
                let layers = layers.with_spectral_norm(self.spectral_norm);
                let features = self.body(layers, images);
                layers.linear(&self.output(), &features, self.classes);
            })
        }

        fn slope(&self) -> f32 {
            self.activation.slope()
        }

        fn features(&self, images: &Tensor, pass: &mut $crate::nn::network::Pass<'_>) -> Tensor {
            self.body(Layers::of(pass).with_spectral_norm(self.spectral_norm), images)
        }

        fn head(&self, features: &Tensor, pass: &mut $crate::nn::network::Pass<'_>) -> Tensor {
            let mut layers = Layers::of(pass);
            layers.with_spectral_norm(self.spectral_norm).linear(&self.output(), features, self.classes)
        }

        fn kind(&self) -> &str {
            Self::KIND
        }

        fn settings(&self) -> String {
            toml::to_string(self).expect("a network is plain data")
        }
    };
}

pub(super) use written_once;

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
