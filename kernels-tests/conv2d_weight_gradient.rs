//! `conv2d_weight_gradient` against float64.

use super::cooperative::{self, operand};
use super::harness::{Expect, Inputs, assert_same_words, check_on, devices, stored};
use super::reference;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::conv_tile::ScalarTile;
use jem::compute::storage::{Storage, Storages};
use jem::device::Device;
use jem::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use jem::policy::convolution::ConvolutionPolicy;
use proptest::prelude::*;
use std::sync::Arc;

tests![
    awkward_shapes,
    every_permutation,
    every_tile,
    loading_ahead_changes_no_bit,
    as_many_parts_as_the_shape_wants,
    more_parts_than_pixels,
    hundreds_of_parts_and_empty_ones,
    as_many_parts_as_a_gpu_has,
    any_shape,
    by_cooperative_matrices,
    every_tile_of_matrices
];

/// Σ(a-b)²/Σb² for sums of up to 2048 products in f32.
const BOUND: f64 = 1e-12;

/// Both operands in f16.
const HALF: Storages = Storages { c: Storage::F32, ..Storages::F16 };

fn check_kernel(kernel: Conv2dWeightGradient, seed: u64) {
    check_kernel_on(&devices(), BOUND, kernel, seed);
}

fn check_kernel_on(
    devices: &[(&'static str, &'static Device)],
    bound: f64,
    kernel: Conv2dWeightGradient,
    seed: u64,
) -> f64 {
    let g = kernel.geometry;
    let mut inputs = Inputs::new(seed);
    let (input_words, input) = stored(kernel.storage.a, inputs.floats(g.input_len()));
    let (gradient_words, gradient) = stored(kernel.storage.b, inputs.floats(g.output_len()));
    let [a, b] =
        [&input, &gradient].map(|x| x.iter().map(|&x| operand(kernel.method, x)).collect::<Vec<_>>());
    let mut partials = vec![0.0; kernel.parts * g.weights_len()];
    reference::for_each_product(&g, |i, w, o| {
        let split = o / g.c_out / kernel.pixels_per_part();
        partials[split * g.weights_len() + w] += f64::from(a[i]) * f64::from(b[o]) * f64::from(kernel.factor);
    });
    let initial = [Some(input_words), Some(gradient_words), None];
    check_on(devices, kernel, &initial, &[Expect::Close(partials, bound)])
}

fn split(geometry: ConvGeometry, parts: usize) -> Conv2dWeightGradient {
    Conv2dWeightGradient { parts, ..Conv2dWeightGradient::new(geometry) }
}

fn awkward_shapes() {
    for (seed, geometry) in reference::awkward_geometries().into_iter().enumerate() {
        for parts in [1, 3] {
            check_kernel(split(geometry, parts), seed as u64);
        }
    }
}

fn every_permutation() {
    for (seed, kernel) in Conv2dWeightGradient::permutations().into_iter().enumerate() {
        check_kernel(kernel, seed as u64);
    }
}

fn every_tile() {
    for (seed, tile) in ScalarTile::ALL.into_iter().filter(|tile| !tile.is_direct()).enumerate() {
        for geometry in reference::geometries_for(tile.size(), tile.is_ahead()) {
            let kernel = Conv2dWeightGradient { tile: Some(tile.into()), ..split(geometry, 2) };
            check_kernel(kernel, seed as u64);
            // Tiles that load ahead hold f16 as it is in memory.
            if tile.is_ahead() && HALF.fit(geometry.c_in, geometry.c_out) {
                check_kernel(Conv2dWeightGradient { storage: HALF, ..kernel }, seed as u64);
            }
        }
    }
}

fn loading_ahead_changes_no_bit() {
    for (seed, tile) in ScalarTile::ALL.into_iter().filter(|tile| tile.is_ahead()).enumerate() {
        let by_fours = |g: &ConvGeometry| HALF.fit(g.c_in, g.c_out);
        for geometry in reference::geometries_for(tile.size(), tile.is_ahead()).into_iter().filter(by_fours) {
            for storage in [Storages::default(), HALF] {
                let [ahead, plain] = [tile, tile.plain()].map(|tile| {
                    Arc::new(Conv2dWeightGradient { tile: Some(tile.into()), storage, ..split(geometry, 3) })
                        as _
                });
                assert_same_words(&ahead, &plain, seed as u64);
            }
        }
    }
}

