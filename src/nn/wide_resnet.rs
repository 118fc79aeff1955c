//! The WideResNet of JEM: Zagoruyko & Komodakis 2016, without batch norm (Grathwohl et al. 2019) or with it
//! (Yang & Ji 2021, "JEM++"), or with group norm, another activation and spectral norm.
//!
//! `conv1` (3x3, 16 channels), three groups of `(depth - 4) / 6` pre-activation blocks with `16 w`, `32 w` and
//! `64 w` channels, leaky ReLU (0.2), average pool, and the linear layer `class_output`, or `energy_output` for a
//! scalar energy. A block is
//! `conv2(lrelu(conv1(lrelu(x)))) + shortcut(x)`; the stride (2 in the first block of groups 2 and 3) is on its
//! second convolution, and the shortcut is a 1x1 convolution where shapes change. Convolutions have biases.
//! With batch norm or group norm, one stands before every activation. Parameters are named as in the released
//! checkpoints.

use super::batch_norm::{self, NormMode};
use super::init::Fans;
use super::network::{Network, Pass};
use super::parameters::ParameterLayout;
use super::{group_norm, spectral_norm};
use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::named::named;
use serde::{Deserialize, Serialize};

/// The slope of the leaky ReLUs below 0.
pub const SLOPE: f32 = 0.2;

/// The normalisation of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// No normalisation.
    #[default]
    None,
    /// Batch normalisation.
    Batch,
    /// Group normalisation.
    Group,
}

named!(Norm, "norm": None = "none", Batch = "batch", Group = "group");

/// The nonlinearity of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x` if `x > 0`, else [`SLOPE`]` x`.
    #[default]
    LeakyRelu,
    /// `x σ(x)` (Hendrycks & Gimpel 2016), smooth.
    Silu,
    /// `ln(1 + e^x)` (Dugas et al. 2000), smooth.
    Softplus,
}

named!(Activation, "activation": LeakyRelu = "leaky-relu", Silu = "silu", Softplus = "softplus");

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
    /// The normalisation; none if settings do not name one.
    #[serde(default)]
    pub norm: Norm,
    /// The nonlinearity; leaky ReLU if settings do not name one.
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
    /// Its kind in files.
    pub const KIND: &str = "wide-resnet";

    /// The network of JEM: no normalisation, leaky ReLUs.
    pub const fn new(depth: usize, width: usize, classes: usize, channels: usize) -> Self {
        let activation = Activation::LeakyRelu;
        Self { depth, width, classes, channels, norm: Norm::None, activation, spectral_norm: false }
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
        norms.push(("f.bn1".into(), self.feature_channels()));
        norms
    }

    /// Channels of the features.
    pub fn feature_channels(&self) -> usize {
        64 * self.width
    }

    fn activate(&self, x: &Tensor) -> Tensor {
        match self.activation {
            Activation::LeakyRelu => x.leaky_relu(SLOPE),
            Activation::Silu => x.silu(),
            Activation::Softplus => x.softplus(),
        }
    }

    /// The name of the last layer.
    fn output(&self) -> &'static str {
        if self.classes == 1 { "energy_output" } else { "class_output" }
    }

    /// The weights, divided by their norm if the network's are, and the bias of a layer.
    fn layer(&self, x: &Tensor, name: &str, pass: &Pass<'_>) -> [Tensor; 2] {
        let [weights, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let leaf = pass.parameter(x, &weights);
        let divided = match self.spectral_norm {
            true => spectral_norm::divide(&leaf, pass.layout(), &weights),
            false => leaf,
        };
        [divided, pass.parameter(x, &bias)]
    }

    fn conv(&self, x: &Tensor, name: &str, [stride, padding]: [usize; 2], pass: &Pass<'_>) -> Tensor {
        x.graph().scope(name, || {
            let [weights, bias] = self.layer(x, &format!("f.{name}"), pass);
            x.conv2d(&weights, Some(&bias), stride, padding)
        })
    }

    fn normalise(&self, x: &Tensor, name: &str, pass: &mut Pass<'_>) -> Tensor {
        match self.norm {
            Norm::None => x.clone(),
            Norm::Batch => pass.batch_norm(x, name),
            Norm::Group => {
                x.graph().scope(name, || group_norm::normalise(x, pass.layout(), name, group_norm::GROUPS))
            }
        }
    }

    /// A 3x3 convolution of stride 1 and the normalisation after it.
    fn conv_normalise(&self, x: &Tensor, name: &str, norm: &str, pass: &mut Pass<'_>) -> Tensor {
        if (self.norm, pass.mode()) != (Norm::Batch, NormMode::Inference) {
            let x = self.conv(x, name, [1, 1], pass);
            return self.normalise(&x, norm, pass);
        }
        x.graph().scope(name, || {
            let [weights, bias] = self.layer(x, &format!("f.{name}"), pass);
            pass.convolve_batch_norm(x, &weights, Some(&bias), [1, 1], norm)
        })
    }
}

impl Network for WideResNet {
    fn name(&self) -> String {
        let norm = match self.norm {
            Norm::None => "",
            Norm::Batch => " with batch norm",
            Norm::Group => " with group norm",
        };
        format!("WRN-{}-{}{norm}", self.depth, self.width)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn check(&self) -> Result<()> {
        if self.depth < 10 || !(self.depth - 4).is_multiple_of(6) {
            let message = format!("a WideResNet's depth is 6n + 4 (10, 16, 22, 28, …), got {}", self.depth);
            return Err(Error::setting("depth", message));
        }
        if self.width == 0 || self.width > 64 {
            return Err(Error::setting("width", format!("expected 1 to 64, got {}", self.width)));
        }
        if self.classes < 1 || self.classes > 1000 {
            return Err(Error::setting("classes", format!("expected 1 to 1000, got {}", self.classes)));
        }
        Ok(())
    }

    fn layout(&self) -> ParameterLayout {
        let mut layout = ParameterLayout::default();
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
        let fans = Fans { fan_in: self.feature_channels(), fan_out: self.classes, bias: false };
        let output = self.output();
        layout.push(format!("{output}.weight"), vec![self.feature_channels(), self.classes], fans);
        layout.push(format!("{output}.bias"), vec![self.classes], Fans { bias: true, ..fans });
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

    fn slope(&self) -> f32 {
        match self.activation {
            Activation::LeakyRelu => SLOPE,
            Activation::Silu | Activation::Softplus => 0.0,
        }
    }

    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let mut x = self.conv(images, "conv1", [1, 1], pass);
        for block in self.blocks() {
            let name = &block.name;
            let inner = self.normalise(&x, &format!("f.{name}.bn1"), pass);
            let inner = self.activate(&inner);
            let inner = self.conv_normalise(&inner, &format!("{name}.conv1"), &format!("f.{name}.bn2"), pass);
            let inner = self.activate(&inner);
            let inner = self.conv(&inner, &format!("{name}.conv2"), [block.stride, 1], pass);
            let shortcut = match block.has_shortcut() {
                true => self.conv(&x, &format!("{name}.shortcut.0"), [block.stride, 0], pass),
                false => x,
            };
            x = inner.add(&shortcut);
        }
        let x = self.normalise(&x, "f.bn1", pass);
        self.activate(&x).global_average_pool()
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let output = self.output();
        features.graph().scope(output, || {
            let [weights, bias] = self.layer(features, output, pass);
            features.linear(&weights, &bias)
        })
    }

    fn kind(&self) -> &str {
        Self::KIND
    }

    fn settings(&self) -> String {
        toml::to_string(self).expect("a network is plain data")
    }
}
