//! The largest element of every window, or the element of another tensor at its position.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::pool_geometry::PoolGeometry;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [n, out_h, out_w, c]`: `v [n, h, w, c]` at the element of each window at which `x [n, h, w, c]` is largest, the
/// first of equals; NaN counts as larger than any number. With `v = x` that is the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool {
    /// The windows.
    pub geometry: PoolGeometry,
}

impl MaxPool {
    /// One instance for each of `PoolGeometry::examples`.
    pub fn permutations() -> Vec<Self> {
        PoolGeometry::examples().map(|geometry| Self { geometry }).to_vec()
    }
}

impl Kernel for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.geometry.input_len()),
            binding("v", 2, Access::Read, self.geometry.input_len()).moving(self.geometry.output_len()),
            binding("y", 3, Access::Write, self.geometry.output_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("max_pool")
    }

    fn uniforms(&self) -> Vec<u32> {
        self.geometry.words(self.geometry.output_len())
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.geometry.output_len())
    }

    fn flops(&self) -> u64 {
        (self.geometry.output_len() * self.geometry.size * self.geometry.size) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, v, y] = arguments else { unreachable!("max_pool binds x, v and y") };
        let (x, v, g) = (x.f32(), v.f32(), &self.geometry);
        let (image, row_len) = (g.h * g.w * g.c, g.out_w() * g.c);
        let rows = y.f32_mut().par_chunks_exact_mut(row_len);
        rows.with_min_len(items_per_task(row_len * g.size * g.size)).enumerate().for_each(|(row, y)| {
            let first = row / g.out_h() * image;
            let (x, v) = (&x[first..first + image], &v[first..first + image]);
            for (column, y) in y.chunks_exact_mut(g.c).enumerate() {
                for (channel, y) in y.iter_mut().enumerate() {
                    *y = v[g.largest(x, row % g.out_h(), column, channel)];
                }
            }
        });
    }
}
