//! A ReLU and its gradient in every kernel that has one: with the slope 0 an infinity gives 0, and NaN stays NaN.

use super::harness::{Expect, check, devices, run_on, words};
use jem::compute::Kernel;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::epilogue::Residual;
use jem::compute::half;
use jem::compute::loss_term::LossTerm;
use jem::compute::norm_geometry::NormGeometry;
use jem::compute::storage::{Storage, Storages};
use jem::compute::winograd::Winograd;
use jem::kernels::conv2d::Conv2d;
use jem::kernels::conv2d_input_gradient::Conv2dInputGradient;
use jem::kernels::head::Head;
use jem::kernels::normalise::Normalise;
use jem::kernels::winograd_output::{Convolution, WinogradOutput};
use std::sync::Arc;

tests![convolutions, gradients_of_convolutions, normalisations, heads];

/// The values of every four channels before the ReLU and after it.
const BEFORE: [f32; 4] = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -2.0];
const AFTER: [f64; 4] = [0.0, f64::INFINITY, f64::NAN, 0.0];

/// A `[pixels, channels]` tensor of the channels' `values`, with `first` as its first element.
fn tensor<T: Copy>(values: [T; 4], channels: usize, pixels: usize, first: T) -> Vec<T> {
    let row = (0..channels).map(|channel| values[channel % 4]);
    let mut all: Vec<T> = row.collect::<Vec<_>>().repeat(pixels);
    all[0] = first;
    all
}

fn stored(storage: Storage, values: &[f32]) -> Vec<u32> {
    match storage {
        Storage::F32 => words(values),
        Storage::F16 => half::narrow(values),
    }
}

fn expected(storage: Storage, values: Vec<f64>) -> Expect {
    match storage {
        Storage::F32 => Expect::Close(values, 1e-12),
        Storage::F16 => Expect::Halves(values, 1e-12),
    }
}

fn geometry(channels: usize) -> ConvGeometry {
    ConvGeometry { n: 1, h: 4, w: 8, c_in: channels, c_out: channels, kh: 3, kw: 3, stride: 1, padding: 1 }
}

/// Checks `direct` and Winograd's kernels on operands whose sums are zeros, so that the residual decides.
fn both<K: Kernel + Copy + 'static>(
    direct: K,
    of: impl Fn(K) -> Convolution,
    operands: &[Option<Vec<u32>>],
    expected: impl Fn() -> Expect,
) {
    check(direct, operands, &[expected()]);
    for size in Winograd::ALL {
        let kernel = WinogradOutput { convolution: of(direct), size };
        let fits = kernel.convolution.geometry().c_in.is_multiple_of(4);
        if fits && kernel.convolution.storage() == Storages::default() {
            let product = vec![0; kernel.bindings()[0].words];
            let operands: Vec<_> =
                std::iter::once(Some(product)).chain(operands[2..].iter().cloned()).collect();
            check(kernel, &operands, &[expected()]);
        }
    }
}

fn convolutions() {
    for (channels, storage) in [(3, Storages::default()), (4, Storages::default()), (8, Storages::F16)] {
        let geometry = geometry(channels);
        let kernel =
            Conv2d { residual: true, raw: false, activated: Some(0.0), storage, ..Conv2d::new(geometry) };
        let bindings = kernel.bindings();
        let zeros = |i: usize| Some(vec![0; bindings[i].words]);
        let residual = tensor(BEFORE, channels, geometry.out_pixels(), 1.0);
        let operands = [zeros(0), zeros(1), Some(stored(storage.c, &residual)), None];
        let after = || expected(storage.c, tensor(AFTER, channels, geometry.out_pixels(), 1.0));
        both(kernel, Convolution::Forward, &operands, after);
    }
}

/// The mask is 1 at the first element only.
fn gradients_of_convolutions() {
    for (channels, storage) in [(3, Storages::default()), (4, Storages::default()), (8, Storages::F16)] {
        let geometry = geometry(channels);
        let kernel = Conv2dInputGradient {
            mask: Some(0.0),
            residual: Residual::BeforeMask,
            storage,
            ..Conv2dInputGradient::new(geometry)
        };
        let bindings = kernel.bindings();
        let zeros = |i: usize| Some(vec![0; bindings[i].words]);
        let mut mask = vec![0; bindings[2].words];
        mask[0] = 1;
        let residual = tensor(BEFORE, channels, geometry.in_pixels(), 1.0);
        let operands = [zeros(0), zeros(1), Some(mask), Some(stored(storage.c, &residual)), None];
        let masked = [0.0, 0.0, f64::NAN, 0.0];
        let after = || expected(storage.c, tensor(masked, channels, geometry.in_pixels(), 1.0));
        both(kernel, Convolution::InputGradient, &operands, after);
    }
}

/// With zeros as `x`, the bias decides.
fn normalisations() {
    for storage in [Storage::F32, Storage::F16] {
        let geometry = NormGeometry { outer: 1, rows: 9, channels: 8, size: 1 };
        let kernel =
            Normalise { geometry, epsilon: 1.0, raw: false, activated: Some(0.0), mask: false, storage };
        let bindings = kernel.bindings();
        let zeros = |i: usize| Some(vec![0; bindings[i].words]);
        let mut bias = tensor(BEFORE, 8, 1, f32::NEG_INFINITY);
        bias[7] = 1.0;
        let mut after = tensor(AFTER, 8, 1, 0.0);
        after[7] = 1.0;
        let operands = [zeros(0), zeros(1), zeros(2), zeros(3), Some(words(&bias)), None];
        check(kernel, &operands, &[expected(storage, after.repeat(9))]);
    }
}

/// Large weights make the gradient of each pixel infinite; the mask passes only that of the first.
fn heads() {
    for storage in [Storage::F32, Storage::F16] {
        let (pixels, features, classes) = (8, 4, 4);
        let kernel = Head {
            n: 1,
            pixels,
            features,
            classes,
            parts: vec![LossTerm { count: 1, cross_entropy: 32.0, ..LossTerm::default() }],
            slope: Some(0.0),
            logits: false,
            gradient: true,
            saved: false,
            storage,
            factor: 1.0,
        };
        let bindings = kernel.bindings();
        let mut mask = vec![0; bindings[4].words];
        mask[0] = 1;
        let row = [-3e38f32, 3e38, 3e38, 3e38];
        let operands = [
            Some(vec![0; bindings[0].words]),
            Some(words(&row.repeat(features))),
            Some(vec![0; classes]),
            Some(vec![0]),
            Some(mask),
            None,
            None,
        ];
        let kernel: Arc<dyn Kernel> = Arc::new(kernel);
        for (name, device) in devices() {
            let written = &run_on(device, &kernel, &operands, name)[6];
            let gradient: Vec<f32> = match storage {
                Storage::F32 => written.iter().map(|&word| f32::from_bits(word)).collect(),
                Storage::F16 => half::widen(written),
            };
            assert_eq!(gradient[0], f32::INFINITY, "{name}: {gradient:?}");
            assert!(gradient[1..].iter().all(|&g| g == 0.0), "{name}: {gradient:?}");
        }
    }
}
