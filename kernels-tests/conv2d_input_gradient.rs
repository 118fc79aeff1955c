//! `conv2d_input_gradient` against float64.

use super::cooperative::{self, operand};
use super::harness::{Expect, Inputs, check_on, devices, words};
use super::reference;
use jem::device::Device;
use jem::kernels::ScalarTile;
use jem::kernels::conv2d::ConvGeometry;
use jem::kernels::conv2d_input_gradient::Conv2dInputGradient;
use jem::kernels::cooperative::Method;
use jem::kernels::mask::{mask_bit, mask_words};
use proptest::prelude::*;

tests![awkward_shapes, every_epilogue, every_tile, any_shape, by_cooperative_matrices];

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
    let gradient = inputs.floats(g.output_len());
    let weights = inputs.floats(g.weights_len());
    // Bits past the last pixel or channel are never read: any words do.
    let mask = kernel.mask.map(|_| inputs.below(mask_words(g.in_pixels(), g.c_in), u32::MAX));
    // Never a comparison with zeros only: with stride 3 and one tap, most pixels get no gradient.
    let residual = kernel.residual.then(|| inputs.floats(g.input_len()));

    let [a, b] =
        [&gradient, &weights].map(|x| x.iter().map(|&x| operand(kernel.method, x)).collect::<Vec<_>>());
    let mut expected = reference::conv2d_input_gradient(&g, &a, &b);
    for (at, value) in expected.iter_mut().enumerate() {
        if let (Some(mask), Some(slope)) = (&mask, kernel.mask) {
            let (word, bit) = mask_bit(at / g.c_in, at % g.c_in, g.c_in);
            *value *= if mask[word] >> bit & 1 == 1 { 1.0 } else { f64::from(slope) };
        }
        *value += residual.as_ref().map_or(0.0, |residual| f64::from(residual[at]));
    }

    let mut initial = vec![Some(words(&gradient)), Some(words(&reference::transposed(&g, &weights)))];
    initial.extend(mask.map(Some));
    initial.extend(residual.map(|residual| Some(words(&residual))));
    initial.push(None);
    check_on(devices, kernel, &initial, &[Expect::Close(expected, bound)])
}

fn plain(geometry: ConvGeometry) -> Conv2dInputGradient {
    Conv2dInputGradient { geometry, mask: None, residual: false, method: Method::Scalar, tile: None }
}

fn fused(geometry: ConvGeometry) -> Conv2dInputGradient {
    Conv2dInputGradient { mask: Some(0.2), residual: true, ..plain(geometry) }
}

fn awkward_shapes() {
    for (seed, geometry) in reference::awkward_geometries().into_iter().enumerate() {
        check_kernel(plain(geometry), seed as u64);
        check_kernel(fused(geometry), seed as u64);
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
        check_kernel_on(devices, cooperative::BOUND, Conv2dInputGradient { method, ..*kernel }, seed)
    });
}

fn every_tile() {
    for (seed, tile) in ScalarTile::ALL.into_iter().enumerate() {
        for g in reference::geometries_for(tile) {
            // The columns are the input's channels here.
            let geometry = ConvGeometry { c_in: g.c_out, c_out: g.c_in, ..g };
            check_kernel(Conv2dInputGradient { tile: Some(tile), ..fused(geometry) }, seed as u64);
        }
    }
}

proptest! {
    #![proptest_config(super::harness::cases(32))]
    fn any_shape(
        geometry in reference::any_geometry(),
        (mask, residual) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let mask = mask.then_some(0.1);
        check_kernel(Conv2dInputGradient { mask, residual, ..plain(geometry) }, seed);
    }
}
