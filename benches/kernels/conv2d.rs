//! `conv2d` as SGLD uses it: bias, leaky ReLU and sign mask.

use super::shapes::time_networks;
use super::timing::Bench;
use jem::kernels::conv2d::Conv2d;

/// Times every layer.
pub fn run(bench: &mut Bench) {
    time_networks(bench, |geometry, method| Conv2d {
        geometry,
        bias: true,
        residual: false,
        raw: false,
        activated: Some(0.2),
        mask: true,
        method,
        tile: None,
    });
}
