//! The transpose of [`super::max_pool`] in `v`, and so its gradient.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::pool_geometry::PoolGeometry;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [n, h, w, c]`: at each element, the sum of `gradient [n, out_h, out_w, c]` over the windows in which it is the
/// largest of `x [n, h, w, c]`, the first of equals, in the order of the windows.
///
/// On a GPU a thread for each element searches every window that contains it: `size⁴ / stride²` loads of `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPoolGradient {
    /// The windows.
    pub geometry: PoolGeometry,
}

impl MaxPoolGradient {
    /// One instance for each of `PoolGeometry::examples`.
    pub fn permutations() -> Vec<Self> {
        PoolGeometry::examples().map(|geometry| Self { geometry }).to_vec()
    }
}

impl Kernel for MaxPoolGradient {
    fn name(&self) -> &'static str {
        "max_pool_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.geometry.input_len()),
            binding("gradient", 2, Access::Read, self.geometry.output_len()),
            binding("y", 3, Access::Write, self.geometry.input_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("max_pool_gradient")
    }

    fn uniforms(&self) -> Vec<u32> {
        self.geometry.words(self.geometry.input_len())
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.geometry.input_len())
    }

    fn flops(&self) -> u64 {
        // Each window takes size² - 1 comparisons and one addition.
        (self.geometry.output_len() * self.geometry.size * self.geometry.size) as u64
    }

    fn shader_operations(&self) -> u64 {
        // Every pixel of a window searches the whole window.
        self.flops() * (self.geometry.size * self.geometry.size) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, gradient, y] = arguments else { unreachable!("max_pool_gradient binds x, gradient and y") };
        let g = &self.geometry;
        let (image, pooled) = (g.h * g.w * g.c, g.out_h() * g.out_w() * g.c);
        let images = y.f32_mut().par_chunks_exact_mut(image).zip(x.f32().par_chunks_exact(image));
        let images = images.zip(gradient.f32().par_chunks_exact(pooled));
        images.with_min_len(items_per_task(pooled * g.size * g.size)).for_each(|((y, x), gradient)| {
            y.fill(0.0);
            for (window, gradient) in gradient.chunks_exact(g.c).enumerate() {
                for (channel, gradient) in gradient.iter().enumerate() {
                    y[g.largest(x, window / g.out_w(), window % g.out_w(), channel)] += gradient;
                }
            }
        });
    }
}
