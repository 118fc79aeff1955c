//! The errors of each algorithm of a convolution, shape by shape: the 3x3 layers of WRN-28-10 that have stride 1.

use super::harness::{Inputs, devices, run_on, stored};
use super::reference;
use super::winograd_output::by_winograd;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::half::widen;
use jem::compute::storage::{Storage, Storages};
use jem::compute::winograd::Winograd;
use jem::device::Device;
use jem::kernels::conv2d::Conv2d;
use jem::kernels::conv2d_input_gradient::Conv2dInputGradient;
use jem::kernels::winograd_output::Convolution;
use std::sync::Arc;

tests![of_every_layer];

/// The width of the image, and channels in and out.
const LAYERS: [(usize, usize, usize); 6] =
    [(32, 16, 160), (32, 160, 160), (16, 160, 320), (16, 320, 320), (8, 320, 640), (8, 640, 640)];

/// Rows of the image: a strip will do, as sums run over channels and taps.
const ROWS: usize = 4;

/// √(Σ(a-b)²/Σb²).
fn error(found: &[f32], expected: &[f64]) -> f64 {
    let error: f64 = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    (error / expected.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

/// The algorithm's name, the error that it may make, and its result.
type Way<'a> = (&'static str, f64, Box<dyn Fn(&Device) -> Vec<f32> + 'a>);

/// Every algorithm for `convolution` of these two operands.
fn ways<'a>(convolution: Convolution, source: &'a [f32], weights: &'a [f32]) -> Vec<Way<'a>> {
    let floats = |words: Vec<u32>| bytemuck::cast_vec(words);
    let winograd =
        move |size| move |device: &Device| floats(by_winograd(device, convolution, size, source, weights));
    let implicit = move |storage: Storages| {
        move |device: &Device| {
            let kernel: Arc<dyn jem::compute::Kernel> = match convolution {
                Convolution::Forward(kernel) => Arc::new(Conv2d { storage, ..kernel }),
                Convolution::InputGradient(kernel) => Arc::new(Conv2dInputGradient { storage, ..kernel }),
            };
            let operands = [(storage.a, source), (storage.b, weights)];
            let mut initial =
                operands.map(|(storage, values)| Some(stored(storage, values.to_vec()).0)).to_vec();
            initial.push(None);
            let result = run_on(device, &kernel, &initial, "an error").swap_remove(2);
            match storage.c {
                Storage::F32 => floats(result),
                Storage::F16 => widen(&result),
            }
        }
    };
    let operands = Storages { c: Storage::F32, ..Storages::F16 };
    // In f32 twice what the kernels' own tests allow for 1440 products: there are up to 5760.
    vec![
        ("f32", 2e-6, Box::new(implicit(Storages::default()))),
        ("F(2x2)", 2e-6, Box::new(winograd(Winograd::F2))),
        ("F(4x4)", 4e-6, Box::new(winograd(Winograd::F4))),
        // Two roundings to 11 digits of numbers spread over an octave: √2 · 2^-12 or less.
        ("f16 operands", 4e-4, Box::new(implicit(operands))),
        ("f16", 5e-4, Box::new(implicit(Storages::F16))),
    ]
}

fn of_every_layer() {
    for (seed, (side, c_in, c_out)) in LAYERS.into_iter().enumerate() {
        let geometry =
            ConvGeometry { n: 1, h: ROWS, w: side, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 };
        let mut inputs = Inputs::new(seed as u64);
        let (weights, input) = (inputs.floats(geometry.weights_len()), inputs.floats(geometry.input_len()));
        let gradient = inputs.floats(geometry.output_len());
        let transposed = reference::transposed(&geometry, &weights);
        let forward = Convolution::Forward(Conv2d::new(geometry));
        let backward = Convolution::InputGradient(Conv2dInputGradient::new(geometry));
        let cases = [
            ("forward", ways(forward, &input, &weights), reference::conv2d(&geometry, &input, &weights)),
            (
                "input gradient",
                ways(backward, &gradient, &transposed),
                reference::conv2d_input_gradient(&geometry, &gradient, &weights),
            ),
        ];
        for (direction, ways, expected) in cases {
            for (name, device) in devices() {
                let mut line = format!("{side} wide, {c_in} -> {c_out}, {direction} on {name}:");
                for (way, bound, result) in &ways {
                    let e = error(&result(device), &expected);
                    line += &format!("  {way} {e:.1e}");
                    assert!(e < *bound, "{line} over {bound:.0e}");
                }
                println!("{line}");
            }
        }
    }
}
