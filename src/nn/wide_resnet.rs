//! WideResNets: Zagoruyko & Komodakis 2016, and as JEM has them, without batch norm (Grathwohl et al. 2019) or with it
//! (Yang & Ji 2021, "JEM++").
//!
//! `conv1` (3x3, 16 channels), three groups of `(depth - 4) / 6` pre-activation blocks with `16 w`, `32 w` and
//! `64 w` channels, an activation, pooling, and the linear layer `class_output`, or `energy_output` for a scalar energy.
//! With a norm, one stands before every activation. The two forms of a block are described at [`Block`]. Parameters are
//! named as in the released checkpoints of JEM, whatever the form.

use super::ingredients::{Activation, Norm, Pooling};
use super::layers::{Convolution, Layers, written_once};
use super::network::Network;
use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::named::named;
use serde::{Deserialize, Serialize};

/// The form of a WideResNet's blocks. `a` is an activation, after a norm if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Block {
    /// `conv2(a(conv1(a(x)))) + shortcut(x)`: convolutions have biases, and the stride (2 in the first block of groups 2
    /// and 3) is on the second.
    #[default]
    Jem,
    /// `conv2(a(conv1(a(x)))) + x`, and where shapes change, `conv2(a(conv1(a(x)))) + shortcut(a(x))` with one `a(x)`:
    /// convolutions have no biases, and the stride is on the first. The form of the paper.
    Original,
}

named!(Block, "block": Jem = "jem", Original = "original");

/// The shape of a WideResNet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WideResNet {
    /// Layers: 6 n + 4.
    pub depth: usize,
    /// The widening factor.
    pub width: usize,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub channels: usize,
    /// The form of the blocks; JEM's if settings do not name one.
    #[serde(default)]
    pub block: Block,
    /// The normalisation; none if settings do not name one.
    #[serde(default)]
    pub norm: Norm,
    /// The nonlinearity; JEM's leaky ReLU if settings do not name one.
    #[serde(default)]
    pub activation: Activation,
    /// The pooling of features; the mean if settings do not name one.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether weights are divided by their largest singular value.
    #[serde(default)]
    pub spectral_norm: bool,
}

impl WideResNet {
    /// Its kind in files.
    pub const KIND: &str = "wide-resnet";

    /// The network of JEM: no normalisation, leaky ReLUs.
    pub const fn new(depth: usize, width: usize, classes: usize, channels: usize) -> Self {
        let (block, norm, activation, pooling) = (Block::Jem, Norm::None, Activation::JEM, Pooling::Mean);
        Self { depth, width, classes, channels, block, norm, activation, pooling, spectral_norm: false }
    }

    /// Channels of the features.
    pub fn feature_channels(&self) -> usize {
        64 * self.width
    }

    fn body(&self, layers: &mut Layers<'_, '_>, images: &Tensor) -> Tensor {
        let bias = self.block == Block::Jem;
        let mut x = layers.convolve(images, Convolution::new("f.conv1", 16).bias(bias));
        for group in 0..3 {
            for index in 0..(self.depth - 4) / 6 {
                let name = format!("f.layer{}.{index}", group + 1);
                let stride = if group > 0 && index == 0 { 2 } else { 1 };
                x = self.residual(layers, &name, &x, (16 << group) * self.width, stride);
            }
        }
        let x = self.activate(layers, "f.bn1", &x);
        self.pooling.apply(&x)
    }

    fn residual(
        &self,
        layers: &mut Layers<'_, '_>,
        name: &str,
        x: &Tensor,
        outputs: usize,
        stride: usize,
    ) -> Tensor {
        let [conv1, conv2, shortcut] = ["conv1", "conv2", "shortcut.0"].map(|part| format!("{name}.{part}"));
        let [norm1, norm2] = ["bn1", "bn2"].map(|part| format!("{name}.{part}"));
        let bias = self.block == Block::Jem;
        let [stride1, stride2] = if self.block == Block::Jem { [1, stride] } else { [stride, 1] };
        let changes = stride != 1 || x.shape().last() != Some(&outputs);

        let active = self.activate(layers, &norm1, x);
        let first = Convolution::new(&conv1, outputs).bias(bias).stride(stride1);
        let inner = layers.convolve_normalise(&active, first, (self.norm, &norm2));
        let inner = self.activation.apply(&inner);
        let inner = layers.convolve(&inner, Convolution::new(&conv2, outputs).bias(bias).stride(stride2));
        if !changes {
            return inner.add(x);
        }
        let from = if self.block == Block::Jem { x } else { &active };
        let point = Convolution::new(&shortcut, outputs).point().bias(bias).stride(stride);
        inner.add(&layers.convolve(from, point))
    }

    /// The activation of `x`, after the norm `name` if the network has norms.
    fn activate(&self, layers: &mut Layers<'_, '_>, name: &str, x: &Tensor) -> Tensor {
        let x = layers.normalise(self.norm, name, x);
        self.activation.apply(&x)
    }

    fn output(&self) -> String {
        if self.classes == 1 { "energy_output".into() } else { "class_output".into() }
    }
}

impl Network for WideResNet {
    fn name(&self) -> String {
        format!("WRN-{}-{}{}", self.depth, self.width, self.norm.title())
    }

    fn check(&self) -> Result<()> {
        if self.depth < 10 || !(self.depth - 4).is_multiple_of(6) {
            let message = format!("a WideResNet's depth is 6n + 4 (10, 16, 22, 28, …), got {}", self.depth);
            return Err(Error::setting("depth", message));
        }
        if self.depth > 1204 {
            return Err(Error::setting("depth", format!("expected at most 1204, got {}", self.depth)));
        }
        if self.width == 0 || self.width > 64 {
            return Err(Error::setting("width", format!("expected 1 to 64, got {}", self.width)));
        }
        if self.classes < 1 || self.classes > 1000 {
            return Err(Error::setting("classes", format!("expected 1 to 1000, got {}", self.classes)));
        }
        self.norm.check([16, 16 * self.width])
    }

    written_once!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trained_comes_first() {
        let plain = WideResNet::new(16, 2, 10, 3);
        for norm in [Norm::None, Norm::Batch, Norm::GROUP] {
            for spectral_norm in [false, true] {
                let layout = WideResNet { norm, spectral_norm, ..plain }.layout();
                let (words, trained) = (layout.trained_words(), layout.trained().count());
                for (number, parameter) in layout.parameters().iter().enumerate() {
                    assert_eq!(parameter.is_trained(), number < trained, "{}", parameter.name);
                    assert_eq!(parameter.is_trained(), parameter.offset < words, "{}", parameter.name);
                }
                assert_eq!(words == layout.words(), norm != Norm::Batch && !spectral_norm);
            }
        }
    }
}
