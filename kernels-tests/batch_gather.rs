//! `batch_gather` against a plain statement that builds the padded images, from the host's words.

use super::harness::{Expect, Inputs, check};
use super::reference_random::normal;
use jem::compute::random::stream::{AUGMENT, INPUT_NOISE};
use jem::compute::random::{lane, threefry2x32};
use jem::kernels::batch_gather::BatchGather;
use proptest::prelude::*;

tests![
    plain_batches,
    crops_flips_and_noise,
    data_in_shards,
    shards_are_parts_of_one_buffer,
    crops_and_flips_are_uniform,
    any_shape
];

const SEED: u32 = 77;

/// `image` `[h, w, c]` padded by reflection, one row or column at a time.
fn pad(image: &[Vec<Vec<u8>>], pad: usize) -> Vec<Vec<Vec<u8>>> {
    fn reflect<T: Clone>(line: &[T], pad: usize) -> Vec<T> {
        let n = line.len();
        let before = (1..=pad).rev().map(|i| line[i].clone());
        let after = (1..=pad).map(|i| line[n - 1 - i].clone());
        before.chain(line.iter().cloned()).chain(after).collect()
    }
    reflect(image, pad).iter().map(|row| reflect(row, pad)).collect()
}

fn compare(kernel: BatchGather, iteration: u32) {
    let BatchGather { batch, h, w, c, images, .. } = kernel;
    let mut inputs = Inputs::new((batch * images) as u64);
    let mut bytes: Vec<u8> = (0..images * h * w * c).map(|_| inputs.bits() as u8).collect();
    let indices = inputs.below(batch, images as u32);
    let mut expected = Vec::new();
    for (slot, &index) in indices.iter().enumerate() {
        let image = &bytes[index as usize * h * w * c..][..h * w * c];
        let rows: Vec<Vec<Vec<u8>>> =
            image.chunks(w * c).map(|row| row.chunks(c).map(<[u8]>::to_vec).collect()).collect();
        let padded = pad(&rows, kernel.pad);
        let [a, b] = threefry2x32([SEED, lane(AUGMENT, kernel.stream)], [iteration, slot as u32]);
        let places = 2 * kernel.pad as u32 + 1;
        let (top, left) = ((a >> 1) % places, b % places);
        for row in &padded[top as usize..][..h] {
            let mut row = row[left as usize..][..w].to_vec();
            if kernel.flip && a % 2 == 1 {
                row.reverse();
            }
            expected.extend(row.concat().into_iter().map(|v| f64::from(v) / 127.5 - 1.0));
        }
    }
    if kernel.noise != 0.0 {
        let key = [SEED, lane(INPUT_NOISE, kernel.stream)];
        for (i, v) in expected.iter_mut().enumerate() {
            *v += f64::from(kernel.noise) * normal(key, iteration, i);
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0xee);
    let data: Vec<u32> =
        bytes.chunks(4).map(|four| u32::from_le_bytes(four.try_into().expect("four bytes"))).collect();
    let mut shards = data.chunks(kernel.shard_words).map(|shard| Some(shard.to_vec()));
    let counters = vec![SEED, iteration, 0, 0];
    let first = shards.next().expect("a shard");
    let mut initial = vec![first, Some(indices), Some(counters), None];
    initial.extend(shards);
    // One wrong byte of an image of 10,000 would show.
    check(kernel, &initial, &[Expect::Close(expected, 1e-12)]);
}

fn plain(batch: usize, [h, w, c]: [usize; 3], images: usize) -> BatchGather {
    BatchGather {
        batch,
        h,
        w,
        c,
        images,
        pad: 0,
        flip: false,
        noise: 0.0,
        stream: 0,
        shard_words: BatchGather::SHARD_WORDS,
    }
}

fn plain_batches() {
    for (batch, shape, images) in
        [(1, [1, 1, 1], 1), (9, [1, 1, 1], 5), (3, [5, 7, 3], 4), (16, [32, 32, 3], 20), (5, [28, 28, 1], 7)]
    {
        compare(plain(batch, shape, images), 1);
    }
}

fn crops_flips_and_noise() {
    for (stream, shape) in [(0, [5, 7, 3]), (1, [32, 32, 3]), (2, [9, 9, 1])] {
        let base = BatchGather { stream, ..plain(17, shape, 11) };
        for pad in [0, 1, 4] {
            for flip in [false, true] {
                for noise in [0.0, 0.03, 1.0] {
                    compare(BatchGather { pad, flip, noise, ..base }, 5);
                }
            }
        }
    }
}

fn data_in_shards() {
    // 30 images of 27 bytes: shard borders cut images, and words.
    let base = BatchGather { shard_words: 128, pad: 1, flip: true, ..plain(64, [3, 3, 3], 30) };
    compare(base, 1);
    compare(BatchGather { shard_words: 64, images: 20, ..base }, 2);
    compare(BatchGather { shard_words: 64, images: 28, noise: 0.1, ..base }, 3);
}

fn shards_are_parts_of_one_buffer() {
    let kernel = BatchGather { shard_words: 128, ..plain(4, [3, 3, 3], 40) };
    assert_eq!(kernel.data_words(), 270);
    assert_eq!(kernel.data_parts(), [(0, 128), (128, 128), (256, 14)]);
}

/// Every crop equally often, flips half of the time, and independently of each other.
fn crops_and_flips_are_uniform() {
    let (places, n) = (9, 81_000u32);
    let mut counts = vec![0.0f64; places * places * 2];
    for slot in 0..n {
        let [a, b] = threefry2x32([SEED, lane(AUGMENT, 0)], [slot / 64, slot % 64]).map(|v| v as usize);
        counts[((a >> 1) % places * places + b % places) * 2 + a % 2] += 1.0;
    }
    let expected = f64::from(n) / counts.len() as f64;
    let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    let freedom = counts.len() as f64 - 1.0;
    assert!((chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "χ² {chi}");
}

proptest! {
    #![proptest_config(super::harness::cases(12))]
    fn any_shape(
        batch in 1usize..20,
        (h, w, c) in (2usize..12, 2usize..12, 1usize..5),
        images in 1usize..20,
        pad in 0usize..2,
        flip: bool,
        stream in 0u32..4,
    ) {
        let noise = if stream == 0 { 0.0 } else { 0.05 };
        compare(BatchGather { pad, flip, stream, noise, ..plain(batch, [h, w, c], images) }, 9);
    }
}
