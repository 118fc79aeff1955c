//! Rows of a table: embeddings.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [count, width]`: the rows `indices [count]` (u32) of `x [rows, width]`. An index that is not a row gives a row of
/// NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatherRows {
    /// Indices.
    pub count: usize,
    /// Rows of the table.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

impl GatherRows {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { count: 70, rows: 80, width: 33 }]
    }
}

impl Kernel for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.count * self.width;
        vec![
            binding("x", 1, Access::Read, self.rows * self.width).moving(n),
            binding("indices", 2, Access::Read, self.count),
            binding("y", 3, Access::Write, n),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("gather_rows")
    }

    fn uniforms(&self) -> Vec<u32> {
        let n = self.count * self.width;
        vec![n as u32, self.rows as u32, self.width as u32, f32::NAN.to_bits()]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.count * self.width)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, indices, y] = arguments else { unreachable!("gather_rows binds x, indices and y") };
        let (x, width) = (x.f32(), self.width);
        let rows = y.f32_mut().par_chunks_exact_mut(width).zip(indices.u32());
        rows.with_min_len(items_per_task(width)).for_each(|(y, &index)| match index as usize {
            index if index < self.rows => y.copy_from_slice(&x[index * width..][..width]),
            _ => y.fill(f32::NAN),
        });
    }
}
