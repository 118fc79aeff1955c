//! The gradient of [`super::average_pool`] with respect to its input.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [n, h, w, c]`: each window of `size` x `size` filled with `gradient [n, h/size, w/size, c] / size²`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AveragePoolGradient {
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

impl AveragePoolGradient {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 2, h: 6, w: 4, c: 5, size: 2 }]
    }

    fn pooled_len(&self) -> usize {
        self.n * self.h * self.w * self.c / (self.size * self.size)
    }
}

impl Kernel for AveragePoolGradient {
    fn name(&self) -> &'static str {
        "average_pool_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.n * self.h * self.w * self.c;
        vec![binding("gradient", 1, Access::Read, self.pooled_len()), binding("y", 2, Access::Write, n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("average_pool_gradient")
    }

    fn uniforms(&self) -> Vec<u32> {
        let scale = 1.0 / (self.size * self.size) as f32;
        let n = self.n * self.h * self.w * self.c;
        vec![n as u32, self.w as u32, self.c as u32, self.size as u32, scale.to_bits(), 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n * self.h * self.w * self.c)
    }

    fn flops(&self) -> u64 {
        (self.n * self.h * self.w * self.c) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [gradient, y] = arguments else { unreachable!("average_pool_gradient binds gradient and y") };
        let (w, c, size) = (self.w, self.c, self.size);
        let scale = 1.0 / (size * size) as f32;
        let bands = y.f32_mut().par_chunks_exact_mut(size * w * c).with_min_len(items_per_task(size * w * c));
        bands.zip(gradient.f32().par_chunks_exact(w / size * c)).for_each(|(band, gradient)| {
            for row in band.chunks_exact_mut(w * c) {
                for (window, gradient) in row.chunks_exact_mut(size * c).zip(gradient.chunks_exact(c)) {
                    for pixel in window.chunks_exact_mut(c) {
                        pixel.iter_mut().zip(gradient).for_each(|(y, g)| *y = g * scale);
                    }
                }
            }
        });
    }
}
