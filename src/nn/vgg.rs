//! The networks of Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", with
//! batch norm, as they are used for CIFAR: VGG-11, 13, 16 and 19.
//!
//! 3x3 convolutions with biases, each with a norm and an activation, and 2x2 max pools among them; then linear layers
//! with activations and dropout, and a last one. Layers are named by their place among `features` and `classifier`, as
//! `torch.nn.Sequential` counts them: a convolution, its norm, its activation and a pool are a place each.

use super::ingredients::{Activation, Norm};
use super::layers::{Convolution, Layers, written_once};
use super::network::Network;
use crate::error::{Error, Result};
use crate::graph::Tensor;
use serde::{Deserialize, Serialize};

/// Rows and columns of the images.
const SIDE: usize = 32;
/// A pool among [`Vgg::plan`]'s channels.
pub const POOL: usize = 0;
/// The probability with which training drops a hidden unit of the classifier.
const DROPOUT: f32 = 0.5;

/// The shape of a VGG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vgg {
    /// The channels of each convolution in order, with [`POOL`] for a pool.
    pub plan: Vec<usize>,
    /// The sizes of the linear layers before the last.
    pub hidden: Vec<usize>,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub channels: usize,
    /// The normalisation after convolutions.
    #[serde(default = "Norm::batch")]
    pub norm: Norm,
    /// The nonlinearity.
    #[serde(default = "Activation::relu")]
    pub activation: Activation,
    /// Whether weights are divided by their largest singular value.
    #[serde(default)]
    pub spectral_norm: bool,
}

impl Vgg {
    /// Its kind in files.
    pub const KIND: &str = "vgg";

    /// The network with `depth` layers: 11, 13, 16 or 19, with two hidden layers of 512 units; `None` for other depths.
    pub fn new(depth: usize, classes: usize, channels: usize) -> Option<Self> {
        let repeats = match depth {
            11 => [1, 1, 2, 2, 2],
            13 => [2, 2, 2, 2, 2],
            16 => [2, 2, 3, 3, 3],
            19 => [2, 2, 4, 4, 4],
            _ => return None,
        };
        let mut plan = Vec::new();
        for (repeat, channels) in repeats.into_iter().zip([64, 128, 256, 512, 512]) {
            plan.extend(std::iter::repeat_n(channels, repeat));
            plan.push(POOL);
        }
        let (hidden, norm, activation) = (vec![512, 512], Norm::Batch, Activation::Relu);
        Some(Self { plan, hidden, classes, channels, norm, activation, spectral_norm: false })
    }

    fn body(&self, layers: &mut Layers<'_, '_>, images: &Tensor) -> Tensor {
        let (mut x, mut place) = (images.clone(), 0);
        for &channels in &self.plan {
            if channels == POOL {
                x = x.max_pool(2, 2, 0);
                place += 1;
                continue;
            }
            let [conv, norm] = [place, place + 1].map(|place| format!("features.{place}"));
            let conv = Convolution::new(&conv, channels).bias(true);
            x = self.activation.apply(&layers.convolve_normalise(&x, conv, (self.norm, &norm)));
            place += 3;
        }
        // One pixel is left: PyTorch's order of channels before pixels is the same.
        let mut x = x.flatten();
        for (index, &units) in self.hidden.iter().enumerate() {
            let hidden = layers.linear(&self.classifier(index), &x, units);
            x = layers.dropout(&self.activation.apply(&hidden), DROPOUT);
        }
        x
    }

    /// The name of linear layer `index`: one alone is the classifier, of several each is a place with its activation and
    /// dropout.
    fn classifier(&self, index: usize) -> String {
        if self.hidden.is_empty() { "classifier".into() } else { format!("classifier.{}", 3 * index) }
    }

    fn output(&self) -> String {
        self.classifier(self.hidden.len())
    }
}

impl Network for Vgg {
    fn name(&self) -> String {
        let layers = self.plan.iter().filter(|&&channels| channels != POOL).count() + self.hidden.len() + 1;
        format!("VGG-{layers}{}", self.norm.title())
    }

    fn image_size(&self) -> Option<[usize; 2]> {
        Some([SIDE, SIDE])
    }

    fn check(&self) -> Result<()> {
        let wrong = |key: &str, message: String| Err(Error::setting(key, message));
        let pools = self.plan.iter().filter(|&&channels| channels == POOL).count();
        if pools != SIDE.ilog2() as usize {
            let message =
                format!("a VGG for {SIDE}x{SIDE} images has 5 pools, got {pools} in {:?}", self.plan);
            return wrong("plan", message);
        }
        if self.plan.len() > 64 || self.plan[0] == POOL || self.hidden.len() > 8 {
            return wrong(
                "plan",
                format!("expected convolutions first, at most 64 layers, got {:?}", self.plan),
            );
        }
        if let Some(units) = self.plan.iter().chain(&self.hidden).find(|&&units| units > 1 << 14) {
            return wrong("plan", format!("expected layers of at most 16384 units, got {units}"));
        }
        if self.classes < 1 || self.classes > 1000 {
            return wrong("classes", format!("expected 1 to 1000, got {}", self.classes));
        }
        self.norm.check(self.plan.iter().copied().filter(|&channels| channels != POOL))
    }

    written_once!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_as_many_as_published() {
        // The tables of chenyaofo's models for CIFAR-10: 9.76M, 9.94M, 15.25M and 20.57M.
        let elements = |depth| Vgg::new(depth, 10, 3).unwrap().layout().elements();
        let millions = [11, 13, 16, 19].map(|depth| (elements(depth) as f64 / 1e4).round() / 100.0);
        assert_eq!(millions, [9.76, 9.94, 15.25, 20.57]);
        assert_eq!(Vgg::new(16, 10, 3).unwrap().name(), "VGG-16 with batch norm");
        let one = Vgg { hidden: vec![], ..Vgg::new(11, 10, 3).unwrap() };
        assert!(one.layout().parameters().iter().any(|p| p.name == "classifier.weight"));
    }
}
