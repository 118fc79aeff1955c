//! The gradient of a leaky ReLU, from its input or from the one-bit mask of its input.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::{items_per_task, map2, sloped};
use crate::compute::mask::mask_words;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;
use std::array;

/// `y = gradient` where the input was greater than 0, `slope gradient` elsewhere, over `[pixels, channels]`.
/// Binding 2 is `x` (f32), or `mask` (layout: [`crate::compute::mask`]) if `packed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakyReluGradient {
    /// Product of all axes but the last.
    pub pixels: usize,
    /// The last axis.
    pub channels: usize,
    /// Slope of the negative side.
    pub slope: f32,
    /// The sign comes from the packed mask.
    pub packed: bool,
}

impl LeakyReluGradient {
    /// Both sources of the sign.
    pub fn permutations() -> Vec<Self> {
        [false, true].map(|packed| Self { pixels: 30, channels: 18, slope: 0.2, packed }).to_vec()
    }

    fn by_mask(&self, gradient: &[f32], mask: &[u32], y: &mut [f32]) {
        let slope = self.slope;
        let active = |bits: usize, channel: usize| bits >> channel & 1 == 1;
        let active: [[bool; 4]; 16] = array::from_fn(|bits| array::from_fn(|channel| active(bits, channel)));
        let band = 8 * self.channels;
        let bands = y.par_chunks_mut(band).zip(gradient.par_chunks(band));
        let bands = bands.zip(mask.par_chunks(self.channels.div_ceil(4)));
        bands.with_min_len(items_per_task(band)).for_each(|((y, gradient), words)| {
            let pixels = y.chunks_exact_mut(self.channels).zip(gradient.chunks_exact(self.channels));
            for (pixel, (y, gradient)) in pixels.enumerate() {
                for ((y, gradient), word) in y.chunks_mut(4).zip(gradient.chunks(4)).zip(words) {
                    let active = &active[(word >> (4 * pixel) & 15) as usize];
                    for ((y, &g), &active) in y.iter_mut().zip(gradient).zip(active) {
                        *y = if active { g } else { sloped(g, slope) };
                    }
                }
            }
        });
    }
}

impl Kernel for LeakyReluGradient {
    fn name(&self) -> &'static str {
        "leaky_relu_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.pixels * self.channels;
        let sign = if self.packed {
            binding("mask", 2, Access::Read, mask_words(self.pixels, self.channels))
        } else {
            binding("x", 2, Access::Read, n)
        };
        vec![binding("gradient", 1, Access::Read, n), sign, binding("y", 3, Access::Write, n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("leaky_relu_gradient")
            .with_switch("PACKED", self.packed)
            .with_switch("RELU", self.slope == 0.0)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![(self.pixels * self.channels) as u32, self.channels as u32, self.slope.to_bits(), 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.pixels * self.channels)
    }

    fn flops(&self) -> u64 {
        (self.pixels * self.channels) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [gradient, sign, y] = arguments else { unreachable!("leaky_relu_gradient binds three buffers") };
        let (gradient, y) = (gradient.f32(), y.f32_mut());
        if self.packed {
            self.by_mask(gradient, sign.u32(), y);
        } else {
            map2(gradient, sign.f32(), y, |g, x| if x > 0.0 { g } else { sloped(g, self.slope) });
        }
    }
}
