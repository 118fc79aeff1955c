//! `random_bits` against the published vectors and the host, bit for bit.

use super::harness::{Expect, check};
use jem::compute::random::threefry2x32;
use jem::kernels::random_bits::RandomBits;

tests![known_answers, the_host_draws_the_same];

/// The vectors published with the reference implementation (Random123, `kat_vectors`).
fn known_answers() {
    for (counter, key, expected) in [
        ([0, 0], [0, 0], [0x6b20_0159, 0x99ba_4efe]),
        ([!0, !0], [!0, !0], [0x1cb9_96fc, 0xbb00_2be7]),
        ([0x243f_6a88, 0x85a3_08d3], [0x1319_8a2e, 0x0370_7344], [0xc492_3a9c, 0x483d_f7a0]),
    ] {
        check(RandomBits { n: 2, key, counter }, &[None], &[Expect::Exactly(expected.to_vec())]);
    }
}

fn the_host_draws_the_same() {
    for n in [1, 3, 511, 512, 513, 10_001] {
        let (key, counter) = ([n as u32, 0xdead_beef], [17, u32::MAX - 100]);
        let word = |i: usize| {
            let element = counter[1].wrapping_add(i as u32 / 2);
            threefry2x32(key, [counter[0], element])[i % 2]
        };
        check(RandomBits { n, key, counter }, &[None], &[Expect::Exactly((0..n).map(word).collect())]);
    }
}