fn as_many_parts_as_the_shape_wants() {
    let shape = ConvGeometry { n: 2, h: 32, w: 32, c_in: 16, c_out: 16, kh: 3, kw: 3, stride: 1, padding: 1 };
    let kernel = Conv2dWeightGradient::new(shape);
    assert!(kernel.parts > 1, "{kernel:?}");
    check_kernel(kernel, 5);
}

fn more_parts_than_pixels() {
    let shape = ConvGeometry { n: 1, h: 2, w: 2, c_in: 3, c_out: 4, kh: 3, kw: 3, stride: 1, padding: 1 };
    check_kernel(split(shape, 7), 6);
}

/// Numbers of parts of 512 pixels. Of 300 parts with 2 pixels the last 44 are empty, of 100 with 6 the last 14; of 256
/// with 2 the last is full.
const MANY: [usize; 3] = [300, 100, 256];

fn many_parts(parts: usize) -> Conv2dWeightGradient {
    let shape = ConvGeometry { n: 2, h: 16, w: 16, c_in: 16, c_out: 20, kh: 3, kw: 3, stride: 1, padding: 1 };
    split(shape, parts)
}

fn hundreds_of_parts_and_empty_ones() {
    let ahead = ScalarTile::ALL.into_iter().find(|tile| tile.is_ahead()).expect("such a tile");
    for (seed, parts) in MANY.into_iter().enumerate() {
        let kernel = many_parts(parts);
        let empty =
            parts * kernel.pixels_per_part() > kernel.geometry.out_pixels() + kernel.pixels_per_part();
        assert_eq!(empty, parts != 256, "{kernel:?}");
        for tile in [ahead, ahead.plain()] {
            for storage in [Storages::default(), HALF] {
                check_kernel(
                    Conv2dWeightGradient { tile: Some(tile.into()), storage, ..kernel },
                    seed as u64,
                );
            }
        }
    }
}

/// The first layer of the preset `tiny` and an inner one, with the tiles and parts of a GPU's rule.
fn as_many_parts_as_a_gpu_has() {
    let policy = ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE);
    for (seed, (c_in, c_out)) in [(3, 16), (16, 16)].into_iter().enumerate() {
        let shape = ConvGeometry { n: 32, h: 32, w: 32, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 };
        let kernel = policy.weight_gradient(Conv2dWeightGradient::new(shape));
        assert!(kernel.parts > 64, "{kernel:?}");
        check_kernel(kernel, seed as u64);
    }
}

fn by_cooperative_matrices() {
    let awkward = reference::awkward_geometries().into_iter().map(|geometry| split(geometry, 3));
    let many = MANY.into_iter().map(|parts| Conv2dWeightGradient { storage: HALF, ..many_parts(parts) });
    let kernels: Vec<_> =
        Conv2dWeightGradient::permutations().into_iter().chain(awkward).chain(many).collect();
    cooperative::each("conv2d_weight_gradient", &kernels, |devices, method, kernel, seed| {
        check_kernel_on(devices, cooperative::bound(), Conv2dWeightGradient { method, ..*kernel }, seed)
    });
}

fn every_tile_of_matrices() {
    cooperative::each_tile("conv2d_weight_gradient", |devices, method, tile, g| {
        let geometry = *g;
        let kernel = Conv2dWeightGradient { method, tile: Some(tile.into()), ..split(geometry, 2) };
        let fits = HALF.fit(geometry.c_in, geometry.c_out);
        let storage = if fits { HALF } else { Storages::default() };
        check_kernel_on(devices, cooperative::bound(), Conv2dWeightGradient { storage, ..kernel }, 7)
    });
}

proptest! {
    #![proptest_config(super::harness::cases(32))]
    fn any_shape(geometry in reference::any_geometry(), parts in 1usize..5, seed in any::<u64>()) {
        check_kernel(split(geometry, parts), seed);
    }
}
