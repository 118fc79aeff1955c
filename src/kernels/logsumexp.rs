//! `y = ln Σ exp(x)` along the last axis: minus the energy of a classifier's logits.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// `y [rows] = ln Σ exp(x [rows, cols])`, computed as `max + ln Σ exp(x - max)`. A row of -inf gives -inf,
/// one with +inf +inf, one with NaN NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogSumExp {
    /// Rows.
    pub rows: usize,
    /// Columns, summed.
    pub cols: usize,
}

impl Kernel for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("x", 1, Access::Read, self.rows * self.cols), binding("y", 2, Access::Write, self.rows)]
    }

    fn shader(&self) -> Shader {
        Shader::new("logsumexp", include_str!("../../shaders/logsumexp.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        4 * (self.rows * self.cols) as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
