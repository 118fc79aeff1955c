//! Softmax and log-softmax along the last axis.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// `y [rows, cols] = exp(x) / Σ exp(x)` along each row, or its logarithm, computed from `x - max`.
/// A row of -inf alone, or with NaN, gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    /// Rows.
    pub rows: usize,
    /// Columns, normalised.
    pub cols: usize,
    /// Writes the logarithm `x - ln Σ exp(x)`.
    pub log: bool,
}

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.rows * self.cols;
        vec![binding("x", 1, Access::Read, n), binding("y", 2, Access::Write, n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("softmax", include_str!("../../shaders/softmax.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        5 * (self.rows * self.cols) as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
