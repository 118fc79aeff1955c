//! `average_pool_gradient` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::average_pool_gradient::AveragePoolGradient;
use proptest::prelude::*;

tests![awkward_shapes, non_finite_values_reach_their_own_window, any_shape];

fn compare(kernel: AveragePoolGradient, gradient: &[f32]) {
    let AveragePoolGradient { n, h, w, c, size } = kernel;
    let mut y = Vec::new();
    for image in 0..n {
        for row in 0..h {
            for column in 0..w {
                for channel in 0..c {
                    let window = (image * (h / size) + row / size) * (w / size) + column / size;
                    y.push(f64::from(gradient[window * c + channel]) / (size * size) as f64);
                }
            }
        }
    }
    check(kernel, &[Some(words(gradient)), None], &[Expect::Close(y, 1e-13)]);
}

fn compare_random(kernel: AveragePoolGradient, seed: u64) {
    let n = kernel.n * kernel.h * kernel.w * kernel.c / (kernel.size * kernel.size);
    compare(kernel, &Inputs::new(seed).floats(n));
}

fn awkward_shapes() {
    for (n, h, w, c, size) in [
        (1, 1, 1, 1, 1),
        (3, 8, 8, 160, 8),
        (2, 32, 32, 3, 2),
        (1, 6, 9, 7, 3),
        (3, 5, 5, 1, 5),
        (2, 4, 6, 5, 1),
    ] {
        compare_random(AveragePoolGradient { n, h, w, c, size }, (h + c) as u64);
    }
}

fn non_finite_values_reach_their_own_window() {
    let mut gradient = Inputs::new(2).floats(2 * 2 * 3);
    gradient[0] = f32::NAN;
    gradient[4] = f32::NEG_INFINITY;
    gradient[11] = 1e4;
    compare(AveragePoolGradient { n: 1, h: 4, w: 4, c: 3, size: 2 }, &gradient);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(
        n in 1..4_usize,
        rows in 1..5_usize,
        columns in 1..5_usize,
        c in 1..20_usize,
        size in 1..6_usize,
        seed in any::<u64>(),
    ) {
        compare_random(AveragePoolGradient { n, h: rows * size, w: columns * size, c, size }, seed);
    }
}
