//! Naive float64 statements of the kernels that several tests need.

pub mod axes;
pub mod normalise;
pub mod pool;
pub mod winograd;

use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::mask::{mask_bit, mask_words};

/// Calls `visit(input, weight, output)` with the element indices of every product of a convolution.
pub fn for_each_product(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    for n in 0..g.n {
        for y in 0..g.out_h() {
            for x in 0..g.out_w() {
                for i in 0..g.kh {
                    for j in 0..g.kw {
                        let (in_y, in_x) = (y * g.stride + i, x * g.stride + j);
                        let inside = |at: usize, size: usize| at >= g.padding && at < size + g.padding;
                        if !inside(in_y, g.h) || !inside(in_x, g.w) {
                            continue;
                        }
                        let in_pixel = (n * g.h + in_y - g.padding) * g.w + in_x - g.padding;
                        let out_pixel = (n * g.out_h() + y) * g.out_w() + x;
                        for c in 0..g.c_in {
                            for o in 0..g.c_out {
                                let weight = ((i * g.kw + j) * g.c_in + c) * g.c_out + o;
                                visit(in_pixel * g.c_in + c, weight, out_pixel * g.c_out + o);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The convolution alone.
pub fn conv2d(g: &ConvGeometry, input: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut output = vec![0.0; g.output_len()];
    for_each_product(g, |i, w, o| output[o] += f64::from(input[i]) * f64::from(weights[w]));
    output
}

/// Its gradient with respect to the input.
pub fn conv2d_input_gradient(g: &ConvGeometry, gradient: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut output = vec![0.0; g.input_len()];
    for_each_product(g, |i, w, o| output[i] += f64::from(gradient[o]) * f64::from(weights[w]));
    output
}

/// `[kh, kw, c_in, c_out]` with the channel axes exchanged.
pub fn transposed(g: &ConvGeometry, weights: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; weights.len()];
    for tap in 0..g.kh * g.kw {
        for c in 0..g.c_in {
            for o in 0..g.c_out {
                out[(tap * g.c_out + o) * g.c_in + c] = weights[(tap * g.c_in + c) * g.c_out + o];
            }
        }
    }
    out
}

/// The sign mask of `values`, `[pixels, channels]`.
pub fn mask(values: &[f64], channels: usize) -> Vec<u32> {
    let mut words = vec![0; mask_words(values.len() / channels, channels)];
    for (at, &value) in values.iter().enumerate() {
        let (word, bit) = mask_bit(at / channels, at % channels, channels);
        words[word] |= u32::from(value > 0.0) << bit;
    }
    words
}

/// `x` if positive, else `slope x`; with a slope of 0 an infinity gives 0 too.
pub fn leaky_relu(x: f64, slope: f32) -> f64 {
    if x > 0.0 { x } else { below(x, slope) }
}

/// `slope x`, where 0 times an infinity is 0; NaN stays NaN.
pub fn below(x: f64, slope: f32) -> f64 {
    if slope == 0.0 && !x.is_nan() { 0.0 } else { f64::from(slope) * x }
}

/// Shapes that kernels get wrong: channels around every tile width, odd sizes, strides that do not divide,
/// kernels of one tap and of 25, batches of one and three.
pub fn awkward_geometries() -> Vec<ConvGeometry> {
    let shape = |n, (h, w), (c_in, c_out), kernel, stride, padding| ConvGeometry {
        n,
        h,
        w,
        c_in,
        c_out,
        kh: kernel,
        kw: kernel,
        stride,
        padding,
    };
    let mut all = Vec::new();
    for channels in [(1, 1), (3, 16), (5, 7), (16, 16), (16, 48), (33, 7), (48, 33), (160, 16), (16, 160)] {
        all.push(shape(3, (5, 7), channels, 3, 1, 1));
        all.push(shape(1, (8, 8), channels, 3, 2, 1));
    }
    for (c_in, c_out) in [(3, 16), (16, 1), (20, 40)] {
        all.push(shape(1, (5, 7), (c_in, c_out), 1, 1, 0));
        all.push(shape(3, (6, 6), (c_in, c_out), 1, 2, 0));
        all.push(shape(2, (7, 5), (c_in, c_out), 1, 3, 0));
        all.push(shape(1, (9, 7), (c_in, c_out), 5, 1, 2));
        all.push(shape(3, (7, 9), (c_in, c_out), 3, 2, 1));
        all.push(shape(2, (8, 6), (c_in, c_out), 3, 3, 1));
        all.push(shape(1, (5, 7), (c_in, c_out), 3, 1, 0));
        all.push(shape(2, (16, 16), (c_in, c_out), 3, 1, 1));
        all.push(shape(1, (1, 1), (c_in, c_out), 3, 1, 1));
    }
    // Kernels that are not square, and padding wider than the kernel's reach.
    all.push(ConvGeometry { kh: 1, kw: 5, ..shape(2, (4, 12), (8, 24), 1, 1, 2) });
    all.push(ConvGeometry { kh: 4, kw: 2, ..shape(2, (9, 10), (4, 20), 1, 2, 3) });
    all
}

/// Shapes whose product a tile of `rows` and `columns` covers in several parts, the last of them not whole: channels in
/// quads with whole steps of the sum, and channels of neither, with a stride. For a tile that loads ahead also shapes
/// whose steps of the sum differ: several a tap, classes of an input gradient with fewer taps than others, and with
/// none.
pub fn geometries_for([rows, columns]: [usize; 2], ahead: bool) -> Vec<ConvGeometry> {
    // More rows than one tile of pixels, in either direction, or of weights: 9 taps of 16 or 17 channels.
    let h = (rows + 20).div_ceil(24).max(3);
    let quads =
        ConvGeometry { n: 2, h, w: 12, c_in: 16, c_out: columns + 4, kh: 3, kw: 3, stride: 1, padding: 1 };
    let odd = ConvGeometry { h: 2 * h, w: 23, c_in: 17, c_out: columns + 3, stride: 2, ..quads };
    let steps = ConvGeometry { c_in: 48, stride: 2, ..quads };
    let untouched = ConvGeometry { c_in: 32, kh: 1, kw: 1, stride: 3, padding: 0, ..quads };
    let ahead = [steps, untouched].into_iter().filter(|_| ahead);
    [quads, odd].into_iter().chain(ahead).collect()
}

/// Any small geometry.
pub fn any_geometry() -> impl proptest::strategy::Strategy<Value = ConvGeometry> {
    use proptest::prelude::*;
    let sizes = (1usize..4, 1usize..13, 1usize..20, 1usize..36, 1usize..36);
    let kernel = (1usize..6, 1usize..6, 1usize..4, 0usize..3);
    (sizes, kernel).prop_filter_map(
        "the kernel fits, and its first position reaches the image",
        |((n, h, w, c_in, c_out), (kh, kw, stride, padding))| {
            let fits = kh <= h + 2 * padding && kw <= w + 2 * padding;
            let reaches = padding < kh.min(kw);
            (fits && reaches).then_some(ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, padding })
        },
    )
}
