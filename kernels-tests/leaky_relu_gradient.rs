//! `leaky_relu_gradient` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::below;
use jem::compute::mask::{mask_bit, mask_words};
use jem::kernels::leaky_relu_gradient::LeakyReluGradient;
use proptest::prelude::*;

tests![awkward_shapes, at_the_kink_and_with_non_finite_values, any_shape];

fn compare(kernel: LeakyReluGradient, gradient: &[f32], x: &[f32]) {
    let LeakyReluGradient { pixels, channels, slope, packed } = kernel;
    let of = |(&g, &x): (&f32, &f32)| if x > 0.0 { f64::from(g) } else { below(f64::from(g), slope) };
    let y = gradient.iter().zip(x).map(of).collect();
    let mut mask = vec![0; mask_words(pixels, channels)];
    for (i, _) in x.iter().enumerate().filter(|&(_, &x)| x > 0.0) {
        let (word, bit) = mask_bit(i / channels, i % channels, channels);
        mask[word] |= 1 << bit;
    }
    let sign = if packed { mask } else { words(x) };
    check(kernel, &[Some(words(gradient)), Some(sign), None], &[Expect::Close(y, 1e-13)]);
}

fn compare_random(pixels: usize, channels: usize, slope: f32, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let (gradient, x) = (inputs.floats(pixels * channels), inputs.floats(pixels * channels));
    for packed in [false, true] {
        compare(LeakyReluGradient { pixels, channels, slope, packed }, &gradient, &x);
    }
}

fn awkward_shapes() {
    for (pixels, channels) in [(1, 1), (8, 4), (9, 5), (7, 3), (100, 160), (3, 33), (5000, 16)] {
        compare_random(pixels, channels, 0.2, pixels as u64);
    }
}

fn at_the_kink_and_with_non_finite_values() {
    let gradient = [1.0, f32::NAN, f32::INFINITY, 1e4, -1e4, f32::NEG_INFINITY, 2.0, 3.0];
    // Neither zero nor NaN is greater than 0.
    let x = [0.0, 1.0, -1.0, -0.0, f32::INFINITY, 1.0, f32::NAN, f32::NEG_INFINITY];
    for (packed, slope) in [(false, 0.2), (true, 0.2), (false, 0.0), (true, 0.0)] {
        compare(LeakyReluGradient { pixels: 2, channels: 4, slope, packed }, &gradient, &x);
    }
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(pixels in 1..80_usize, channels in 1..40_usize, slope in 0.01..1.0_f32, seed in any::<u64>()) {
        compare_random(pixels, channels, slope, seed);
    }
}
