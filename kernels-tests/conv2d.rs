//! `conv2d` against float64.

use super::cooperative::{self, operand};
use super::harness::{Expect, Inputs, assert_same_words, check, check_on, close_to, devices, stored, words};
use super::reference;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::conv_tile::ScalarTile;
use jem::compute::storage::Storages;
use jem::device::Device;
use jem::kernels::conv2d::Conv2d;
use proptest::prelude::*;
use std::sync::Arc;

tests![
    awkward_shapes,
    every_epilogue,
    every_tile,
    loading_ahead_changes_no_bit,
    any_shape,
    non_finite_inputs_stay_visible,
    by_cooperative_matrices,
    every_tile_of_matrices,
    cooperative_matrices_overflow_where_f16_does
];

/// Σ(a-b)²/Σb² for sums of up to 1440 products in f32.
const BOUND: f64 = 1e-12;

fn check_kernel(kernel: Conv2d, seed: u64) {
    check_kernel_on(&devices(), BOUND, kernel, seed);
}

fn check_kernel_on(
    devices: &[(&'static str, &'static Device)],
    bound: f64,
    kernel: Conv2d,
    seed: u64,
) -> f64 {
    let g = kernel.geometry;
    let mut inputs = Inputs::new(seed);
    let storage = kernel.storage;
    let (input_words, input) = stored(storage.a, inputs.floats(g.input_len()));
    let (weights_words, weights) = stored(storage.b, inputs.floats(g.weights_len()));
    let bias = kernel.bias.then(|| inputs.floats(g.c_out));
    let residual = kernel.residual.then(|| stored(storage.c, inputs.floats(g.output_len())));

    let [a, b] = [&input, &weights].map(|x| x.iter().map(|&x| operand(kernel.method, x)).collect::<Vec<_>>());
    let mut v = reference::conv2d(&g, &a, &b);
    for (at, v) in v.iter_mut().enumerate() {
        *v += bias.as_ref().map_or(0.0, |bias| f64::from(bias[at % g.c_out]));
        *v += residual.as_ref().map_or(0.0, |(_, residual)| f64::from(residual[at]));
    }

    let mut initial = vec![Some(input_words), Some(weights_words)];
    initial.extend(bias.map(|bias| Some(words(&bias))));
    initial.extend(residual.map(|(words, _)| Some(words)));
    let mut expected = Vec::new();
    if kernel.raw {
        expected.push(close_to(storage.c, v.clone(), bound));
    }
    if let Some(slope) = kernel.activated {
        let activated = v.iter().map(|&v| reference::leaky_relu(v, slope)).collect();
        expected.push(close_to(storage.c, activated, bound));
    }
    if kernel.mask {
        // Of a value within rounding of 0, either sign is right.
        let near_zero: Vec<f64> = v.iter().map(|v| f64::from(v.abs() < 1e-4)).collect();
        expected.push(Expect::Bits {
            value: reference::mask(&v, g.c_out),
            uncertain: reference::mask(&near_zero, g.c_out),
        });
    }
    initial.extend(expected.iter().map(|_| None));
    check_on(devices, kernel, &initial, &expected)
}

fn plain(geometry: ConvGeometry) -> Conv2d {
    Conv2d::new(geometry)
}

fn fused(geometry: ConvGeometry) -> Conv2d {
    Conv2d { bias: true, residual: true, activated: Some(0.2), mask: true, ..plain(geometry) }
}

fn awkward_shapes() {
    for (seed, geometry) in reference::awkward_geometries().into_iter().enumerate() {
        check_kernel(plain(geometry), seed as u64);
        check_kernel(fused(geometry), seed as u64);
    }
}

fn every_epilogue() {
    for (seed, kernel) in Conv2d::permutations().into_iter().enumerate() {
        check_kernel(kernel, seed as u64);
    }
}

fn every_tile() {
    for (seed, tile) in ScalarTile::ALL.into_iter().enumerate() {
        for geometry in reference::geometries_for(tile.size(), tile.is_ahead()) {
            let kernel = Conv2d { tile: Some(tile.into()), ..fused(geometry) };
            check_kernel(kernel, seed as u64);
            // Tiles that load ahead hold f16 as it is in memory.
            if tile.is_ahead() && Storages::F16.fit(geometry.c_in, geometry.c_out) {
                check_kernel(Conv2d { storage: Storages::F16, ..kernel }, seed as u64);
            }
        }
    }
}

