//! The residual networks for CIFAR of He et al. 2015, "Deep residual learning for image recognition", section 4.2:
//! ResNet-20, 32, 44, 56, 110.
//!
//! `conv1` (3x3, 16 channels), three groups of `(depth - 2) / 6` blocks with 16, 32 and 64 channels, average pool,
//! and the linear layer `linear`. A block is `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`; the stride (2 in
//! the first block of groups 2 and 3) is on its first convolution. Convolutions have no biases. Where shapes change
//! the shortcut has no parameters (option A): every second pixel, and zeros for the new channels, half of them in
//! front. It is computed as a 1x1 convolution with a fixed matrix of zeros and ones, which is exact and is added in
//! the epilogue of `conv2`.

use super::batch_norm;
use super::init::Fans;
use super::network::{Network, Pass};
use super::parameters::{ParameterKind, ParameterLayout};
use crate::error::{Error, Result};
use crate::graph::Tensor;
use serde::{Deserialize, Serialize};

/// Channels of the first convolution.
const CHANNELS: usize = 16;
/// Features that the linear layer reads.
const FEATURES: usize = CHANNELS << 2;

/// The shape of a ResNet for CIFAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CifarResNet {
    /// Layers: 6 n + 2.
    pub depth: usize,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub channels: usize,
}

/// A block's place and channels.
struct Block {
    name: String,
    c_in: usize,
    c_out: usize,
    stride: usize,
}

impl Block {
    /// The matrix of option A, `[c_in, c_out]`: channel i of the input is channel `i + (c_out - c_in) / 2` of the
    /// shortcut.
    fn option_a(&self) -> Vec<f32> {
        let front = (self.c_out - self.c_in) / 2;
        let mut matrix = vec![0.0; self.c_in * self.c_out];
        for channel in 0..self.c_in {
            matrix[channel * self.c_out + front + channel] = 1.0;
        }
        matrix
    }
}

impl CifarResNet {
    /// Its kind in files.
    pub const KIND: &str = "cifar-resnet";

    fn blocks(&self) -> Vec<Block> {
        let mut c_in = CHANNELS;
        let mut blocks = Vec::new();
        for group in 0..3 {
            for index in 0..(self.depth - 2) / 6 {
                let c_out = CHANNELS << group;
                let stride = if group > 0 && index == 0 { 2 } else { 1 };
                blocks.push(Block { name: format!("layer{}.{index}", group + 1), c_in, c_out, stride });
                c_in = c_out;
            }
        }
        blocks
    }

    /// A 3x3 convolution and its batch norm.
    fn conv(&self, x: &Tensor, name: &str, norm: &str, stride: usize, pass: &mut Pass<'_>) -> Tensor {
        x.graph().scope(name, || {
            let weights = pass.parameter(x, &format!("{name}.weight"));
            pass.convolve_batch_norm(x, &weights, None, [stride, 1], norm)
        })
    }
}

impl Network for CifarResNet {
    fn name(&self) -> String {
        format!("ResNet-{}", self.depth)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn check(&self) -> Result<()> {
        if self.depth < 8 || !(self.depth - 2).is_multiple_of(6) || self.depth > 1202 {
            let message =
                format!("a CIFAR ResNet's depth is 6n + 2 (20, 32, 44, 56, 110), got {}", self.depth);
            return Err(Error::setting("depth", message));
        }
        if self.classes < 2 || self.classes > 1000 {
            return Err(Error::setting("classes", format!("expected 2 to 1000, got {}", self.classes)));
        }
        Ok(())
    }

    fn layout(&self) -> ParameterLayout {
        let mut layout = ParameterLayout::default();
        let conv = |layout: &mut ParameterLayout, name: &str, c_in: usize, c_out: usize| {
            let fans = Fans { fan_in: 9 * c_in, fan_out: 9 * c_out, bias: false };
            layout.push(format!("{name}.weight"), vec![3, 3, c_in, c_out], fans);
        };
        let norm = |layout: &mut ParameterLayout, name: &str, channels: usize| {
            batch_norm::declare_affine(layout, name, channels);
            batch_norm::declare_statistics(layout, name, channels);
        };
        conv(&mut layout, "conv1", self.channels, CHANNELS);
        norm(&mut layout, "bn1", CHANNELS);
        for block in self.blocks() {
            let name = &block.name;
            conv(&mut layout, &format!("{name}.conv1"), block.c_in, block.c_out);
            norm(&mut layout, &format!("{name}.bn1"), block.c_out);
            conv(&mut layout, &format!("{name}.conv2"), block.c_out, block.c_out);
            norm(&mut layout, &format!("{name}.bn2"), block.c_out);
            if block.c_in != block.c_out {
                let shape = vec![1, 1, block.c_in, block.c_out];
                layout.push(format!("{name}.shortcut"), shape, ParameterKind::Fixed(block.option_a()));
            }
        }
        let fans = Fans { fan_in: FEATURES, fan_out: self.classes, bias: false };
        layout.push("linear.weight".into(), vec![FEATURES, self.classes], fans);
        layout.push("linear.bias".into(), vec![self.classes], Fans { bias: true, ..fans });
        layout.trained_first()
    }

    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let relu = |x: &Tensor| x.leaky_relu(0.0);
        let mut x = relu(&self.conv(images, "conv1", "bn1", 1, pass));
        for block in self.blocks() {
            let name = &block.name;
            let [conv1, conv2] = [1, 2].map(|i| (format!("{name}.conv{i}"), format!("{name}.bn{i}")));
            let inner = relu(&self.conv(&x, &conv1.0, &conv1.1, block.stride, pass));
            let inner = self.conv(&inner, &conv2.0, &conv2.1, 1, pass);
            let shortcut = match block.c_in == block.c_out {
                true => x,
                false => x.graph().scope(&format!("{name}.shortcut"), || {
                    let matrix = pass.parameter(&x, &format!("{name}.shortcut"));
                    x.conv2d(&matrix, None, block.stride, 0)
                }),
            };
            x = relu(&inner.add(&shortcut));
        }
        x.global_average_pool()
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let [weights, bias] = ["linear.weight", "linear.bias"].map(|name| pass.parameter(features, name));
        features.graph().scope("linear", || features.linear(&weights, &bias))
    }

    fn kind(&self) -> &str {
        Self::KIND
    }

    fn settings(&self) -> String {
        toml::to_string(self).expect("a network is plain data")
    }
}
