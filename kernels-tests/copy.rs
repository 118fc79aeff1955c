//! `copy` against its definition.

use super::harness::{Expect, Inputs, cases, check};
use jem::compute::strides;
use jem::kernels::copy::StridedCopy;
use proptest::prelude::*;

tests![
    every_permutation,
    weights_are_transposed,
    plain_copies_and_broadcasts,
    any_permutation_of_axes_with_broadcasts
];

fn compare(kernel: StridedCopy, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let words = kernel.offset + strides::words(kernel.shape, kernel.strides);
    // Any words, NaNs with payloads among them.
    let x: Vec<u32> = (0..words).map(|_| inputs.bits() as u32).collect();
    let [n, h, w, c] = kernel.shape;
    let [sn, sh, sw, sc] = kernel.strides;
    let mut y = Vec::new();
    for i in 0..n {
        for j in 0..h {
            for k in 0..w {
                for l in 0..c {
                    y.push(x[kernel.offset + i * sn + j * sh + k * sw + l * sc]);
                }
            }
        }
    }
    check(kernel, &[Some(x), None], &[Expect::Exactly(y)]);
}

fn every_permutation() {
    for (seed, kernel) in StridedCopy::permutations().into_iter().enumerate() {
        compare(kernel, seed as u64);
    }
}

fn weights_are_transposed() {
    // [kh kw, c_in, c_out] read as [kh kw, c_out, c_in].
    for (taps, c_in, c_out) in [(9, 3, 16), (9, 160, 33), (1, 640, 10)] {
        compare(
            StridedCopy { shape: [1, taps, c_out, c_in], strides: [0, c_in * c_out, 1, c_out], offset: 0 },
            7,
        );
    }
}

fn plain_copies_and_broadcasts() {
    for n in [1, 257, 70_001] {
        for (stride, offset) in [(0, 0), (1, 0), (3, 0), (0, 5), (1, 65), (3, 1)] {
            compare(StridedCopy { shape: [1, 1, 1, n], strides: [0, 0, 0, stride], offset }, n as u64);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_permutation_of_axes_with_broadcasts(
        shape in prop::array::uniform4(1..8_usize),
        order in Just([0_usize, 1, 2, 3]).prop_shuffle(),
        kept in prop::array::uniform4(any::<bool>()),
        offset in 0..70_usize,
        seed in any::<u64>(),
    ) {
        // x is contiguous over the kept axes in some order.
        let mut strides = [0; 4];
        let mut next = 1;
        for axis in order.into_iter().filter(|&axis| kept[axis]) {
            strides[axis] = next;
            next *= shape[axis];
        }
        compare(StridedCopy { shape, strides, offset }, seed);
    }
}
