//! Batch normalisation (Ioffe & Szegedy 2015), as PyTorch's `BatchNorm2d` has it.
//!
//! `y = (x - mean) / sqrt(variance + 1e-5) * weight + bias`, channel by channel: with the statistics of training
//! ([`Mode::Inference`]), or with those of the batch at hand, over images and pixels ([`Mode::Training`]). Behind a
//! convolution the statistics of training are folded into its weights and bias, so that it stays one fused kernel.

use super::parameters::{Layout, Role};
use crate::error::{Error, Result};
use crate::graph::Tensor;
use serde::{Deserialize, Serialize};

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// Which statistics batch normalisation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Those that training left.
    #[default]
    Inference,
    /// Those of each batch.
    Training,
}

impl std::str::FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "inference" => Ok(Self::Inference),
            "training" => Ok(Self::Training),
            _ => Err(Error::setting("norm-mode", format!("expected inference or training, got {text:?}"))),
        }
    }
}

/// Declares the parameters `NAME.weight`, `NAME.bias`, `NAME.running_mean` and `NAME.running_var`.
pub fn declare(layout: &mut Layout, name: &str, channels: usize) {
    let parts = [
        ("weight", Role::Constant(1.0)),
        ("bias", Role::Constant(0.0)),
        ("running_mean", Role::Statistic(0.0)),
        ("running_var", Role::Statistic(1.0)),
    ];
    for (part, role) in parts {
        layout.push(format!("{name}.{part}"), vec![channels], role);
    }
}

/// The parameters of one normalisation as leaves of a graph.
struct Leaves {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl Leaves {
    fn new(like: &Tensor, layout: &Layout, name: &str) -> Self {
        let leaf = |part: &str| layout.leaf(like.graph(), &format!("{name}.{part}"));
        let (mean, variance) = (leaf("running_mean"), leaf("running_var"));
        Self { weight: leaf("weight"), bias: leaf("bias"), mean, variance }
    }

    /// The factor of each channel, `weight / sqrt(variance + 1e-5)`, and what is added: `bias - mean * factor`.
    fn affine(&self) -> (Tensor, Tensor) {
        let factor = self.weight.div(&self.variance.affine(1.0, EPSILON).sqrt());
        let shift = self.bias.sub(&self.mean.mul(&factor));
        (factor, shift)
    }
}

/// Images `[n, h, w, c]`, normalised.
pub fn normalise(x: &Tensor, layout: &Layout, name: &str, mode: Mode) -> Tensor {
    let leaves = Leaves::new(x, layout, name);
    if mode == Mode::Inference {
        let (factor, shift) = leaves.affine();
        return x.mul(&factor).add(&shift);
    }
    let shape = x.shape().to_vec();
    let channels = shape.last().copied().unwrap_or(1);
    let rows = x.reshape([x.elements() / channels, channels]);
    let centred = rows.sub(&rows.mean(&[0]));
    let variance = centred.mul(&centred).mean(&[0]);
    let factor = leaves.weight.div(&variance.affine(1.0, EPSILON).sqrt());
    centred.mul(&factor).add(&leaves.bias).reshape(shape)
}

/// A convolution (`weights [kh, kw, c_in, c_out]`, bias or none) and the normalisation `name` behind it.
pub fn convolve(
    x: &Tensor,
    weights: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
    layout: &Layout,
    name: &str,
    mode: Mode,
) -> Tensor {
    if mode == Mode::Training {
        return normalise(&x.conv2d(weights, bias, stride, padding), layout, name, mode);
    }
    let (factor, shift) = Leaves::new(x, layout, name).affine();
    let shift = match bias {
        Some(bias) => bias.mul(&factor).add(&shift),
        None => shift,
    };
    // The output channel is the last axis of both.
    x.conv2d(&weights.mul(&factor), Some(&shift), stride, padding)
}
