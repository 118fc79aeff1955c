//! Group normalisation (Wu & He, ECCV 2018), as in PyTorch's `GroupNorm`.
//!
//! `y = (x - mean) / sqrt(variance + 1e-5) * weight + bias`: the statistics are those of each image's groups of
//! neighbouring channels, over their pixels; weight and bias are each channel's. Images do not affect each other, so
//! training and inference are the same. The parameters are named as batch norm's.

use super::parameters::ParameterLayout;
use crate::compute::norm_geometry::NormGeometry;
use crate::graph::{Normalisation, Tensor};

/// Groups of channels in every layer of a WideResNet, whose channels are multiples of 16.
pub const GROUPS: usize = 8;

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// Images `[n, h, w, c]`, normalised; `groups` divides `c`.
pub fn normalise(x: &Tensor, layout: &ParameterLayout, name: &str, groups: usize) -> Tensor {
    let leaf = |part: &str| layout.leaf(x.graph(), &format!("{name}.{part}"));
    let (weight, bias) = (leaf("weight"), leaf("bias"));
    let norm = Normalisation { geometry: NormGeometry::of_groups(x, groups), epsilon: EPSILON };
    x.normalise(norm, &weight, &bias)
}
