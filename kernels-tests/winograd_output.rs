//! `winograd_output` against its matrices and the epilogues in float64, and the four kernels together against
//! the convolution that they stand for.

use super::harness::{Expect, Inputs, assert_close, check, devices, words};
use super::reference;
use super::reference::winograd::{Matrices, transform};
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::epilogue::Residual;
use jem::compute::winograd::{Tiling, Winograd};
use jem::device::ProgramBuilder;
use jem::kernels::conv2d::Conv2d;
use jem::kernels::conv2d_input_gradient::Conv2dInputGradient;
use jem::kernels::winograd_input::WinogradInput;
use jem::kernels::winograd_output::{Convolution, WinogradOutput};
use jem::kernels::winograd_product::WinogradProduct;
use jem::kernels::winograd_weights::WinogradWeights;

tests![every_permutation, the_four_kernels_are_the_convolution];

const BOUND: f64 = 1e-12;

/// The tiles' outputs, `[n, h, w, channels]`.
fn untransformed(tiling: Tiling, channels: usize, product: &[f32]) -> Vec<f64> {
    let Tiling { n, h, w, size } = tiling;
    let m = size.outputs();
    let mut values = vec![0.0; n * h * w * channels];
    for tile in 0..tiling.tiles() {
        let image = tile / (tiling.rows() * tiling.columns());
        let (y, x) = (tile / tiling.columns() % tiling.rows() * m, tile % tiling.columns() * m);
        for channel in 0..channels {
            let value = |point| f64::from(product[(point * tiling.tiles() + tile) * channels + channel]);
            let points: Vec<f64> = (0..size.points()).map(value).collect();
            for (at, value) in transform(&Matrices::of(size).output, &points).into_iter().enumerate() {
                let (y, x) = (y + at / m, x + at % m);
                if y < h {
                    values[((image * h + y) * w + x) * channels + channel] = value;
                }
            }
        }
    }
    values
}

fn compare(kernel: WinogradOutput, seed: u64) {
    let tiling = kernel.convolution.tiling(kernel.size);
    let [_, channels] = kernel.convolution.channels();
    let mut inputs = Inputs::new(seed);
    let product = inputs.floats(tiling.transformed_len(channels));
    let mut v = untransformed(tiling, channels, &product);
    let mut initial = vec![Some(words(&product))];
    let mut expected = Vec::new();
    match kernel.convolution {
        Convolution::Forward(conv) => {
            let bias = conv.bias.then(|| inputs.floats(channels));
            let residual = conv.residual.then(|| inputs.floats(v.len()));
            for (at, v) in v.iter_mut().enumerate() {
                *v += bias.as_ref().map_or(0.0, |bias| f64::from(bias[at % channels]));
                *v += residual.as_ref().map_or(0.0, |residual| f64::from(residual[at]));
            }
            initial.extend([bias, residual].into_iter().flatten().map(|values| Some(words(&values))));
            expected.extend(conv.raw.then(|| Expect::Close(v.clone(), BOUND)));
            let activated = |slope| v.iter().map(|&v| reference::leaky_relu(v, slope)).collect();
            expected.extend(conv.activated.map(|slope| Expect::Close(activated(slope), BOUND)));
            // Of a value within rounding of 0, either sign is right.
            let near_zero: Vec<f64> = v.iter().map(|v| f64::from(v.abs() < 1e-4)).collect();
            expected.extend(conv.mask.then(|| Expect::Bits {
                value: reference::mask(&v, channels),
                uncertain: reference::mask(&near_zero, channels),
            }));
        }
        Convolution::InputGradient(conv) => {
            let residual = inputs.floats(v.len());
            let add = |v: &mut [f64]| v.iter_mut().zip(&residual).for_each(|(v, &r)| *v += f64::from(r));
            if conv.residual == Residual::BeforeMask {
                add(&mut v);
            }
            if let Some(slope) = conv.mask {
                let signs: Vec<f64> = inputs.floats(v.len()).into_iter().map(f64::from).collect();
                initial.push(Some(reference::mask(&signs, channels)));
                for (v, sign) in v.iter_mut().zip(&signs) {
                    *v *= if *sign > 0.0 { 1.0 } else { f64::from(slope) };
                }
            }
            if conv.residual == Residual::AfterMask {
                add(&mut v);
            }
            initial.extend((conv.residual != Residual::None).then(|| Some(words(&residual))));
            expected.push(Expect::Close(v, BOUND));
        }
    }
    initial.extend(expected.iter().map(|_| None));
    check(kernel, &initial, &expected);
}

