//! The residual networks of He et al. 2015, "Deep residual learning for image recognition": for CIFAR (section 4.2,
//! ResNet-20, 32, 44, 56, 110), and for ImageNet with four groups of blocks (ResNet-18, 34, 50, 101, 152), also with the
//! small stem that CIFAR needs.
//!
//! A stem, groups of blocks whose channels double from group to group, pooling, and the linear layer `linear`. A block is
//! `a(bn2(conv2(a(bn1(conv1(x))))) + shortcut(x))` with the activation `a`; the stride (2 in the first block of every
//! group but the first) is on its first 3x3 convolution. A bottleneck has convolutions of 1x1, 3x3 and 1x1 pixels, of
//! which the last has four times the channels. Convolutions have no biases.

use super::ingredients::{Activation, Norm, Pooling};
use super::layers::{Convolution, Layers, written_once};
use super::network::Network;
use super::parameters::ParameterKind;
use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::named::named;
use serde::{Deserialize, Serialize};

/// The factor of a bottleneck's channels.
const EXPANSION: usize = 4;
/// The most groups of blocks.
const MAX_GROUPS: usize = 4;

/// The layers before the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stem {
    /// A 3x3 convolution.
    #[default]
    Small,
    /// A 7x7 convolution with stride 2 and a 3x3 max pool with stride 2, for images of 224x224.
    Large,
}

named!(Stem, "stem": Small = "small", Large = "large");

/// The shortcut of a block whose shapes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shortcut {
    /// Option A, without parameters: every second pixel, and zeros for the new channels, half of them in front. It is
    /// computed as a 1x1 convolution with a fixed matrix of zeros and ones, which is exact and is added in the epilogue
    /// of the block's last convolution.
    #[default]
    Padded,
    /// Option B: a 1x1 convolution and a norm.
    Projected,
}

named!(Shortcut, "shortcut": Padded = "padded", Projected = "projected");

/// The shape of a ResNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResNet {
    /// The number of blocks of each group: three or four groups.
    pub blocks: Vec<usize>,
    /// Channels of the first convolution and of the first group's blocks.
    pub width: usize,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Whether the blocks are bottlenecks.
    #[serde(default)]
    pub bottleneck: bool,
    /// The layers before the blocks.
    #[serde(default)]
    pub stem: Stem,
    /// The shortcuts where shapes change.
    #[serde(default)]
    pub shortcut: Shortcut,
    /// The normalisation after convolutions.
    #[serde(default = "Norm::batch")]
    pub norm: Norm,
    /// The nonlinearity.
    #[serde(default = "Activation::relu")]
    pub activation: Activation,
    /// The pooling of features.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether weights are divided by their largest singular value.
    #[serde(default)]
    pub spectral_norm: bool,
}

/// A place in the network: its name, and what its block makes.
struct Place<'a> {
    name: &'a str,
    /// Channels of the 3x3 convolutions.
    channels: usize,
    stride: usize,
}

impl ResNet {
    /// Its kind in files.
    pub const KIND: &str = "resnet";

    /// The network for CIFAR with `depth` layers, 6n + 2, whose shortcuts have no parameters.
    pub fn cifar(depth: usize, classes: usize, channels: usize) -> Self {
        let (blocks, width) = (vec![depth.saturating_sub(2) / 6; 3], 16);
        let (norm, activation) = (Norm::Batch, Activation::Relu);
        let (bottleneck, stem, shortcut, pooling) =
            (false, Stem::default(), Shortcut::default(), Pooling::default());
        let spectral_norm = false;
        Self {
            blocks,
            width,
            classes,
            channels,
            bottleneck,
            stem,
            shortcut,
            norm,
            activation,
            pooling,
            spectral_norm,
        }
    }

    /// The network for ImageNet with `depth` layers, with a `stem` for small or large images; `None` for other depths
    /// than 18, 34, 50, 101 and 152.
    pub fn imagenet(depth: usize, stem: Stem, classes: usize, channels: usize) -> Option<Self> {
        let (blocks, bottleneck) = match depth {
            18 => ([2, 2, 2, 2], false),
            34 => ([3, 4, 6, 3], false),
            50 => ([3, 4, 6, 3], true),
            101 => ([3, 4, 23, 3], true),
            152 => ([3, 8, 36, 3], true),
            _ => return None,
        };
        let shortcut = Shortcut::Projected;
        let cifar = Self::cifar(0, classes, channels);
        Some(Self { blocks: blocks.into(), width: 64, bottleneck, stem, shortcut, ..cifar })
    }

    /// The number of layers with weights, without those of shortcuts.
    pub fn depth(&self) -> usize {
        let of_block = if self.bottleneck { 3 } else { 2 };
        of_block * self.blocks.iter().sum::<usize>() + 2
    }

    /// Channels of the features.
    fn feature_channels(&self) -> usize {
        self.outputs(self.width << (self.blocks.len().max(1) - 1))
    }

    /// The channels that a block makes whose 3x3 convolutions have `channels`.
    fn outputs(&self, channels: usize) -> usize {
        if self.bottleneck { EXPANSION * channels } else { channels }
    }

