//! `matmul` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::matmul::Matmul;
use proptest::prelude::*;

tests![
    every_permutation,
    the_engines_shapes_and_awkward_ones,
    non_finite_values_reach_their_own_rows_and_columns,
    any_shape
];

fn compare(kernel: Matmul, a: &[f32], b: &[f32], bias: &[f32]) {
    let Matmul { m, n, k, .. } = kernel;
    let mut y = Vec::with_capacity(m * n);
    for row in 0..m {
        for column in 0..n {
            let a = |p| f64::from(a[if kernel.transpose_a { p * m + row } else { row * k + p }]);
            let b = |p| f64::from(b[if kernel.transpose_b { column * k + p } else { p * n + column }]);
            let bias = if kernel.bias { f64::from(bias[column]) } else { 0.0 };
            y.push((0..k).map(|p| a(p) * b(p)).sum::<f64>() + bias);
        }
    }
    let mut initial = vec![Some(words(a)), Some(words(b))];
    initial.extend(kernel.bias.then(|| Some(words(bias))));
    initial.push(None);
    check(kernel, &initial, &[Expect::Close(y, 1e-12)]);
}

fn compare_random(kernel: Matmul, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let (a, b) = (inputs.floats(kernel.m * kernel.k), inputs.floats(kernel.k * kernel.n));
    compare(kernel, &a, &b, &inputs.floats(kernel.n));
}

fn every_permutation() {
    for (seed, kernel) in Matmul::permutations().into_iter().enumerate() {
        compare_random(kernel, seed as u64);
    }
}

fn the_engines_shapes_and_awkward_ones() {
    let shapes = [
        (64, 10, 640),
        (64, 640, 10),
        (640, 10, 64),
        (1, 1, 1),
        (1, 7, 33),
        (65, 1, 17),
        (64, 64, 16),
        (129, 130, 15),
    ];
    for (m, n, k) in shapes {
        for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true)] {
            compare_random(Matmul { m, n, k, transpose_a, transpose_b, bias: true }, (m + k) as u64);
        }
    }
}

fn non_finite_values_reach_their_own_rows_and_columns() {
    let kernel = Matmul { m: 6, n: 9, k: 5, transpose_a: false, transpose_b: false, bias: true };
    let mut inputs = Inputs::new(1);
    let (mut a, mut b) = (inputs.floats(30), inputs.floats(45));
    a[7] = f32::NAN;
    b[3] = f32::INFINITY;
    a[29] = 1e4;
    b[44] = -1e4;
    compare(kernel, &a, &b, &inputs.floats(9));
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(
        m in 1..140_usize,
        n in 1..140_usize,
        k in 1..80_usize,
        transpose_a in any::<bool>(),
        transpose_b in any::<bool>(),
        bias in any::<bool>(),
        seed in any::<u64>(),
    ) {
        compare_random(Matmul { m, n, k, transpose_a, transpose_b, bias }, seed);
    }
}
