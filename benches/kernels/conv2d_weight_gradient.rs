//! `conv2d_weight_gradient` with as many partial sums as the shape wants.

use super::shapes::{of_products, time_networks};
use super::timing::Bench;
use jem::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use jem::kernels::half::{Storage, Storages};

/// Times every layer.
pub fn run(bench: &mut Bench) {
    time_networks(bench, |geometry, method| Conv2dWeightGradient {
        method,
        storage: Storages { c: Storage::F32, ..of_products(method) },
        ..Conv2dWeightGradient::new(geometry)
    });
}
