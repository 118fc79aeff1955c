//! `narrow` against the definition of f16.

use super::cooperative::to_f16;
use super::harness::{Expect, Inputs, cases, check, words};
use jem::compute::half;
use jem::kernels::narrow::Narrow;
use proptest::prelude::*;

tests![every_size_of_number, what_f16_has_not, any_size];

/// Exactly the nearest f16, ties to even.
fn compare(x: &[f32]) {
    let bits = |&x: &f32| {
        let nearest = to_f16(f64::from(x)) as f32;
        let bits = half::to_bits(nearest);
        assert_eq!(half::from_bits(bits).to_bits(), nearest.to_bits());
        u32::from(bits)
    };
    let expected = x.chunks(2).map(|pair| bits(&pair[0]) | bits(&pair[1]) << 16).collect();
    check(Narrow { n: x.len() }, &[Some(words(x)), None], &[Expect::Exactly(expected)]);
}

/// Normal and subnormal f16, numbers halfway between two, and numbers under the smallest.
fn every_size_of_number() {
    let mut inputs = Inputs::new(4);
    let mut x: Vec<f32> = (0..20_000).map(|i| inputs.uniform(-1.0, 1.0) * 2f32.powi(i % 40 - 24)).collect();
    for bits in 0..0x7bffu16 {
        let (low, high) = (half::from_bits(bits), half::from_bits(bits + 1));
        x.push(low + (high - low) / 2.0);
    }
    x.truncate(x.len() / 2 * 2);
    compare(&x);
}

fn what_f16_has_not() {
    compare(&[
        f32::INFINITY,
        f32::NEG_INFINITY,
        65_504.0,
        -65_519.0,
        65_520.0,
        65_536.0,
        -1e30,
        0.0,
        -0.0,
        1e-9,
        -1e-9,
        f32::NAN,
    ]);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_size(pairs in 1usize..3000, seed in any::<u64>()) {
        compare(&Inputs::new(seed).floats(2 * pairs));
    }
}
