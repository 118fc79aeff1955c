//! `conv2d_input_gradient` against float64.

use super::cooperative::{self, operand};
use super::harness::{Expect, Inputs, assert_same_words, check_on, close_to, devices, run_on, stored, words};
use super::{reference, sgld};
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::conv_tile::ScalarTile;
use jem::compute::epilogue::Residual;
use jem::compute::mask::{mask_bit, mask_words};
use jem::compute::storage::Storages;
use jem::device::Device;
use jem::kernels::conv2d_input_gradient::Conv2dInputGradient;
use jem::kernels::sgld::Sgld;
use proptest::prelude::*;
use std::sync::Arc;

tests![
    awkward_shapes,
    every_epilogue,
    every_tile,
    loading_ahead_changes_no_bit,
    the_update_is_the_sgld_kernels,
    any_shape,
    by_cooperative_matrices,
    every_tile_of_matrices
];

/// Σ(a-b)²/Σb² for sums of up to 1440 products in f32.
const BOUND: f64 = 1e-12;

fn check_kernel(kernel: Conv2dInputGradient, seed: u64) {
    check_kernel_on(&devices(), BOUND, kernel, seed);
}

fn check_kernel_on(
    devices: &[(&'static str, &'static Device)],
    bound: f64,
    kernel: Conv2dInputGradient,
    seed: u64,
) -> f64 {
    let g = kernel.geometry;
    let mut inputs = Inputs::new(seed);
    let storage = kernel.storage;
    let (gradient_words, gradient) = stored(storage.a, inputs.floats(g.output_len()));
    let weights = inputs.floats(g.weights_len());
    let (transposed_words, _) = stored(storage.b, reference::transposed(&g, &weights));
    let (_, weights) = stored(storage.b, weights);
    // Bits past the last pixel or channel are never read: any words do.
    let mask = kernel.mask.map(|_| inputs.below(mask_words(g.in_pixels(), g.c_in), u32::MAX));
    // Never a comparison with zeros only: with stride 3 and one tap, most pixels get no gradient.
    let residual =
        (kernel.residual != Residual::None).then(|| stored(storage.c, inputs.floats(g.input_len())));

    let [a, b] =
        [&gradient, &weights].map(|x| x.iter().map(|&x| operand(kernel.method, x)).collect::<Vec<_>>());
    let mut expected = reference::conv2d_input_gradient(&g, &a, &b);
    for (at, value) in expected.iter_mut().enumerate() {
        let residual = residual.as_ref().map_or(0.0, |(_, residual)| f64::from(residual[at]));
        *value *= f64::from(kernel.factor);
        if kernel.residual == Residual::BeforeMask {
            *value += residual;
        }
        if let (Some(mask), Some(slope)) = (&mask, kernel.mask) {
            let (word, bit) = mask_bit(at / g.c_in, at % g.c_in, g.c_in);
            *value *= if mask[word] >> bit & 1 == 1 { 1.0 } else { f64::from(slope) };
        }
        if kernel.residual == Residual::AfterMask {
            *value += residual;
        }
    }

    let mut initial = vec![Some(gradient_words), Some(transposed_words)];
    initial.extend(mask.map(Some));
    initial.extend(residual.map(|(words, _)| Some(words)));
    initial.push(None);
    let mut outputs = Vec::new();
    if let Some(update) = &kernel.update {
        let (x, moving) = (inputs.floats(g.input_len()), sgld::moving(update));
        outputs.push(Expect::Close(
            sgld::reference(update, sgld::COUNTERS, &x, &expected, moving.as_deref()),
            bound,
        ));
        initial.extend([Some(words(&x)), Some(sgld::COUNTERS.to_vec())]);
        initial.extend(moving.map(|moving| Some(words(&moving))));
    }
    outputs.insert(0, close_to(storage.c, expected, bound));
    check_on(devices, kernel, &initial, &outputs)
}

fn plain(geometry: ConvGeometry) -> Conv2dInputGradient {
    Conv2dInputGradient::new(geometry)
}

fn fused(geometry: ConvGeometry) -> Conv2dInputGradient {
    Conv2dInputGradient { mask: Some(0.2), residual: Residual::AfterMask, ..plain(geometry) }
}

/// With all that SGLD's update does.
fn moving(kernel: Conv2dInputGradient) -> Conv2dInputGradient {
    let update = Sgld {
        n: kernel.geometry.input_len(),
        step: 0.7,
        noise: 0.3,
        clamp_gradient: Some(2.0),
        clamp_x: Some((-1.0, 1.5)),
        masked: true,
    };
    Conv2dInputGradient { update: Some(update), ..kernel }
}

fn awkward_shapes() {
    for (seed, geometry) in reference::awkward_geometries().into_iter().enumerate() {
        check_kernel(plain(geometry), seed as u64);
        check_kernel(fused(geometry), seed as u64);
        check_kernel(moving(plain(geometry)), seed as u64);
    }
}

