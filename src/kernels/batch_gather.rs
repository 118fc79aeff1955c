//! Gathers a training batch from the bytes of a data set on the device, and augments it.

use super::tick::{COUNTERS, ITERATION, SEED};
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::random::{lane, normal_pair, stream, threefry2x32};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// Images `indices[b]` of a data set of NHWC bytes, four in a word, image i from byte `i h w c` on: padded by
/// reflection, cropped at random back to `[h, w]`, flipped at random, scaled to v / 127.5 - 1, plus noise · N(0, 1).
/// With `pad` 0, no `flip` and `noise` 0 this is the plain batch.
///
/// Random numbers: the words of key (seed, lane of [`stream::AUGMENT`]) and counter (iteration, b) give
/// the flip (lowest bit of the first), the crop's row (the first's other bits modulo 2 pad + 1) and its
/// column (the second modulo 2 pad + 1). The noise of elements 2i and 2i + 1 of the batch comes from key
/// (seed, lane of [`stream::INPUT_NOISE`]) and counter (iteration, i).
///
/// Bindings: data 1, indices 2 (`[batch]`, each below `images`), counters 3, out 4 (`[batch, h, w, c]`), and
/// for data beyond [`BatchGather::shard_words`] its second and third shard, `data_1` 5 and `data_2` 6: all
/// parts of one buffer, see [`BatchGather::data_parts`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchGather {
    /// Images of the batch.
    pub batch: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Images of the data set.
    pub images: usize,
    /// Rows and columns added on each side before the crop; less than `h` and `w`.
    pub pad: usize,
    /// Flips left and right with probability 1/2.
    pub flip: bool,
    /// Standard deviation of the noise; with 0 none is drawn.
    pub noise: f32,
    /// The lane of the random streams: a number for each batch of one iteration.
    pub stream: u32,
    /// The largest data binding in words, a multiple of 64: [`BatchGather::SHARD_WORDS`].
    pub shard_words: usize,
}

impl BatchGather {
    /// WebGPU's default binding limit of 128 MiB, in words. CIFAR-10 takes two shards.
    pub const SHARD_WORDS: usize = (128 << 20) / 4;
    /// Data bindings within WebGPU's 8 storage buffers.
    pub const MAX_SHARDS: usize = 3;

    /// Plain and augmented, in one and three shards.
    pub fn permutations() -> Vec<Self> {
        let plain = Self {
            batch: 5,
            h: 7,
            w: 6,
            c: 3,
            images: 9,
            pad: 0,
            flip: false,
            noise: 0.0,
            stream: 0,
            shard_words: Self::SHARD_WORDS,
        };
        let augmented = Self { pad: 2, flip: true, noise: 0.03, ..plain };
        vec![plain, augmented, Self { images: 10, shard_words: 128, ..augmented }]
    }

    /// Elements of an image.
    pub fn image(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Words of the data set.
    pub fn data_words(&self) -> usize {
        (self.images * self.image()).div_ceil(4)
    }

    fn shards(&self) -> usize {
        let shards = self.data_words().div_ceil(self.shard_words);
        assert!(
            shards <= Self::MAX_SHARDS && self.shard_words.is_multiple_of(64),
            "batch_gather: {shards} shards of {} words",
            self.shard_words
        );
        shards
    }

    /// The first word and the words of the data for bindings data, `data_1` and `data_2`, as many as there are.
    pub fn data_parts(&self) -> Vec<(usize, usize)> {
        (0..self.shards()).map(|shard| (shard * self.shard_words, self.words_of(shard))).collect()
    }

    fn words_of(&self, shard: usize) -> usize {
        (self.data_words() - shard * self.shard_words).min(self.shard_words)
    }

    /// The crop's row and column and whether the image is flipped.
    fn augmentation(&self, seed: u32, iteration: u32, slot: usize) -> (usize, usize, bool) {
        if self.pad == 0 && !self.flip {
            return (0, 0, false);
        }
        let key = [seed, lane(stream::AUGMENT, self.stream)];
        let [a, b] = threefry2x32(key, [iteration, slot as u32]).map(|word| word as usize);
        let places = 2 * self.pad + 1;
        ((a >> 1) % places, b % places, self.flip && a & 1 == 1)
    }
}

/// The row or column `v` of an image of size `n` padded by `pad`: reflected without repeating the edge.
fn reflect(v: usize, pad: usize, n: usize) -> usize {
    let inside = v.abs_diff(pad);
    if inside < n { inside } else { 2 * (n - 1) - inside }
}

impl Kernel for BatchGather {
    fn name(&self) -> &'static str {
        "batch_gather"
    }

