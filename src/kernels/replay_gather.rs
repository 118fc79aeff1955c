//! Draws a batch of chains from the replay buffer and starts some of them anew (Du & Mordatch, NeurIPS 2019).

use super::tick::{COUNTERS, ITERATION, SEED};
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::random::{stream, threefry2x32, uniform};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `out[b]` is `buffer[indices[b]]`, or, with probability `reinitialise`, a new image: uniform in [-1, 1), or
/// `fresh[b]`.
///
/// The choice for slot b comes from key (seed, [`stream::REPLAY_CHOICE`]), counter (iteration, b); a new
/// image's elements 2i and 2i + 1 of the batch from key (seed, [`stream::REPLAY_INIT`]), counter
/// (iteration, i). Every index must be below `size`.
///
/// Bindings: buffer 1, indices 2, counters 3, out 4 and, with `fresh`, fresh 5 (`[batch, image]`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplayGather {
    /// Images to draw.
    pub batch: usize,
    /// Images in the buffer.
    pub size: usize,
    /// Elements of an image.
    pub image: usize,
    /// The probability that a chain starts anew, 0 to 1.
    pub reinitialise: f32,
    /// Takes new images from the binding `fresh` instead of drawing them.
    pub fresh: bool,
}

impl ReplayGather {
    /// With new images that are drawn, and with new images that are given.
    pub fn permutations() -> Vec<Self> {
        [false, true].map(|fresh| Self { batch: 8, size: 20, image: 75, reinitialise: 0.05, fresh }).to_vec()
    }

    /// Whether slot `slot` of an iteration's batch starts anew: the kernel's decision, for a host that keeps count.
    pub fn begins_anew(seed: u32, iteration: u32, slot: u32, reinitialise: f32) -> bool {
        uniform(threefry2x32([seed, stream::REPLAY_CHOICE], [iteration, slot])[0]) < reinitialise
    }
}

impl Kernel for ReplayGather {
    fn name(&self) -> &'static str {
        "replay_gather"
    }

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            binding("buffer", 1, Access::Read, self.size * self.image).moving(self.batch * self.image),
            binding("indices", 2, Access::Read, self.batch),
            binding("counters", 3, Access::Read, COUNTERS),
            binding("out", 4, Access::Write, self.batch * self.image),
        ];
        if self.fresh {
            let n = self.batch * self.image;
            let moved = (f64::from(self.reinitialise) * n as f64) as usize;
            bindings.push(binding("fresh", 5, Access::Read, n).moving(moved));
        }
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("replay_gather")
            .with_u32("CHOICE", stream::REPLAY_CHOICE)
            .with_u32("INIT", stream::REPLAY_INIT)
            .with_switch("FRESH", self.fresh)
    }

    fn uniforms(&self) -> Vec<u32> {
        let n = self.batch * self.image;
        vec![n as u32, self.image as u32, self.reinitialise.to_bits(), 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.batch * self.image).div_ceil(256))
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [buffer, indices, counters, out, fresh @ ..] = arguments else {
            unreachable!("replay_gather binds four or five")
        };
        let fresh = fresh.first().map(|fresh| fresh.f32());
        let (buffer, counters) = (buffer.f32(), counters.u32());
        let [seed, iteration] = [counters[SEED], counters[ITERATION]];
        let images = out.f32_mut().par_chunks_mut(self.image).zip(indices.u32()).enumerate();
        images.for_each(|(slot, (out, &index))| {
            if !Self::begins_anew(seed, iteration, slot as u32, self.reinitialise) {
                out.copy_from_slice(&buffer[index as usize * self.image..][..self.image]);
                return;
            }
            if let Some(fresh) = fresh {
                out.copy_from_slice(&fresh[slot * self.image..][..self.image]);
                return;
            }
            for (i, out) in out.iter_mut().enumerate() {
                let element = slot * self.image + i;
                let pair = threefry2x32([seed, stream::REPLAY_INIT], [iteration, element as u32 / 2]);
                *out = 2.0 * uniform(pair[element % 2]) - 1.0;
            }
        });
    }
}
