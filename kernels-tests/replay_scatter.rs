//! `replay_scatter` against a plain copy, exactly.

use super::harness::{Expect, Inputs, check, words};
use jem::kernels::replay_scatter::{DISCARDED, ReplayScatter};
use proptest::prelude::*;

tests![the_rest_stays, what_is_discarded_goes_nowhere, any_shape];

/// Every `discarding`-th image is discarded; with 0 none.
fn compare(kernel: ReplayScatter, discarding: usize) {
    let ReplayScatter { batch, size, image } = kernel;
    let mut inputs = Inputs::new((batch * image) as u64);
    let (x, buffer) = (inputs.floats(batch * image), inputs.floats(size * image));
    // Distinct indices: the first of a shuffle.
    let mut order: Vec<u32> = (0..size as u32).collect();
    order.sort_by_cached_key(|_| inputs.bits());
    order.truncate(batch);
    let discarded = |b: usize| discarding > 0 && b.is_multiple_of(discarding);
    (0..batch).filter(|&b| discarded(b)).for_each(|b| order[b] = DISCARDED);
    let mut expected = buffer.clone();
    for b in (0..batch).filter(|&b| !discarded(b)) {
        for e in 0..image {
            expected[order[b] as usize * image + e] = x[b * image + e];
        }
    }
    let initial = [Some(words(&x)), Some(order), Some(words(&buffer))];
    check(kernel, &initial, &[Expect::Exactly(words(&expected))]);
}

fn the_rest_stays() {
    for (batch, size, image) in [(1, 1, 1), (1, 9, 255), (5, 9, 257), (64, 100, 3072), (9, 9, 3)] {
        compare(ReplayScatter { batch, size, image }, 0);
    }
}

fn what_is_discarded_goes_nowhere() {
    for (batch, discarding) in [(1, 1), (7, 1), (7, 2), (64, 3)] {
        compare(ReplayScatter { batch, size: 100, image: 75 }, discarding);
    }
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_shape(batch in 1usize..20, spare in 0usize..30, image in 1usize..300) {
        compare(ReplayScatter { batch, size: batch + spare, image }, spare);
    }
}