    fn body(&self, layers: &mut Layers<'_, '_>, images: &Tensor) -> Tensor {
        let stem = Convolution::new("conv1", self.width);
        let stem = match self.stem {
            Stem::Small => stem,
            Stem::Large => Convolution { size: 7, stride: 2, padding: 3, ..stem },
        };
        let mut x = self.activation.apply(&layers.convolve_normalise(images, stem, (self.norm, "bn1")));
        if self.stem == Stem::Large {
            x = x.max_pool(3, 2, 1);
        }
        for (group, &blocks) in self.blocks.iter().enumerate() {
            for index in 0..blocks {
                let name = format!("layer{}.{index}", group + 1);
                let stride = if group > 0 && index == 0 { 2 } else { 1 };
                x = self.block(layers, &x, &Place { name: &name, channels: self.width << group, stride });
            }
        }
        self.pooling.apply(&x)
    }

    fn block(&self, layers: &mut Layers<'_, '_>, x: &Tensor, place: &Place<'_>) -> Tensor {
        let &Place { name, channels, stride } = place;
        let part = |part: &str| format!("{name}.{part}");
        let outputs = self.outputs(channels);
        let mut step = |x: &Tensor, number: usize, shape: Convolution<'_>| {
            let (conv, norm) = (part(&format!("conv{number}")), part(&format!("bn{number}")));
            layers.convolve_normalise(x, Convolution { name: &conv, ..shape }, (self.norm, &norm))
        };
        let square = Convolution::new("", channels);
        let inner = if self.bottleneck {
            let x = self.activation.apply(&step(x, 1, square.point()));
            let x = self.activation.apply(&step(&x, 2, square.stride(stride)));
            step(&x, 3, Convolution::new("", outputs).point())
        } else {
            let x = self.activation.apply(&step(x, 1, square.stride(stride)));
            step(&x, 2, square)
        };
        let inputs = x.shape().last().copied().unwrap_or(1);
        let shortcut = match (stride != 1 || inputs != outputs, self.shortcut) {
            (false, _) => x.clone(),
            (true, Shortcut::Padded) => {
                let matrix = option_a(inputs, outputs);
                let name = part("shortcut");
                let shape = vec![1, 1, inputs, outputs];
                let matrix = layers.parameter(&name, x, shape, ParameterKind::Fixed(matrix));
                x.graph().scope(&name, || x.conv2d(&matrix, None, stride, 0))
            }
            (true, Shortcut::Projected) => {
                let (conv, norm) = (part("shortcut.0"), part("shortcut.1"));
                let point = Convolution::new(&conv, outputs).point().stride(stride);
                layers.convolve_normalise(x, point, (self.norm, &norm))
            }
        };
        self.activation.apply(&inner.add(&shortcut))
    }

    fn output(&self) -> String {
        "linear".into()
    }
}

/// The matrix of option A, `[inputs, outputs]`: channel i of the input is channel `i + (outputs - inputs) / 2` of the
/// shortcut.
fn option_a(inputs: usize, outputs: usize) -> Vec<f32> {
    let front = outputs.saturating_sub(inputs) / 2;
    let mut matrix = vec![0.0; inputs * outputs];
    for channel in 0..inputs.min(outputs) {
        matrix[channel * outputs + front + channel] = 1.0;
    }
    matrix
}

impl Network for ResNet {
    fn name(&self) -> String {
        let norm = if self.norm == Norm::Batch { String::new() } else { self.norm.title() };
        let usual = if self.blocks.len() == MAX_GROUPS { 64 } else { 16 };
        let width = if self.width == usual { String::new() } else { format!(" of width {}", self.width) };
        format!("ResNet-{}{width}{norm}", self.depth())
    }

    fn usual_image_size(&self) -> [usize; 2] {
        match self.stem {
            Stem::Small => [32, 32],
            Stem::Large => [224, 224],
        }
    }

    fn check(&self) -> Result<()> {
        let groups = self.blocks.len();
        if !(3..=MAX_GROUPS).contains(&groups) || self.blocks.iter().any(|n| !(1..=200).contains(n)) {
            let message = format!(
                "a ResNet for CIFAR has 6n + 2 layers (20, 32, 44, 56, 110), one for ImageNet 18, 34, 50, 101 or 152; \
                 got groups of {:?} blocks",
                self.blocks
            );
            return Err(Error::setting("depth", message));
        }
        if !(1..=1024).contains(&self.width) {
            return Err(Error::setting("width", format!("expected 1 to 1024 channels, got {}", self.width)));
        }
        if self.classes < 1 || self.classes > 1000 {
            return Err(Error::setting("classes", format!("expected 1 to 1000, got {}", self.classes)));
        }
        if self.bottleneck && self.shortcut == Shortcut::Padded {
            return Err(Error::setting("shortcut", "bottlenecks need projected shortcuts"));
        }
        if self.feature_channels() > 1 << 16 {
            let message = format!("expected at most 65536 features, got {}", self.feature_channels());
            return Err(Error::setting("width", message));
        }
        self.norm.check([self.width])
    }

    written_once!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_as_many_as_published() {
        let elements = |network: ResNet| network.layout().elements();
        // He et al. 2015, table 6: 0.27M and 1.7M. Torchvision's documentation: 11,689,512 and 25,557,032.
        assert_eq!(elements(ResNet::cifar(20, 10, 3)), 269_722);
        assert_eq!(elements(ResNet::cifar(110, 10, 3)), 1_727_962);
        let imagenet = |depth| ResNet::imagenet(depth, Stem::Large, 1000, 3).unwrap();
        assert_eq!([18, 34, 50].map(|d| elements(imagenet(d))), [11_689_512, 21_797_672, 25_557_032]);
        assert_eq!(ResNet::imagenet(18, Stem::Small, 10, 3).unwrap().name(), "ResNet-18");
        assert!(ResNet::imagenet(20, Stem::Small, 10, 3).is_none());
    }
}
