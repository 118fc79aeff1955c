//! `average_pool` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::average_pool::AveragePool;
use proptest::prelude::*;

tests![awkward_shapes, non_finite_values_reach_their_own_window, any_shape];

fn compare(kernel: AveragePool, x: &[f32]) {
    let AveragePool { n, h, w, c, size } = kernel;
    let mut y = Vec::new();
    for image in 0..n {
        for row in 0..h / size {
            for column in 0..w / size {
                for channel in 0..c {
                    let mut sum = 0.0;
                    for dy in 0..size {
                        for dx in 0..size {
                            let pixel = (image * h + row * size + dy) * w + column * size + dx;
                            sum += f64::from(x[pixel * c + channel]);
                        }
                    }
                    y.push(sum / (size * size) as f64);
                }
            }
        }
    }
    check(kernel, &[Some(words(x)), None], &[Expect::Close(y, 1e-12)]);
}

fn compare_random(kernel: AveragePool, seed: u64) {
    let mut inputs = Inputs::new(seed);
    // With a mean, so that no window nearly cancels.
    let n = kernel.n * kernel.h * kernel.w * kernel.c;
    compare(kernel, &(0..n).map(|_| inputs.uniform(-0.5, 1.5)).collect::<Vec<_>>());
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
        compare_random(AveragePool { n, h, w, c, size }, (h + c) as u64);
    }
}

fn non_finite_values_reach_their_own_window() {
    let mut x = Inputs::new(2).floats(4 * 4 * 3);
    x[0] = f32::NAN;
    x[3 * 3 + 1] = f32::INFINITY;
    x[47] = 1e4;
    compare(AveragePool { n: 1, h: 4, w: 4, c: 3, size: 2 }, &x);
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
        compare_random(AveragePool { n, h: rows * size, w: columns * size, c, size }, seed);
    }
}
