//! The packed sign mask of a tensor whose producer cannot write it.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::mask::mask_words;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// Packs `x > 0` of `x [pixels, channels]` into a mask (layout: [`crate::compute::mask`]). A NaN counts as not greater.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignMask {
    /// Product of all axes but the last.
    pub pixels: usize,
    /// The last axis.
    pub channels: usize,
}

impl SignMask {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { pixels: 30, channels: 18 }]
    }

    fn words(&self) -> usize {
        mask_words(self.pixels, self.channels)
    }
}

impl Kernel for SignMask {
    fn name(&self) -> &'static str {
        "sign_mask"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.pixels * self.channels),
            binding("mask", 2, Access::Write, self.words()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("sign_mask")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.words() as u32, self.pixels as u32, self.channels as u32, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.words())
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, mask] = arguments else { unreachable!("sign_mask binds x and mask") };
        let band = 8 * self.channels;
        let bands = mask.u32_mut().par_chunks_mut(self.channels.div_ceil(4)).zip(x.f32().par_chunks(band));
        bands.with_min_len(items_per_task(band)).for_each(|(words, x)| {
            words.fill(0);
            for (pixel, x) in x.chunks_exact(self.channels).enumerate() {
                for (word, x) in words.iter_mut().zip(x.chunks(4)) {
                    let bits = x.iter().enumerate().map(|(channel, &x)| u32::from(x > 0.0) << channel);
                    *word |= bits.sum::<u32>() << (4 * pixel);
                }
            }
        });
    }
}
