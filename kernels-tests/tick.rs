//! `tick` counts one word and leaves the others.

use super::harness::{Expect, check};
use jem::kernels::tick::Tick;

tests![one_word_moves];

fn one_word_moves() {
    for word in 0..4 {
        let counters = vec![7, 41, u32::MAX, 5];
        let mut expected = counters.clone();
        expected[word] = expected[word].wrapping_add(1);
        check(Tick { word }, &[Some(counters)], &[Expect::Exactly(expected)]);
    }
}
