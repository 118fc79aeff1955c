//! `batch_gather` of 32x32 images: as they are, and augmented.

use super::timing::Bench;
use jem::kernels::batch_gather::BatchGather;

/// Times it.
pub fn run(bench: &mut Bench) {
    let kernel = BatchGather {
        batch: bench.batch,
        h: 32,
        w: 32,
        c: 3,
        images: 10_000.max(bench.batch),
        pad: 0,
        flip: false,
        noise: 0.0,
        stream: 0,
        shard_words: BatchGather::SHARD_WORDS,
    };
    bench.time("as they are", kernel);
    bench.time("crop, flip, noise", BatchGather { pad: 4, flip: true, noise: 0.03, ..kernel });
}
