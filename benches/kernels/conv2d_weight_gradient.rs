//! `conv2d_weight_gradient` with as many partial sums as the shape wants.

use super::shapes::time_networks;
use super::timing::Bench;
use jem::kernels::conv2d_weight_gradient::Conv2dWeightGradient;

/// Times every layer.
pub fn run(bench: &mut Bench) {
    time_networks(bench, |geometry, method| Conv2dWeightGradient {
        method,
        ..Conv2dWeightGradient::new(geometry)
    });
}
