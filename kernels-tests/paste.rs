//! `paste` against its definition.

use super::harness::{Expect, Inputs, cases, check};
use jem::kernels::paste::Paste;
use proptest::prelude::*;

tests![every_permutation, parts_of_a_concatenation, a_whole_tensor, any_place];

fn compare(kernel: Paste, seed: u64) {
    let Paste { outer, axis, inner, length, first, step } = kernel;
    let mut inputs = Inputs::new(seed);
    // Any words, NaNs with payloads among them.
    let mut random = |n: usize| -> Vec<u32> { (0..n).map(|_| inputs.bits() as u32).collect() };
    let (x, before) = (random(outer * axis * inner), random(outer * length * inner));
    let mut after = before.clone();
    for o in 0..outer {
        for a in 0..axis {
            for i in 0..inner {
                after[(o * length + first + step * a) * inner + i] = x[(o * axis + a) * inner + i];
            }
        }
    }
    check(kernel, &[Some(x), Some(before)], &[Expect::Exactly(after)]);
}

fn every_permutation() {
    for kernel in Paste::permutations() {
        compare(kernel, 3);
    }
}

fn parts_of_a_concatenation() {
    for first in [0, 7, 30] {
        compare(Paste { outer: 70, axis: 5, inner: 33, length: 35, first, step: 1 }, first as u64);
        compare(Paste { outer: 1, axis: 5, inner: 70_001, length: 35, first, step: 1 }, first as u64);
    }
}

fn a_whole_tensor() {
    compare(Paste { outer: 1, axis: 257, inner: 1, length: 257, first: 0, step: 1 }, 1);
    compare(Paste { outer: 1, axis: 1, inner: 1, length: 1, first: 0, step: 1 }, 2);
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_place(
        outer in 1..6_usize,
        axis in 1..20_usize,
        inner in 1..20_usize,
        first in 0..9_usize,
        step in 1..5_usize,
        behind in 0..9_usize,
        seed in any::<u64>(),
    ) {
        let length = first + step * (axis - 1) + 1 + behind;
        compare(Paste { outer, axis, inner, length, first, step }, seed);
    }
}
