//! Batch normalisation (Ioffe & Szegedy 2015), as in PyTorch's `BatchNorm2d`.
//!
//! `y = (x - mean) / sqrt(variance + 1e-5) * weight + bias`, channel by channel: with the running statistics of
//! training ([`NormMode::Inference`]), or with those of the batch, over images and pixels ([`NormMode::Training`]).
//! After a convolution the running statistics are folded into its weights and bias, so that it stays one fused kernel.

use super::parameters::{ParameterKind, ParameterLayout};
use crate::compute::norm_geometry::NormGeometry;
use crate::error::Result;
use crate::graph::{Normalisation, Tensor};
use crate::named::named;

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// The statistics that batch normalisation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NormMode {
    /// The running statistics of training.
    #[default]
    Inference,
    /// The statistics of each batch.
    Training,
}

named!(NormMode, "norm-mode": Inference = "inference", Training = "training");

impl NormMode {
    /// The mode of a network in training: each batch's own statistics, for batches of chains too, as in JEM++;
    /// [`NormMode::Inference`], which is the same, for a network without batch norm.
    pub fn in_training(layout: &ParameterLayout) -> Self {
        if layout.has_statistics() { Self::Training } else { Self::Inference }
    }
}

/// Declares `NAME.weight` and `NAME.bias`, which are trained.
pub fn declare_affine(layout: &mut ParameterLayout, name: &str, channels: usize) {
    layout.push(format!("{name}.weight"), vec![channels], ParameterKind::Constant(1.0));
    layout.push(format!("{name}.bias"), vec![channels], ParameterKind::Constant(0.0));
}

/// Declares `NAME.running_mean` and `NAME.running_var`, which [`Pass::running_statistics`] updates.
///
/// [`Pass::running_statistics`]: super::network::Pass::running_statistics
pub fn declare_statistics(layout: &mut ParameterLayout, name: &str, channels: usize) {
    layout.push(format!("{name}.running_mean"), vec![channels], ParameterKind::Statistic(0.0));
    layout.push(format!("{name}.running_var"), vec![channels], ParameterKind::Statistic(1.0));
}

/// The parameters of one normalisation as leaves of a graph.
struct Leaves {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl Leaves {
    fn new(like: &Tensor, layout: &ParameterLayout, name: &str) -> Self {
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
pub fn normalise(x: &Tensor, layout: &ParameterLayout, name: &str, mode: NormMode) -> Tensor {
    let leaves = Leaves::new(x, layout, name);
    if mode == NormMode::Inference {
        let (factor, shift) = leaves.affine();
        return x.mul(&factor).add(&shift);
    }
    let norm = Normalisation { geometry: NormGeometry::of_batch(x), epsilon: EPSILON };
    x.normalise(norm, &leaves.weight, &leaves.bias)
}

/// The mean and the unbiased variance (divided by n - 1), as in PyTorch, of `x`, the input of the normalisation `name`;
/// each has the name of its running statistic. A channel needs at least two numbers: the unbiased variance of one is
/// NaN.
pub(super) fn batch_statistics(x: &Tensor, name: &str) -> [(String, Tensor); 2] {
    let geometry = NormGeometry::of_batch(x);
    let [mean, variance] = x.moments(geometry).map(|of| of.reshape([geometry.channels]));
    let n = geometry.population() as f32;
    let unbiased = variance.scale(n / (n - 1.0));
    [(format!("{name}.running_mean"), mean), (format!("{name}.running_var"), unbiased)]
}

/// A convolution (`weights [kh, kw, c_in, c_out]`, bias or none) followed by the normalisation `name`, with the running
/// statistics folded into the weights and the bias.
pub fn convolve(
    x: &Tensor,
    weights: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
    layout: &ParameterLayout,
    name: &str,
) -> Tensor {
    let (factor, shift) = Leaves::new(x, layout, name).affine();
    let shift = match bias {
        Some(bias) => bias.mul(&factor).add(&shift),
        None => shift,
    };
    // The output channel is the last axis of both.
    x.conv2d(&weights.mul(&factor), Some(&shift), stride, padding)
}
