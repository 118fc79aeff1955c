//! `conv2d` as SGLD uses it: bias, leaky ReLU and sign mask.

use super::shapes::{of_products, time_networks};
use super::timing::Bench;
use jem::kernels::conv2d::Conv2d;

/// Times every layer.
pub fn run(bench: &mut Bench) {
    time_networks(bench, |geometry, method| Conv2d {
        bias: true,
        raw: false,
        activated: Some(0.2),
        mask: true,
        method,
        storage: of_products(method),
        ..Conv2d::new(geometry)
    });
}