fn every_permutation() {
    for (seed, kernel) in WinogradOutput::permutations().into_iter().enumerate() {
        compare(kernel, seed as u64);
    }
}

/// The result of a convolution by the four kernels on a device.
pub fn by_winograd(
    device: &jem::device::Device,
    convolution: Convolution,
    size: Winograd,
    source: &[f32],
    weights: &[f32],
) -> Vec<u32> {
    let tiling = convolution.tiling(size);
    let [rows, columns] = convolution.channels();
    let flipped = matches!(convolution, Convolution::InputGradient(_));
    let mut builder = ProgramBuilder::new("winograd");
    let x = builder.external_named("source", source.len());
    let w = builder.external_named("weights", weights.len());
    let result = builder.external_named("result", tiling.pixels() * columns);
    let u = builder.transient("weights", size.points() * rows * columns);
    builder.dispatch("weights", WinogradWeights { rows, columns, size, flipped }, &[w, u]);
    let v = builder.transient("input", tiling.transformed_len(rows));
    builder.dispatch("input", WinogradInput { tiling, channels: rows }, &[x, v]);
    let p = builder.transient("product", tiling.transformed_len(columns));
    let product = WinogradProduct { points: size.points(), m: tiling.tiles(), n: columns, k: rows };
    builder.dispatch("product", product, &[v, u, p]);
    builder.dispatch("output", WinogradOutput { convolution, size }, &[p, result]);
    let buffers = [
        ("source", device.buffer_from("source", source).unwrap()),
        ("weights", device.buffer_from("weights", weights).unwrap()),
        ("result", device.buffer("result", 4 * (tiling.pixels() * columns) as u64).unwrap()),
    ];
    let externals: Vec<_> = buffers.iter().map(|(name, buffer)| (*name, buffer)).collect();
    let executable = device.load(builder.finish(), &externals).unwrap();
    device.run(&executable).unwrap();
    device.read_as(&buffers[2].1).unwrap()
}

/// Σ(a-b)²/Σb² of the whole: the conditioning of the transforms is in it.
fn bound(size: Winograd) -> f64 {
    match size {
        Winograd::F2 => 1e-12,
        Winograd::F4 => 4e-12,
    }
}

fn the_four_kernels_are_the_convolution() {
    for (seed, (n, h, w, c_in, c_out)) in
        [(2, 8, 8, 16, 20), (1, 7, 16, 36, 16), (2, 5, 8, 160, 32)].into_iter().enumerate()
    {
        let geometry = ConvGeometry { n, h, w, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 };
        assert!(Winograd::takes(&geometry));
        let mut inputs = Inputs::new(seed as u64);
        let weights = inputs.floats(geometry.weights_len());
        let input = inputs.floats(geometry.input_len());
        let gradient = inputs.floats(geometry.output_len());
        let forward = reference::conv2d(&geometry, &input, &weights);
        let backward = reference::conv2d_input_gradient(&geometry, &gradient, &weights);
        let transposed = reference::transposed(&geometry, &weights);
        let conv = Conv2d::new(geometry);
        let conv_gradient = Conv2dInputGradient::new(geometry);
        for (name, device) in devices() {
            for size in Winograd::ALL {
                let context = format!("{size:?}, {geometry:?} on {name}");
                let result = by_winograd(device, Convolution::Forward(conv), size, &input, &weights);
                assert_close(&result, &forward, bound(size), &context);
                let convolution = Convolution::InputGradient(conv_gradient);
                let result = by_winograd(device, convolution, size, &gradient, &transposed);
                assert_close(&result, &backward, bound(size), &format!("input gradient, {context}"));
            }
        }
    }
}