/// The input of a convolution without a gradient in most places still gets its noise, from the same stream.
fn the_update_is_the_sgld_kernels() {
    for (c_in, seed) in [(3, 1), (4, 2), (1, 3), (6, 4)] {
        let geometry =
            ConvGeometry { n: 2, h: 7, w: 5, c_in, c_out: 16, kh: 3, kw: 3, stride: 1, padding: 1 };
        let kernel = moving(plain(geometry));
        let update = kernel.update.expect("it moves");
        let mut inputs = Inputs::new(seed);
        let gradient = words(&inputs.floats(geometry.output_len()));
        let weights = words(&inputs.floats(geometry.weights_len()));
        let x = words(&inputs.floats(geometry.input_len()));
        let counters = sgld::COUNTERS.to_vec();
        let moving = words(&sgld::moving(&update).expect("some stay"));
        for (name, device) in devices() {
            let initial = [gradient.clone(), weights.clone(), x.clone(), counters.clone(), moving.clone()];
            let [gradient, weights, x, counters, moving] = initial.map(Some);
            let initial = [gradient, weights, None, x.clone(), counters.clone(), moving.clone()];
            let mut found = run_on(device, &(Arc::new(kernel) as _), &initial, name);
            let (fused, gradient) = (found.swap_remove(3), found.swap_remove(2));
            let initial = [x, Some(gradient), counters, moving];
            let alone = run_on(device, &(Arc::new(update) as _), &initial, name).swap_remove(0);
            let floats = |words: &[u32]| words.iter().map(|&word| f32::from_bits(word)).collect::<Vec<_>>();
            for (i, (a, b)) in floats(&fused).iter().zip(floats(&alone)).enumerate() {
                // A driver may round the two shaders' products and sums differently: by three operations' last bits.
                assert!(
                    (a - b).abs() <= 3.0 * f32::EPSILON,
                    "{name}, {c_in} channels: {i} is {a}, alone {b}"
                );
            }
        }
    }
}

fn every_epilogue() {
    for (seed, kernel) in Conv2dInputGradient::permutations().into_iter().enumerate() {
        check_kernel(kernel, seed as u64);
    }
}

fn by_cooperative_matrices() {
    let awkward = reference::awkward_geometries().into_iter().map(fused);
    let kernels: Vec<_> = Conv2dInputGradient::permutations().into_iter().chain(awkward).collect();
    cooperative::each("conv2d_input_gradient", &kernels, |devices, method, kernel, seed| {
        check_kernel_on(devices, cooperative::bound(), Conv2dInputGradient { method, ..*kernel }, seed)
    });
}

fn every_tile_of_matrices() {
    cooperative::each_tile("conv2d_input_gradient", |devices, method, tile, g| {
        // The columns are the input's channels here.
        let geometry = ConvGeometry { c_in: g.c_out, c_out: g.c_in, ..*g };
        let kernel = Conv2dInputGradient { method, tile: Some(tile.into()), ..fused(geometry) };
        let fits = Storages::F16.fit(geometry.c_out, geometry.c_in);
        let storage = if fits { Storages::F16 } else { Storages::default() };
        check_kernel_on(devices, cooperative::bound(), Conv2dInputGradient { storage, ..kernel }, 7)
    });
}

fn every_tile() {
    for (seed, tile) in ScalarTile::ALL.into_iter().enumerate() {
        for g in reference::geometries_for(tile.size(), tile.is_ahead()) {
            // The columns are the input's channels here.
            let geometry = ConvGeometry { c_in: g.c_out, c_out: g.c_in, ..g };
            let kernel = Conv2dInputGradient { tile: Some(tile.into()), ..fused(geometry) };
            check_kernel(kernel, seed as u64);
            // Tiles that load ahead hold f16 as it is in memory.
            if tile.is_ahead() && Storages::F16.fit(geometry.c_out, geometry.c_in) {
                check_kernel(Conv2dInputGradient { storage: Storages::F16, ..kernel }, seed as u64);
            }
        }
    }
}

fn loading_ahead_changes_no_bit() {
    for (seed, tile) in ScalarTile::ALL.into_iter().filter(|tile| tile.is_ahead()).enumerate() {
        let whole = |g: &ConvGeometry| g.c_in.is_multiple_of(16);
        for g in reference::geometries_for(tile.size(), tile.is_ahead()).into_iter().filter(whole) {
            let geometry = ConvGeometry { c_in: g.c_out, c_out: g.c_in, ..g };
            for storage in [Storages::default(), Storages::F16] {
                let [ahead, plain] = [tile, tile.plain()].map(|tile| {
                    Arc::new(Conv2dInputGradient { tile: Some(tile.into()), storage, ..fused(geometry) }) as _
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
        mask in any::<bool>(),
        residual in prop::sample::select(&[Residual::None, Residual::AfterMask, Residual::BeforeMask]),
        seed in any::<u64>(),
    ) {
        let mask = mask.then_some(0.1);
        check_kernel(Conv2dInputGradient { mask, residual, ..plain(geometry) }, seed);
    }
}
