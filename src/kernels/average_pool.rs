//! Average pooling over square windows that do not overlap.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [n, h/size, w/size, c]`: the means of `x [n, h, w, c]` over windows of `size` x `size`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AveragePool {
    /// Images.
    pub n: usize,
    /// Rows of the unpooled images; a multiple of `size`.
    pub h: usize,
    /// Columns of the unpooled images; a multiple of `size`.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Edge of the square window, and the step between windows.
    pub size: usize,
}

impl AveragePool {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 2, h: 6, w: 4, c: 5, size: 2 }]
    }

    fn pooled_len(&self) -> usize {
        self.n * self.h * self.w * self.c / (self.size * self.size)
    }
}

impl Kernel for AveragePool {
    fn name(&self) -> &'static str {
        "average_pool"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.n * self.h * self.w * self.c;
        vec![binding("x", 1, Access::Read, n), binding("y", 2, Access::Write, self.pooled_len())]
    }

    fn shader(&self) -> Shader {
        Shader::new("average_pool")
    }

    fn uniforms(&self) -> Vec<u32> {
        let scale = 1.0 / (self.size * self.size) as f32;
        vec![
            self.pooled_len() as u32,
            self.w as u32,
            self.c as u32,
            self.size as u32,
            scale.to_bits(),
            0,
            0,
            0,
        ]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.pooled_len())
    }

    fn flops(&self) -> u64 {
        (self.n * self.h * self.w * self.c) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("average_pool binds x and y") };
        let (w, c, size) = (self.w, self.c, self.size);
        let scale = 1.0 / (size * size) as f32;
        // One row of windows at a time: `size` rows of the input, as n h is a multiple of it.
        let bands = x.f32().par_chunks_exact(size * w * c).with_min_len(items_per_task(size * w * c));
        bands.zip(y.f32_mut().par_chunks_exact_mut(w / size * c)).for_each(|(band, y)| {
            y.fill(0.0);
            for row in band.chunks_exact(w * c) {
                for (y, window) in y.chunks_exact_mut(c).zip(row.chunks_exact(size * c)) {
                    for pixel in window.chunks_exact(c) {
                        y.iter_mut().zip(pixel).for_each(|(y, x)| *y += x);
                    }
                }
            }
            y.iter_mut().for_each(|y| *y *= scale);
        });
    }
}
