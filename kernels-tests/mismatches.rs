//! `mismatches` against its definition.

use super::harness::{Expect, Inputs, cases, check};
use jem::kernels::mismatches::Mismatches;
use proptest::prelude::*;

tests![bits_and_not_numbers_are_compared, counts_wrap, any_size];

fn compare(counters: usize, a: Vec<u32>, b: Vec<u32>, before: Vec<u32>) {
    let kernel = Mismatches { n: a.len(), counters };
    let differing = |t: usize| (t..a.len()).step_by(counters).filter(|&i| a[i] != b[i]).count() as u32;
    let expected = before.iter().enumerate().map(|(t, count)| count.wrapping_add(differing(t))).collect();
    check(kernel, &[Some(a), Some(b), Some(before)], &[Expect::Exactly(expected)]);
}

/// NaNs with the same bits are equal, and 0 differs from -0.
fn bits_and_not_numbers_are_compared() {
    let a = [f32::NAN, 0.0, 1.0, f32::INFINITY].map(f32::to_bits).to_vec();
    let b = [f32::NAN, -0.0, 1.0, f32::NEG_INFINITY].map(f32::to_bits).to_vec();
    compare(4, a.clone(), b.clone(), vec![0; 4]);
    compare(1, a, b, vec![7]);
}

fn counts_wrap() {
    compare(2, vec![1, 2, 3, 4], vec![1, 2, 5, 6], vec![u32::MAX, u32::MAX - 1]);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_size(n in 1usize..5000, counters in 1usize..700, one_in in 1u64..9, seed in any::<u64>()) {
        let mut inputs = Inputs::new(seed);
        let a: Vec<u32> = (0..n).map(|_| inputs.bits() as u32).collect();
        let b = a.iter().map(|&word| word ^ u32::from(inputs.bits().is_multiple_of(one_in))).collect();
        let before = (0..counters).map(|_| inputs.bits() as u32).collect();
        compare(counters, a, b, before);
    }
}
