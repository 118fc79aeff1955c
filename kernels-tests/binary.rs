//! `binary` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference_elementwise::binary;
use jem::compute::strides;
use jem::kernels::binary::{Binary, BinaryOp};
use proptest::prelude::*;

tests![
    every_permutation,
    awkward_sizes,
    non_finite_values_stay_visible,
    equal_values_and_signs_of_zero,
    broadcast_over_any_axes
];

fn reference(kernel: &Binary, a: &[f32], b: &[f32]) -> Vec<f64> {
    let [n, h, w, c] = kernel.shape;
    let mut y = Vec::new();
    for i in 0..n {
        for j in 0..h {
            for k in 0..w {
                for l in 0..c {
                    let at =
                        |x: &[f32], s: [usize; 4]| f64::from(x[i * s[0] + j * s[1] + k * s[2] + l * s[3]]);
                    let (a, b) = (at(a, kernel.a_strides), at(b, kernel.b_strides));
                    y.push(binary(kernel.op, a, b));
                }
            }
        }
    }
    y
}

fn compare(kernel: Binary, a: &[f32], b: &[f32]) {
    let y = reference(&kernel, a, b);
    check(kernel, &[Some(words(a)), Some(words(b)), None], &[Expect::Close(y, 1e-13)]);
}

fn compare_random(kernel: Binary, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let mut a = inputs.floats(strides::words(kernel.shape, kernel.a_strides));
    a[0] = 3.0; // above all of b, so that no step is 0 everywhere
    // Not near 0, so that no quotient dwarfs the others in the error.
    let b = strides::words(kernel.shape, kernel.b_strides);
    let b: Vec<f32> = (0..b).map(|_| inputs.uniform(0.5, 2.0)).collect();
    compare(kernel, &a, &b);
}

fn every_permutation() {
    for (seed, kernel) in Binary::permutations().into_iter().enumerate() {
        compare_random(kernel, seed as u64);
    }
}

fn awkward_sizes() {
    for n in [1, 255, 257, 70_001] {
        for (a, b) in [(1, 1), (1, 0), (0, 1)] {
            let (shape, a_strides, b_strides) = ([1, 1, 1, n], [0, 0, 0, a], [0, 0, 0, b]);
            compare_random(Binary { op: BinaryOp::Sub, shape, a_strides, b_strides }, n as u64);
        }
    }
}

fn non_finite_values_stay_visible() {
    let a = [f32::NAN, 1e4, -1e4, f32::INFINITY, f32::NEG_INFINITY, 1.0];
    let b = [2.0, f32::NAN, 3.0, 0.5, -4.0, 2.0];
    let same = strides::contiguous([1, 1, 2, 3]);
    for op in BinaryOp::ALL {
        compare(Binary { op, shape: [1, 1, 2, 3], a_strides: same, b_strides: same }, &a, &b);
    }
}

fn equal_values_and_signs_of_zero() {
    let a = [1.0, -2.0, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY];
    let b = [1.0, -2.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY];
    let same = strides::contiguous([1, 1, 2, 3]);
    for op in [BinaryOp::Max, BinaryOp::Min, BinaryOp::Step] {
        compare(Binary { op, shape: [1, 1, 2, 3], a_strides: same, b_strides: same }, &a, &b);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn broadcast_over_any_axes(
        op in prop::sample::select(BinaryOp::ALL.to_vec()),
        shape in prop::array::uniform4(1..8_usize),
        a_axes in prop::array::uniform4(any::<bool>()),
        b_axes in prop::array::uniform4(any::<bool>()),
        seed in any::<u64>(),
    ) {
        let strides_of = |axes: [bool; 4]| {
            let kept = std::array::from_fn(|axis| if axes[axis] { shape[axis] } else { 1 });
            let strides = strides::contiguous(kept);
            std::array::from_fn(|axis| if axes[axis] { strides[axis] } else { 0 })
        };
        compare_random(Binary { op, shape, a_strides: strides_of(a_axes), b_strides: strides_of(b_axes) }, seed);
    }
}
