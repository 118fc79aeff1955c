//! The residual networks for CIFAR of He et al. 2015, "Deep residual learning for image recognition", section 4.2:
//! ResNet-20, 32, 44, 56, 110.
//!
//! `conv1` (3x3, 16 channels), three groups of `(depth - 2) / 6` blocks with 16, 32 and 64 channels, average pool,
//! and the linear layer `linear`. A block is `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`; the stride (2 in
//! the first block of groups 2 and 3) is on its first convolution. Convolutions have no biases. Where shapes change
//! the shortcut has no parameters (option A): every second pixel, and zeros for the new channels, half of them in
//! front. It is computed as a 1x1 convolution with a fixed matrix of zeros and ones, which is exact and is added in
//! the epilogue of `conv2`.

use super::batch_norm::{self, Mode};
use super::init::Fans;
use super::parameters::{Layout, Role};
use crate::error::{Error, Result};
use crate::graph::Tensor;
use serde::{Deserialize, Serialize};

/// Channels of the first convolution.
const CHANNELS: usize = 16;

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
    /// Checks depth and classes.
    ///
    /// # Errors
    /// [`Error::Setting`] with the allowed range.
    pub fn check(&self) -> Result<()> {
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

    /// The features that the linear layer sees.
    pub fn features(&self) -> usize {
        CHANNELS << 2
    }

    /// The parameters.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        let conv = |layout: &mut Layout, name: &str, c_in: usize, c_out: usize| {
            let fans = Fans { fan_in: 9 * c_in, fan_out: 9 * c_out, bias: false };
            layout.push(format!("{name}.weight"), vec![3, 3, c_in, c_out], fans);
        };
        let norm = |layout: &mut Layout, name: &str, channels: usize| {
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
                layout.push(format!("{name}.shortcut"), shape, Role::Fixed(block.option_a()));
            }
        }
        let fans = Fans { fan_in: self.features(), fan_out: self.classes, bias: false };
        layout.push("linear.weight".into(), vec![self.features(), self.classes], fans);
        layout.push("linear.bias".into(), vec![self.classes], Fans { bias: true, ..fans });
        layout
    }

    /// The logits `[n, classes]` of images `[n, h, w, channels]`, normalised as in training.
    pub fn logits(&self, layout: &Layout, images: &Tensor, mode: Mode) -> Tensor {
        let graph = images.graph();
        let conv = |x: &Tensor, name: &str, norm: &str, stride: usize| {
            graph.scope(name, || {
                let weights = layout.leaf(graph, &format!("{name}.weight"));
                batch_norm::convolve(x, &weights, None, stride, 1, layout, norm, mode)
            })
        };
        let relu = |x: &Tensor| x.leaky_relu(0.0);
        let mut x = relu(&conv(images, "conv1", "bn1", 1));
        for block in self.blocks() {
            let name = &block.name;
            let inner = relu(&conv(&x, &format!("{name}.conv1"), &format!("{name}.bn1"), block.stride));
            let inner = conv(&inner, &format!("{name}.conv2"), &format!("{name}.bn2"), 1);
            let shortcut = match block.c_in == block.c_out {
                true => x,
                false => graph.scope(&format!("{name}.shortcut"), || {
                    let matrix = layout.leaf(graph, &format!("{name}.shortcut"));
                    x.conv2d(&matrix, None, block.stride, 0)
                }),
            };
            x = relu(&inner.add(&shortcut));
        }
        let features = x.global_average_pool();
        let [weights, bias] = ["linear.weight", "linear.bias"].map(|name| layout.leaf(graph, name));
        graph.scope("linear", || features.linear(&weights, &bias))
    }
}
