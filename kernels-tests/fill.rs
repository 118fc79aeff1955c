//! `fill` against its definition.

use super::harness::{Expect, cases, check};
use jem::kernels::fill::Fill;
use proptest::prelude::*;

tests![awkward_sizes_and_values, seventeen_million, any_size];

fn compare(n: usize, value: f32) {
    check(Fill { n, value }, &[None], &[Expect::Exactly(vec![value.to_bits(); n])]);
}

fn awkward_sizes_and_values() {
    for n in [1, 255, 257, 70_001] {
        for value in [0.0, -0.0, 1.5, f32::NAN, f32::NEG_INFINITY] {
            compare(n, value);
        }
    }
}

/// More workgroups than one dimension of a dispatch may have.
fn seventeen_million() {
    compare(65_536 * 256 + 3, 2.5);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_size(n in 1..3000_usize, bits in any::<u32>()) {
        compare(n, f32::from_bits(bits));
    }
}
