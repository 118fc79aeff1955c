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

use super::architecture::is_known_kind;
use super::batch_norm;
use super::group_norm;
use super::init::Fans;
use super::network::{Network, Pass};
use super::parameters::{ParameterKind, ParameterLayout};
use crate::error::{Error, Result};
use crate::graph::{Graph, Tensor};
use std::fmt;

/// The name of dropout's counters while the layers are declared, when nothing is drawn.
const COUNTERS: &str = "counters";
/// The name of a [`Layered`] network's last layer.
const HEAD: &str = "head";

/// The layers of a [`Layered`] network. Each has a name, under which its parameters are in files: a linear layer `fc1`
/// has `fc1.weight` and `fc1.bias`.
#[derive(Debug)]
pub struct Layers<'a, 'b>(Source<'a, 'b>);

#[derive(Debug)]
enum Source<'a, 'b> {
    /// Collects what the layers declare.
    Declaring(&'a mut ParameterLayout),
    /// Gives them their parameters.
    Passing(&'a mut Pass<'b>),
}

impl Layers<'_, '_> {
    /// `x W + b` for `x [n, inputs]`: `[n, outputs]`.
    pub fn linear(&mut self, name: &str, x: &Tensor, outputs: usize) -> Tensor {
        let inputs = x.shape().last().copied().unwrap_or(1);
        let fans = Fans { fan_in: inputs, fan_out: outputs, bias: false };
        let [weights, bias] = self.weights_and_bias(name, x, vec![inputs, outputs], fans);
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
        let channels = x.shape().last().copied().unwrap_or(1);
        let taps = size * size;
        let fans = Fans { fan_in: taps * channels, fan_out: taps * outputs, bias: false };
        let [weights, bias] = self.weights_and_bias(name, x, vec![size, size, channels, outputs], fans);
        x.graph().scope(name, || x.conv2d(&weights, Some(&bias), stride, padding))
    }

    /// Batch norm of `x [.., channels]`: by the batch's statistics in training, by running ones afterwards.
    pub fn batch_norm(&mut self, name: &str, x: &Tensor) -> Tensor {
        let channels = x.shape().last().copied().unwrap_or(1);
        match &mut self.0 {
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
        match &mut self.0 {
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
        match &mut self.0 {
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
        match &mut self.0 {
            Source::Declaring(layout) => {
                layout.push(name.to_owned(), shape.clone(), role);
                like.graph().constant(0.0, shape)
            }
            Source::Passing(pass) => pass.parameter(like, name),
        }
    }

    fn weights_and_bias(&mut self, name: &str, like: &Tensor, shape: Vec<usize>, fans: Fans) -> [Tensor; 2] {
        let outputs = shape.last().copied().unwrap_or(1);
        let weights = self.parameter(&format!("{name}.weight"), like, shape, fans);
        let bias = Fans { bias: true, ..fans };
        [weights, self.parameter(&format!("{name}.bias"), like, vec![outputs], bias)]
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
        let mut layers = Layers(Source::Declaring(&mut layout));
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
        (self.features)(&mut Layers(Source::Passing(pass)), images)
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        Layers(Source::Passing(pass)).linear(HEAD, features, self.classes)
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
        assert!(message.contains("small takes 4x4 images with 1 channels, got 8x8"), "{message}");
    }
}
