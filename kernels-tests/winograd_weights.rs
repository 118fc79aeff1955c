//! `winograd_weights` against its matrices in float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::winograd::{Matrices, transform};
use jem::compute::winograd::Winograd;
use jem::kernels::winograd_weights::WinogradWeights;
use proptest::prelude::*;

tests![every_permutation, any_shape];

const BOUND: f64 = 1e-12;

fn compare(kernel: WinogradWeights, seed: u64) {
    let WinogradWeights { rows, columns, size, flipped } = kernel;
    let weights = Inputs::new(seed).floats(9 * rows * columns);
    let mut expected = vec![0.0; size.points() * rows * columns];
    for at in 0..rows * columns {
        let tap = |tap: usize| f64::from(weights[if flipped { 8 - tap } else { tap } * rows * columns + at]);
        let taps: Vec<f64> = (0..9).map(tap).collect();
        for (point, value) in transform(&Matrices::of(size).weights, &taps).into_iter().enumerate() {
            expected[point * rows * columns + at] = value;
        }
    }
    check(kernel, &[Some(words(&weights)), None], &[Expect::Close(expected, BOUND)]);
}

fn every_permutation() {
    for (seed, kernel) in WinogradWeights::permutations().into_iter().enumerate() {
        compare(kernel, seed as u64);
    }
}

proptest! {
    #![proptest_config(cases(8))]
    fn any_shape(rows in 1..40_usize, quads in 1..10_usize, f4: bool, flipped: bool, seed: u64) {
        let size = if f4 { Winograd::F4 } else { Winograd::F2 };
        compare(WinogradWeights { rows, columns: 4 * quads, size, flipped }, seed);
    }
}
