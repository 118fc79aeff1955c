//! One element of every row: the logit of the label.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// `y [rows] = x [rows, cols]` at column `labels [rows]` (u32). A label outside the columns gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatherLabels {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Kernel for GatherLabels {
    fn name(&self) -> &'static str {
        "gather_labels"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.rows * self.cols),
            binding("labels", 2, Access::Read, self.rows),
            binding("y", 3, Access::Write, self.rows),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("gather_labels", include_str!("../../shaders/gather_labels.wgsl"))
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
