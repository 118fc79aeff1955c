//! `sign_mask` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::compute::mask::{mask_bit, mask_words};
use jem::kernels::sign_mask::SignMask;
use proptest::prelude::*;

tests![awkward_shapes, bits_past_the_end_are_zero, zeros_and_nans_are_not_greater, any_shape];

fn compare(kernel: SignMask, x: &[f32]) {
    let mut mask = vec![0; mask_words(kernel.pixels, kernel.channels)];
    for (i, _) in x.iter().enumerate().filter(|&(_, &x)| x > 0.0) {
        let (word, bit) = mask_bit(i / kernel.channels, i % kernel.channels, kernel.channels);
        mask[word] |= 1 << bit;
    }
    check(kernel, &[Some(words(x)), None], &[Expect::Exactly(mask)]);
}

fn compare_random(pixels: usize, channels: usize, seed: u64) {
    compare(SignMask { pixels, channels }, &Inputs::new(seed).floats(pixels * channels));
}

fn awkward_shapes() {
    for (pixels, channels) in [(1, 1), (8, 4), (9, 5), (7, 3), (100, 160), (3, 33), (5000, 16)] {
        compare_random(pixels, channels, pixels as u64);
    }
}

fn bits_past_the_end_are_zero() {
    compare(SignMask { pixels: 9, channels: 5 }, &[1.0; 45]);
}

fn zeros_and_nans_are_not_greater() {
    let x = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e4, -1e4, f32::MIN_POSITIVE];
    compare(SignMask { pixels: 2, channels: 4 }, &x);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(pixels in 1..80_usize, channels in 1..40_usize, seed in any::<u64>()) {
        compare_random(pixels, channels, seed);
    }
}
