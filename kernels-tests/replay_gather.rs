//! `replay_gather` against a plain statement from the host's words, exactly.

use super::harness::{Expect, Inputs, check, words};
use super::reference_random::uniform;
use jem::compute::random::stream::{REPLAY_CHOICE, REPLAY_INIT};
use jem::compute::random::threefry2x32;
use jem::kernels::replay_gather::ReplayGather;
use proptest::prelude::*;

tests![none_some_and_all_new, as_many_new_as_asked_for, any_shape];

/// Compares and returns how many images were new.
fn compare(kernel: ReplayGather, iteration: u32) -> usize {
    let ReplayGather { batch, size, image, reinitialise, fresh } = kernel;
    let mut inputs = Inputs::new((batch * image) as u64);
    let buffer = inputs.floats(size * image);
    let indices = inputs.below(batch, size as u32);
    let given = inputs.floats(if fresh { batch * image } else { 0 });
    let (mut expected, mut new) = (Vec::new(), 0);
    for b in 0..batch {
        let choice = threefry2x32([3, REPLAY_CHOICE], [iteration, b as u32])[0];
        let start = f64::from(choice >> 8) / f64::from(1 << 24) < f64::from(reinitialise);
        new += usize::from(start);
        for e in 0..image {
            expected.push(if start && fresh {
                given[b * image + e]
            } else if start {
                (2.0 * uniform([3, REPLAY_INIT], iteration, b * image + e) - 1.0) as f32
            } else {
                buffer[indices[b] as usize * image + e]
            });
        }
    }
    let counters = vec![3, iteration, 99, 0];
    let mut initial = vec![Some(words(&buffer)), Some(indices), Some(counters), None];
    initial.extend(fresh.then(|| Some(words(&given))));
    check(kernel, &initial, &[Expect::Exactly(words(&expected))]);
    new
}

fn none_some_and_all_new() {
    for image in [1, 75, 3072] {
        for fresh in [false, true] {
            let kernel = ReplayGather { batch: 64, size: 100, image, reinitialise: 0.0, fresh };
            assert_eq!(compare(kernel, 1), 0);
            let some = compare(ReplayGather { reinitialise: 0.3, ..kernel }, 2);
            assert!((5..40).contains(&some), "{some} of 64 at probability 0.3");
            assert_eq!(compare(ReplayGather { reinitialise: 1.0, ..kernel }, 3), 64);
        }
    }
}

fn as_many_new_as_asked_for() {
    let p = 0.05;
    let new: usize = (0..100)
        .map(|iteration| {
            compare(ReplayGather { batch: 100, size: 3, image: 2, reinitialise: p, fresh: false }, iteration)
        })
        .sum();
    let p = f64::from(p);
    let (mean, deviation) = (1e4 * p, (1e4 * p * (1.0 - p)).sqrt());
    assert!((new as f64 - mean).abs() < 5.0 * deviation, "{new} of 10000 at probability {p}");
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_shape(batch in 1usize..20, size in 1usize..30, image in 1usize..300, p in 0.0f32..1.0, fresh: bool) {
        compare(ReplayGather { batch, size, image, reinitialise: p, fresh }, 7);
    }
}
