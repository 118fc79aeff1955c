//! One element of every row: the logit of the label.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::CHUNK;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y [rows] = x [rows, cols]` at column `labels [rows]` (u32). A label outside the columns gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatherLabels {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl GatherLabels {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { rows: 70, cols: 10 }]
    }
}

impl Kernel for GatherLabels {
    fn name(&self) -> &'static str {
        "gather_labels"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.rows * self.cols).moving(self.rows),
            binding("labels", 2, Access::Read, self.rows),
            binding("y", 3, Access::Write, self.rows),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("gather_labels")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.rows as u32, self.cols as u32, f32::NAN.to_bits(), 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, labels, y] = arguments else { unreachable!("gather_labels binds x, labels and y") };
        let rows = x.f32().par_chunks_exact(self.cols).zip(labels.u32()).with_min_len(CHUNK);
        rows.zip(y.f32_mut()).for_each(|((x, &label), y)| {
            *y = x.get(label as usize).copied().unwrap_or(f32::NAN);
        });
    }
}
