//! `conv2d_weight_gradient`, with the number of parts that the device's rule chooses for the shape.

use super::shapes::{of_products, time_networks};
use super::timing::Bench;
use jem::compute::storage::{Storage, Storages};
use jem::kernels::conv2d_weight_gradient::Conv2dWeightGradient;

/// Times every layer.
pub fn run(bench: &mut Bench) {
    let policy = bench.device.policy().by_rule();
    time_networks(bench, |geometry, method| {
        let storage = Storages { c: Storage::F32, ..of_products(method) };
        let kernel = Conv2dWeightGradient { storage, ..Conv2dWeightGradient::new(geometry) };
        policy.clone().in_f16(method).weight_gradient(kernel)
    });
}
