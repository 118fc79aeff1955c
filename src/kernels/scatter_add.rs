//! The transpose of [`super::gather_rows`], and so its gradient: sums of rows by their indices.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `y [rows, width]`: for each row, the sum of the rows of `x [count, width]` whose `indices [count]` (u32) name it, in
/// their order. An index that is not a row adds nothing.
///
/// There are no atomics on floats, so on a GPU every row of `y` searches all indices: `count rows` comparisons for each
/// 256 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScatterAdd {
    /// Indices.
    pub count: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

impl ScatterAdd {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { count: 70, rows: 40, width: 33 }]
    }

    /// Workgroups of a row.
    fn blocks(&self) -> usize {
        self.width.div_ceil(256)
    }
}

impl Kernel for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.count * self.width),
            binding("indices", 2, Access::Read, self.count),
            binding("y", 3, Access::Write, self.rows * self.width),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("scatter_add")
    }

    fn uniforms(&self) -> Vec<u32> {
        [self.rows, self.count, self.width, self.blocks()].map(|v| v as u32).to_vec()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.rows * self.blocks())
    }

    fn flops(&self) -> u64 {
        (self.count * self.width) as u64
    }

    fn shader_operations(&self) -> u64 {
        self.flops() + (self.rows * self.blocks() * self.count) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, indices, y] = arguments else { unreachable!("scatter_add binds x, indices and y") };
        let (x, indices, width) = (x.f32(), indices.u32(), self.width);
        // Rows of a task: every task searches all indices once.
        let rows = items_per_task(width);
        y.f32_mut().par_chunks_mut(rows * width).enumerate().for_each(|(task, y)| {
            y.fill(0.0);
            for (&index, x) in indices.iter().zip(x.chunks_exact(width)) {
                let row = (index as usize).checked_sub(task * rows);
                if let Some(y) = row.and_then(|row| y.chunks_exact_mut(width).nth(row)) {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                }
            }
        });
    }
}
