//! The gradient of [`super::gather_labels`]: one element of every row, zeros beside it.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// `y [rows, cols] = x [rows]` at column `labels [rows]` (u32), 0 elsewhere. A label outside the columns
/// gives a row of zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScatterLabels {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
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
        Shader::new("scatter_labels", include_str!("../../shaders/scatter_labels.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