fn loading_ahead_changes_no_bit() {
    for (seed, tile) in ScalarTile::ALL.into_iter().filter(|tile| tile.is_ahead()).enumerate() {
        let whole = |g: &ConvGeometry| g.c_in.is_multiple_of(16);
        for geometry in reference::geometries_for(tile.size(), tile.is_ahead()).into_iter().filter(whole) {
            for storage in [Storages::default(), Storages::F16] {
                let [ahead, plain] = [tile, tile.plain()].map(|tile| {
                    Arc::new(Conv2d { tile: Some(tile.into()), storage, ..fused(geometry) }) as _
                });
                assert_same_words(&ahead, &plain, seed as u64);
            }
        }
    }
}

proptest! {
    #![proptest_config(super::harness::cases(32))]
    fn any_shape(
        geometry in reference::any_geometry(),
        (bias, residual, raw, activated, mask) in any::<(bool, bool, bool, bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let activated = activated.then_some(0.1);
        let raw = raw || activated.is_none();
        check_kernel(Conv2d { bias, residual, raw, activated, mask, ..plain(geometry) }, seed);
    }
}

fn by_cooperative_matrices() {
    let awkward = reference::awkward_geometries().into_iter().map(fused);
    // A part of the epilogues will do: their text is the scalar kernels'.
    let kernels: Vec<_> = Conv2d::permutations().into_iter().step_by(7).chain(awkward).collect();
    cooperative::each("conv2d", &kernels, |devices, method, kernel, seed| {
        check_kernel_on(devices, cooperative::bound(), Conv2d { method, ..*kernel }, seed)
    });
}

fn every_tile_of_matrices() {
    cooperative::each_tile("conv2d", |devices, method, tile, g| {
        let geometry = *g;
        let kernel = Conv2d { method, tile: Some(tile.into()), ..fused(geometry) };
        let fits = Storages::F16.fit(geometry.c_in, geometry.c_out);
        let storage = if fits { Storages::F16 } else { Storages::default() };
        check_kernel_on(devices, cooperative::bound(), Conv2d { storage, ..kernel }, 7)
    });
}

/// A value that f16 does not hold spoils the pixels that it reaches, and no other.
fn cooperative_matrices_overflow_where_f16_does() {
    let geometry =
        ConvGeometry { n: 1, h: 9, w: 9, c_in: 16, c_out: 16, kh: 3, kw: 3, stride: 1, padding: 1 };
    let mut inputs = Inputs::new(2);
    let mut input = inputs.floats(geometry.input_len());
    input[0] = f32::NAN;
    input[17 * 16 + 3] = 65_519.0;
    input[80 * 16 + 15] = -65_520.0;
    let weights = inputs.floats(geometry.weights_len());
    cooperative::each("conv2d, overflow", &[plain(geometry)], |devices, method, kernel, _| {
        let rounded: Vec<f32> = input.iter().map(|&x| operand(method, x)).collect();
        let b: Vec<f32> = weights.iter().map(|&x| operand(method, x)).collect();
        let v = reference::conv2d(&geometry, &rounded, &b);
        assert_eq!(v.iter().filter(|v| v.is_infinite()).count(), 4 * 16);
        let kernel = Conv2d { method, ..*kernel };
        let initial = [Some(words(&input)), Some(words(&weights)), None];
        check_on(devices, kernel, &initial, &[Expect::Close(v, cooperative::bound())])
    });
}

fn non_finite_inputs_stay_visible() {
    let geometry = ConvGeometry { n: 1, h: 4, w: 9, c_in: 2, c_out: 17, kh: 3, kw: 3, stride: 1, padding: 1 };
    let kernel = Conv2d { activated: Some(0.2), ..plain(geometry) };
    let mut inputs = Inputs::new(1);
    let mut input = inputs.floats(geometry.input_len());
    input[0] = f32::NAN;
    input[17] = f32::INFINITY;
    input[70] = 1e4;
    let weights = inputs.floats(geometry.weights_len());
    let v = reference::conv2d(&geometry, &input, &weights);
    let activated = v.iter().map(|&v| reference::leaky_relu(v, 0.2)).collect();
    check(
        kernel,
        &[Some(words(&input)), Some(words(&weights)), None, None],
        &[Expect::Close(v, BOUND), Expect::Close(activated, BOUND)],
    );
}
