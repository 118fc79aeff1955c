//! The WideResNet of JEM: Zagoruyko & Komodakis 2016, without batch norm (Grathwohl et al. 2019) or with it
//! (Yang & Ji 2021, "JEM++"), or with group norm, another activation and spectral norm.
//!
//! `conv1` (3x3, 16 channels), three groups of `(depth - 4) / 6` pre-activation blocks with `16 w`, `32 w` and
//! `64 w` channels, leaky ReLU (0.2), average pool, and the linear layer `class_output`. A block is
//! `conv2(lrelu(conv1(lrelu(x)))) + shortcut(x)`; the stride (2 in the first block of groups 2 and 3) is on its
//! second convolution, and the shortcut is a 1x1 convolution where shapes change. Convolutions have biases.
//! With batch norm or group norm, one stands before every activation. Parameters are named as in the released
//! checkpoints.

use super::batch_norm::{self, Mode};
use super::init::Fans;
use super::parameters::Layout;
use super::{group_norm, spectral_norm};
use crate::error::{Error, Result};
use crate::graph::{Graph, Tensor};
use serde::{Deserialize, Serialize};

/// The slope of the leaky ReLUs below 0.
pub const SLOPE: f32 = 0.2;

/// Which normalisation a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// None.
    #[default]
    None,
    /// Batch normalisation.
    Batch,
    /// Group normalisation.
    Group,
}

impl std::str::FromStr for Norm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "batch" => Ok(Self::Batch),
            "group" => Ok(Self::Group),
            _ => Err(Error::setting("norm", format!("expected none, batch or group, got {text:?}"))),
        }
    }
}

/// The nonlinearity of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x` if `x > 0`, else [`SLOPE`]` x`.
    #[default]
    LeakyRelu,
    /// `x σ(x)` (Hendrycks & Gimpel 2016), smooth.
    Silu,
    /// `ln(1 + e^x)` (Dugas et al. 2000), smooth.
    Softplus,
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "leaky-relu" => Ok(Self::LeakyRelu),
            "silu" => Ok(Self::Silu),
            "softplus" => Ok(Self::Softplus),
            _ => {
                let message = format!("expected leaky-relu, silu or softplus, got {text:?}");
                Err(Error::setting("activation", message))
            }
        }
    }
}

/// The shape of a WideResNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WideResNet {
    /// Layers: 6 n + 4.
    pub depth: usize,
    /// The widening factor.
    pub width: usize,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub channels: usize,
    /// The normalisation; what does not say has none.
    #[serde(default)]
    pub norm: Norm,
    /// The nonlinearity; what does not say has leaky ReLUs.
    #[serde(default)]
    pub activation: Activation,
    /// Whether weights are divided by their largest singular value.
    #[serde(default)]
    pub spectral_norm: bool,
}

/// A block's place and channels.
struct Block {
    name: String,
    c_in: usize,
    c_out: usize,
    stride: usize,
}

impl Block {
    fn has_shortcut(&self) -> bool {
        self.stride != 1 || self.c_in != self.c_out
    }
}

impl WideResNet {
    /// The network of JEM: no normalisation, leaky ReLUs.
    pub const fn new(depth: usize, width: usize, classes: usize, channels: usize) -> Self {
        let activation = Activation::LeakyRelu;
        Self { depth, width, classes, channels, norm: Norm::None, activation, spectral_norm: false }
    }

    /// Checks depth, width and classes.
    ///
    /// # Errors
    /// [`Error::Setting`] with the allowed range.
    pub fn check(&self) -> Result<()> {
        if self.depth < 10 || !(self.depth - 4).is_multiple_of(6) {
            let message = format!("a WideResNet's depth is 6n + 4 (10, 16, 22, 28, …), got {}", self.depth);
            return Err(Error::setting("depth", message));
        }
        if self.width == 0 || self.width > 64 {
            return Err(Error::setting("width", format!("expected 1 to 64, got {}", self.width)));
        }
        if self.classes < 2 || self.classes > 1000 {
            return Err(Error::setting("classes", format!("expected 2 to 1000, got {}", self.classes)));
        }
        Ok(())
    }