    fn bindings(&self) -> Vec<Binding> {
        assert!(self.pad < self.h.min(self.w), "batch_gather: pad {} of {}x{}", self.pad, self.h, self.w);
        let mut bindings = vec![
            binding("data", 1, Access::Read, self.words_of(0)).moving(self.batch * self.image() / 4),
            binding("indices", 2, Access::Read, self.batch),
            binding("counters", 3, Access::Read, COUNTERS),
            binding("out", 4, Access::Write, self.batch * self.image()),
        ];
        let names = [("data_1", 5), ("data_2", 6)];
        let more = (1..self.shards()).zip(names);
        // Any shard may hold the batch's bytes; they are counted with the first.
        bindings
            .extend(more.map(|(i, (name, at))| binding(name, at, Access::Read, self.words_of(i)).moving(0)));
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("batch_gather")
            .with_u32("AUGMENT_STREAM", lane(stream::AUGMENT, self.stream))
            .with_u32("NOISE_STREAM", lane(stream::INPUT_NOISE, self.stream))
            .with_u32("SHARD_WORDS", self.shard_words as u32)
            .with_switch("AUGMENT", self.pad > 0 || self.flip)
            .with_switch("FLIP", self.flip)
            .with_switch("NOISE", self.noise != 0.0)
            .with_switch("TWO_SHARDS", self.shards() > 1)
            .with_switch("THREE_SHARDS", self.shards() > 2)
    }

    fn uniforms(&self) -> Vec<u32> {
        let sizes = [self.batch, self.h, self.w, self.c, self.pad].map(|v| v as u32);
        let mut words = sizes.to_vec();
        words.extend([self.noise.to_bits(), 0, 0]);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        let pairs = (self.batch * self.image()).div_ceil(2);
        grid(pairs.div_ceil(256))
    }

    fn flops(&self) -> u64 {
        2 * (self.batch * self.image()) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [data, indices, counters, out, more @ ..] = arguments else {
            unreachable!("batch_gather binds four to six")
        };
        let shards: Vec<&[u8]> =
            std::iter::once(&*data).chain(&*more).map(|shard| bytemuck::cast_slice(shard.u32())).collect();
        let byte = |at: usize| shards[at / (4 * self.shard_words)][at % (4 * self.shard_words)];
        let [seed, iteration] = [counters.u32()[SEED], counters.u32()[ITERATION]];
        let key = [seed, lane(stream::INPUT_NOISE, self.stream)];
        let indices = indices.u32();
        let &Self { h, w, c, pad, noise, .. } = self;
        let image = self.image();
        out.f32_mut().par_chunks_mut(image).zip(indices).enumerate().for_each(|(slot, (out, &index))| {
            let (row, column, flipped) = self.augmentation(seed, iteration, slot);
            for (pixel, out) in out.chunks_mut(c).enumerate() {
                let (y, x) = (pixel / w, pixel % w);
                let x = if flipped { w - 1 - x } else { x };
                let (y, x) = if self.pad == 0 {
                    (y, x)
                } else {
                    (reflect(y + row, pad, h), reflect(x + column, pad, w))
                };
                let first = index as usize * image + (y * w + x) * c;
                for (channel, out) in out.iter_mut().enumerate() {
                    *out = f32::from(byte(first + channel)) * (1.0 / 127.5) - 1.0;
                    if noise != 0.0 {
                        let element = slot * image + pixel * c + channel;
                        let words = threefry2x32(key, [iteration, element as u32 / 2]);
                        *out += noise * normal_pair(words)[element % 2];
                    }
                }
            }
        });
    }
}
