//! `conv2d_input_gradient` as SGLD uses it: with the sign mask, but in the first layer.

use super::shapes::{of_products, time_networks};
use super::timing::Bench;
use jem::compute::storage::Storages;
use jem::kernels::conv2d_input_gradient::Conv2dInputGradient;

/// Times every layer.
pub fn run(bench: &mut Bench) {
    time_networks(bench, |geometry, method| Conv2dInputGradient {
        mask: (geometry.c_in != 3).then_some(0.2),
        method,
        storage: if geometry.c_in == 3 { Storages::default() } else { of_products(method) },
        ..Conv2dInputGradient::new(geometry)
    });
}