    fn blocks(&self) -> Vec<Block> {
        let mut c_in = 16;
        let mut blocks = Vec::new();
        for group in 0..3 {
            for index in 0..(self.depth - 4) / 6 {
                let c_out = (16 << group) * self.width;
                let stride = if group > 0 && index == 0 { 2 } else { 1 };
                blocks.push(Block { name: format!("layer{}.{index}", group + 1), c_in, c_out, stride });
                c_in = c_out;
            }
        }
        blocks
    }

    /// The normalisations and their channels.
    fn norms(&self) -> Vec<(String, usize)> {
        let of = |block: &Block| {
            [("bn1", block.c_in), ("bn2", block.c_out)]
                .map(|(norm, c)| (format!("f.{}.{norm}", block.name), c))
        };
        let mut norms: Vec<_> = self.blocks().iter().flat_map(of).collect();
        norms.push(("f.bn1".into(), self.features()));
        norms
    }

    /// The features that the linear layer sees.
    pub fn features(&self) -> usize {
        64 * self.width
    }

    /// The slope below 0 that initialisations reckon with: that of the leaky ReLUs; for the others that of a
    /// ReLU.
    pub fn slope(&self) -> f32 {
        match self.activation {
            Activation::LeakyRelu => SLOPE,
            Activation::Silu | Activation::Softplus => 0.0,
        }
    }

    /// The parameters: all that are trained, then running statistics, then the vectors of spectral norm.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        let mut conv = |name: &str, k: usize, c_in: usize, c_out: usize| {
            let fans = Fans { fan_in: k * k * c_in, fan_out: k * k * c_out, bias: false };
            layout.push(format!("f.{name}.weight"), vec![k, k, c_in, c_out], fans);
            layout.push(format!("f.{name}.bias"), vec![c_out], Fans { bias: true, ..fans });
        };
        conv("conv1", 3, self.channels, 16);
        for block in self.blocks() {
            conv(&format!("{}.conv1", block.name), 3, block.c_in, block.c_out);
            conv(&format!("{}.conv2", block.name), 3, block.c_out, block.c_out);
            if block.has_shortcut() {
                conv(&format!("{}.shortcut.0", block.name), 1, block.c_in, block.c_out);
            }
        }
        if self.norm != Norm::None {
            for (name, channels) in self.norms() {
                batch_norm::declare_affine(&mut layout, &name, channels);
            }
        }
        let fans = Fans { fan_in: self.features(), fan_out: self.classes, bias: false };
        layout.push("class_output.weight".into(), vec![self.features(), self.classes], fans);
        layout.push("class_output.bias".into(), vec![self.classes], Fans { bias: true, ..fans });
        if self.norm == Norm::Batch {
            for (name, channels) in self.norms() {
                batch_norm::declare_statistics(&mut layout, &name, channels);
            }
        }
        if self.spectral_norm {
            spectral_norm::declare(&mut layout);
        }
        layout
    }

    /// The logits `[n, classes]` of images `[n, h, w, channels]` in [-1, 1].
    pub fn logits(&self, layout: &Layout, images: &Tensor) -> Tensor {
        self.logits_in(layout, images, Mode::Inference)
    }

    /// [`WideResNet::logits`] with the batch norm, if there is any, in `mode`.
    pub fn logits_in(&self, layout: &Layout, images: &Tensor, mode: Mode) -> Tensor {
        Forward { network: self, layout, graph: images.graph(), mode, seen: Vec::new() }.logits(images)
    }

    /// The logits in [`Mode::Training`], and for each running statistic its parameter's name and next value
    /// behind this batch (see [`batch_norm::running_statistics`]); none without batch norm. The statistics
    /// are more results of the logits' own nodes: gradients are as without them.
    pub fn training_logits(
        &self,
        layout: &Layout,
        images: &Tensor,
        momentum: f32,
    ) -> (Tensor, Vec<(String, Tensor)>) {
        let mode = Mode::Training;
        let mut forward = Forward { network: self, layout, graph: images.graph(), mode, seen: Vec::new() };
        let logits = forward.logits(images);
        let next = |(name, x): &(String, Tensor)| batch_norm::running_statistics(x, layout, name, momentum);
        (logits, forward.seen.iter().flat_map(next).collect())
    }
}

