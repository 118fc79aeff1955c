//! `winograd_output` as SGLD uses it: bias, leaky ReLU and sign mask.

use super::timing::Bench;
use super::winograd_input::time_tiles;
use jem::kernels::conv2d::Conv2d;
use jem::kernels::winograd_output::{Convolution, WinogradOutput};

/// Times it.
pub fn run(bench: &mut Bench) {
    time_tiles(bench, |&geometry, size| {
        let conv =
            Conv2d { bias: true, raw: false, activated: Some(0.2), mask: true, ..Conv2d::new(geometry) };
        WinogradOutput { convolution: Convolution::Forward(conv), size }
    });
}
