//! The WideResNet without norms of the bench, in burn's modules, and its multiply-adds.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Tensor;
use burn::tensor::activation::leaky_relu;
use burn::tensor::backend::Backend;

/// Rows and columns of an image.
pub const SIZE: usize = 32;
/// Its channels.
pub const CHANNELS: usize = 3;
const CLASSES: usize = 10;
const SLOPE: f64 = 0.2;

/// Two 3x3 convolutions around a shortcut.
#[derive(Module, Debug)]
struct Block<B: Backend> {
    first: Conv2d<B>,
    second: Conv2d<B>,
    shortcut: Option<Conv2d<B>>,
}

/// WRN-DEPTH-WIDTH.
#[derive(Module, Debug)]
pub struct WideResNet<B: Backend> {
    stem: Conv2d<B>,
    blocks: Vec<Block<B>>,
    head: Linear<B>,
}

/// Makes convolutions and counts their multiply-adds.
struct Maker<'a, B: Backend> {
    device: &'a B::Device,
    /// Multiply-adds of all convolutions for one image.
    products: u64,
}

impl<B: Backend> Maker<'_, B> {
    /// A convolution whose output has `size` rows and columns.
    fn convolution(
        &mut self,
        (c_in, c_out): (usize, usize),
        kernel: usize,
        stride: usize,
        size: usize,
    ) -> Conv2d<B> {
        self.products += (size * size * kernel * kernel * c_in * c_out) as u64;
        let padding = kernel / 2;
        Conv2dConfig::new([c_in, c_out], [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .init(self.device)
    }
}

impl<B: Backend> WideResNet<B> {
    /// The network with burn's initial parameters, and the multiply-adds of its convolutions for one image.
    ///
    /// # Errors
    /// If there is no network of this depth and width.
    pub fn new(depth: usize, width: usize, device: &B::Device) -> Result<(Self, u64), String> {
        if depth < 10 || depth % 6 != 4 {
            return Err(format!("--depth {depth}: expected 6n + 4, such as 10, 16 or 28"));
        }
        if width == 0 {
            return Err("--width 0: expected 1 or more".into());
        }
        let mut maker = Maker { device, products: 0 };
        let stem = maker.convolution((CHANNELS, 16), 3, 1, SIZE);
        let mut blocks = Vec::new();
        let (mut channels, mut size) = (16, SIZE);
        for group in 0..3 {
            for index in 0..(depth - 4) / 6 {
                let out = (16 << group) * width;
                let stride = if group > 0 && index == 0 { 2 } else { 1 };
                let first = maker.convolution((channels, out), 3, 1, size);
                size /= stride;
                let second = maker.convolution((out, out), 3, stride, size);
                let resized = stride != 1 || channels != out;
                let shortcut = resized.then(|| maker.convolution((channels, out), 1, stride, size));
                blocks.push(Block { first, second, shortcut });
                channels = out;
            }
        }
        let head = LinearConfig::new(channels, CLASSES).init(device);
        Ok((Self { stem, blocks, head }, maker.products))
    }

    /// log p(x) up to a constant, summed over the batch: the LogSumExp of each image's logits.
    pub fn log_density(&self, images: Tensor<B, 4>) -> Tensor<B, 1> {
        let mut x = self.stem.forward(images);
        for block in &self.blocks {
            let inner = block.first.forward(leaky_relu(x.clone(), SLOPE));
            let inner = block.second.forward(leaky_relu(inner, SLOPE));
            let shortcut = match &block.shortcut {
                Some(convolution) => convolution.forward(x),
                None => x,
            };
            x = inner + shortcut;
        }
        let features = leaky_relu(x, SLOPE).mean_dim(3).mean_dim(2).flatten::<2>(1, 3);
        let logits = self.head.forward(features);
        let largest = logits.clone().max_dim(1).detach();
        ((logits - largest.clone()).exp().sum_dim(1).log() + largest).sum()
    }
}
