//! `conv2d_weight_gradient` against float64.

use super::harness::{Expect, Inputs, check, words};
use super::reference;
use jem::kernels::conv2d::ConvGeometry;
use jem::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use proptest::prelude::*;

tests![
    awkward_shapes,
    every_permutation,
    as_many_splits_as_the_shape_wants,
    more_splits_than_pixels,
    any_shape
];

/// Σ(a-b)²/Σb² for sums of up to 2048 products in f32.
const BOUND: f64 = 1e-12;

fn check_kernel(kernel: Conv2dWeightGradient, seed: u64) {
    let g = kernel.geometry;
    let mut inputs = Inputs::new(seed);
    let input = inputs.floats(g.input_len());
    let gradient = inputs.floats(g.output_len());
    let mut partials = vec![0.0; kernel.splits * g.weights_len()];
    reference::for_each_product(&g, |i, w, o| {
        let split = o / g.c_out / kernel.pixels_per_split();
        partials[split * g.weights_len() + w] += f64::from(input[i]) * f64::from(gradient[o]);
    });
    check(kernel, &[Some(words(&input)), Some(words(&gradient)), None], &[Expect::Close(partials, BOUND)]);
}

fn awkward_shapes() {
    for (seed, geometry) in reference::awkward_geometries().into_iter().enumerate() {
        for splits in [1, 3] {
            check_kernel(Conv2dWeightGradient { geometry, splits }, seed as u64);
        }
    }
}

fn every_permutation() {
    for (seed, kernel) in Conv2dWeightGradient::permutations().into_iter().enumerate() {
        check_kernel(kernel, seed as u64);
    }
}

fn as_many_splits_as_the_shape_wants() {
    let shape = ConvGeometry { n: 2, h: 32, w: 32, c_in: 16, c_out: 16, kh: 3, kw: 3, stride: 1, padding: 1 };
    let kernel = Conv2dWeightGradient::new(shape);
    assert!(kernel.splits > 1, "{kernel:?}");
    check_kernel(kernel, 5);
}

fn more_splits_than_pixels() {
    let shape = ConvGeometry { n: 1, h: 2, w: 2, c_in: 3, c_out: 4, kh: 3, kw: 3, stride: 1, padding: 1 };
    check_kernel(Conv2dWeightGradient { geometry: shape, splits: 7 }, 6);
}

proptest! {
    #![proptest_config(super::harness::cases(32))]
    fn any_shape(geometry in reference::any_geometry(), splits in 1usize..5, seed in any::<u64>()) {
        check_kernel(Conv2dWeightGradient { geometry, splits }, seed);
    }
}
