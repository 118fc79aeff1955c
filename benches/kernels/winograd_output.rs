//! `winograd_output` as SGLD uses it: bias, leaky ReLU and sign mask.

use super::timing::Bench;
use super::winograd_input::time_tiles;
use jem::kernels::conv2d::Conv2d;
use jem::kernels::cooperative::Method;
use jem::kernels::winograd_output::{Convolution, WinogradOutput};

/// Times it.
pub fn run(bench: &mut Bench) {
    time_tiles(bench, |&geometry, size| {
        let method = Method::Scalar;
        let conv = Conv2d {
            geometry,
            bias: true,
            residual: false,
            raw: false,
            activated: Some(0.2),
            mask: true,
            method,
            tile: None,
        };
        WinogradOutput { convolution: Convolution::Forward(conv), size }
    });
}
