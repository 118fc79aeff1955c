//! The WideResNet of JEM: Zagoruyko & Komodakis 2016, without batch norm (Grathwohl et al. 2019).
//!
//! `conv1` (3x3, 16 channels), three groups of `(depth - 4) / 6` pre-activation blocks with `16 w`, `32 w` and
//! `64 w` channels, leaky ReLU (0.2), average pool, and the linear layer `class_output`. A block is
//! `conv2(lrelu(conv1(lrelu(x)))) + shortcut(x)`; the stride (2 in the first block of groups 2 and 3) is on its
//! second convolution, and the shortcut is a 1x1 convolution where shapes change. Convolutions have biases.
//! Parameters are named as in the released checkpoints.

use super::init::Fans;
use super::parameters::Layout;
use crate::error::{Error, Result};
use crate::graph::{Graph, Tensor};
use serde::{Deserialize, Serialize};

/// The slope of the leaky ReLUs below 0.
pub const SLOPE: f32 = 0.2;

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

    /// The features that the linear layer sees.
    pub fn features(&self) -> usize {
        64 * self.width
    }

    /// The parameters.
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
        let fans = Fans { fan_in: self.features(), fan_out: self.classes, bias: false };
        layout.push("class_output.weight".into(), vec![self.features(), self.classes], fans);
        layout.push("class_output.bias".into(), vec![self.classes], Fans { bias: true, ..fans });
        layout
    }

    /// The logits `[n, classes]` of images `[n, h, w, channels]` in [-1, 1].
    pub fn logits(&self, layout: &Layout, images: &Tensor) -> Tensor {
        let graph = images.graph();
        let conv = |x: &Tensor, name: &str, stride: usize, padding: usize| {
            graph.scope(name, || {
                let weights = layout.leaf(graph, &format!("f.{name}.weight"));
                let bias = layout.leaf(graph, &format!("f.{name}.bias"));
                x.conv2d(&weights, Some(&bias), stride, padding)
            })
        };
        let mut x = conv(images, "conv1", 1, 1);
        for block in self.blocks() {
            let inner = conv(&x.leaky_relu(SLOPE), &format!("{}.conv1", block.name), 1, 1);
            let inner = conv(&inner.leaky_relu(SLOPE), &format!("{}.conv2", block.name), block.stride, 1);
            let shortcut = match block.has_shortcut() {
                true => conv(&x, &format!("{}.shortcut.0", block.name), block.stride, 0),
                false => x,
            };
            x = inner.add(&shortcut);
        }
        let features = x.leaky_relu(SLOPE).global_average_pool();
        graph.scope("class_output", || self.classify(graph, layout, &features))
    }

    fn classify(&self, graph: &Graph, layout: &Layout, features: &Tensor) -> Tensor {
        let weights = layout.leaf(graph, "class_output.weight");
        let bias = layout.leaf(graph, "class_output.bias");
        features.linear(&weights, &bias)
    }
}