/// A network's layers on one batch.
struct Forward<'a> {
    network: &'a WideResNet,
    layout: &'a Layout,
    graph: &'a Graph,
    mode: Mode,
    /// What each batch norm took in [`Mode::Training`].
    seen: Vec<(String, Tensor)>,
}

impl Forward<'_> {
    fn logits(&mut self, images: &Tensor) -> Tensor {
        let mut x = self.conv(images, "conv1", 1, 1);
        for block in self.network.blocks() {
            let name = &block.name;
            let inner = self.normalise(&x, &format!("f.{name}.bn1"));
            let inner = self.activate(&inner);
            let inner = self.conv_normalise(&inner, &format!("{name}.conv1"), &format!("f.{name}.bn2"));
            let inner = self.activate(&inner);
            let inner = self.conv(&inner, &format!("{name}.conv2"), block.stride, 1);
            let shortcut = match block.has_shortcut() {
                true => self.conv(&x, &format!("{name}.shortcut.0"), block.stride, 0),
                false => x,
            };
            x = inner.add(&shortcut);
        }
        let x = self.normalise(&x, "f.bn1");
        let features = self.activate(&x).global_average_pool();
        self.graph.scope("class_output", || {
            let [weights, bias] = self.layer("class_output");
            features.linear(&weights, &bias)
        })
    }

    /// The weights, divided by their norm if the network's are, and the bias of a layer.
    fn layer(&self, name: &str) -> [Tensor; 2] {
        let [weights, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let leaf = self.layout.leaf(self.graph, &weights);
        let divided = match self.network.spectral_norm {
            true => spectral_norm::divide(&leaf, self.layout, &weights),
            false => leaf,
        };
        [divided, self.layout.leaf(self.graph, &bias)]
    }

    fn conv(&self, x: &Tensor, name: &str, stride: usize, padding: usize) -> Tensor {
        self.graph.scope(name, || {
            let [weights, bias] = self.layer(&format!("f.{name}"));
            x.conv2d(&weights, Some(&bias), stride, padding)
        })
    }

    fn normalise(&mut self, x: &Tensor, name: &str) -> Tensor {
        let normalised = || match self.network.norm {
            Norm::None => x.clone(),
            Norm::Batch => batch_norm::normalise(x, self.layout, name, self.mode),
            Norm::Group => group_norm::normalise(x, self.layout, name),
        };
        let normalised = self.graph.scope(name, normalised);
        if (self.network.norm, self.mode) == (Norm::Batch, Mode::Training) {
            self.seen.push((name.to_owned(), x.clone()));
        }
        normalised
    }

    /// A 3x3 convolution of stride 1 and the normalisation behind it, in one where statistics are fixed.
    fn conv_normalise(&mut self, x: &Tensor, name: &str, norm: &str) -> Tensor {
        if (self.network.norm, self.mode) != (Norm::Batch, Mode::Inference) {
            let x = self.conv(x, name, 1, 1);
            return self.normalise(&x, norm);
        }
        self.graph.scope(name, || {
            let [weights, bias] = self.layer(&format!("f.{name}"));
            batch_norm::convolve(x, &weights, Some(&bias), 1, 1, self.layout, norm, self.mode)
        })
    }

    fn activate(&self, x: &Tensor) -> Tensor {
        match self.network.activation {
            Activation::LeakyRelu => x.leaky_relu(SLOPE),
            Activation::Silu => x.silu(),
            Activation::Softplus => x.softplus(),
        }
    }
}
