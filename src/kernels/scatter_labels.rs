//! The gradient of [`super::gather_labels`]: one element of every row, zeros beside it.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [rows, cols] = x [rows]` at column `labels [rows]` (u32), 0 elsewhere. A label outside the columns
/// gives a row of zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScatterLabels {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl ScatterLabels {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { rows: 70, cols: 10 }]
    }
}

impl Kernel for ScatterLabels {
    fn name(&self) -> &'static str {
        "scatter_labels"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.rows),
            binding("labels", 2, Access::Read, self.rows),
            binding("y", 3, Access::Write, self.rows * self.cols),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("scatter_labels")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![(self.rows * self.cols) as u32, self.cols as u32, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, labels, y] = arguments else { unreachable!("scatter_labels binds x, labels and y") };
        let rows = y.f32_mut().par_chunks_exact_mut(self.cols).with_min_len(items_per_task(self.cols));
        rows.zip(labels.u32()).zip(x.f32()).for_each(|((y, &label), &x)| {
            y.fill(0.0);
            if let Some(y) = y.get_mut(label as usize) {
                *y = x;
            }
        });
    }
}
