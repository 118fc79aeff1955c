//! `argmax` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::argmax::ArgMax;
use proptest::prelude::*;

tests![
    every_permutation,
    the_first_of_equals,
    nan_is_largest_and_the_first_of_them,
    infinities_and_signs_of_zero,
    any_shape_with_ties
];

fn compare(kernel: ArgMax, x: &[f32]) {
    let ArgMax { outer, axis, inner } = kernel;
    let mut y = Vec::new();
    for o in 0..outer {
        for i in 0..inner {
            let column: Vec<f32> = (0..axis).map(|a| x[(o * axis + a) * inner + i]).collect();
            let largest = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let nan = column.iter().position(|v| v.is_nan());
            let first = nan.or_else(|| column.iter().position(|&v| v == largest));
            y.push(first.expect("a largest") as u32);
        }
    }
    check(kernel, &[Some(words(x)), None], &[Expect::Exactly(y)]);
}

fn every_permutation() {
    for kernel in ArgMax::permutations() {
        compare(kernel, &Inputs::new(3).floats(kernel.input_len()));
    }
}

/// The equal elements are far from each other, so that threads of the shader find them that meet late in the tree.
fn the_first_of_equals() {
    for (outer, axis, inner) in [(2, 1000, 1), (1, 600, 5), (3, 2, 40)] {
        let kernel = ArgMax { outer, axis, inner };
        for first in [0, 1, axis / 2, axis - 1] {
            let x: Vec<f32> =
                (0..kernel.input_len()).map(|i| f32::from(u8::from(i / inner % axis >= first))).collect();
            compare(kernel, &x);
        }
    }
}

fn nan_is_largest_and_the_first_of_them() {
    let kernel = ArgMax { outer: 2, axis: 100, inner: 3 };
    let mut x = Inputs::new(5).floats(kernel.input_len());
    x[3 * 70] = f32::NAN;
    x[3 * 90] = f32::NAN;
    x[3 * 91] = f32::INFINITY;
    x[3 * 20] = f32::INFINITY;
    x[3 * 199 + 2] = -f32::NAN;
    compare(kernel, &x);
}

fn infinities_and_signs_of_zero() {
    let x = [f32::NEG_INFINITY, f32::NEG_INFINITY, -0.0, 0.0, -1.0, f32::INFINITY, 3.0, f32::INFINITY];
    compare(ArgMax { outer: 4, axis: 2, inner: 1 }, &x);
    compare(ArgMax { outer: 1, axis: 4, inner: 2 }, &x);
    compare(ArgMax { outer: 2, axis: 4, inner: 1 }, &x);
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape_with_ties(
        outer in 1..5_usize,
        axis in 1..700_usize,
        inner in 1..50_usize,
        values in 1..9_u32,
        seed in any::<u64>(),
    ) {
        let kernel = ArgMax { outer, axis, inner };
        let x = Inputs::new(seed).below(kernel.input_len(), values);
        compare(kernel, &x.into_iter().map(|v| v as f32 - 2.0).collect::<Vec<_>>());
    }
}
