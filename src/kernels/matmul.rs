//! `C = op(A) op(B) + bias`, row-major.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// A matrix product: `C [m, n] = op(A) op(B)`, plus `bias [n]` in every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matmul {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// The summed length.
    pub k: usize,
    /// A is stored `[k, m]` instead of `[m, k]`.
    pub transpose_a: bool,
    /// B is stored `[n, k]` instead of `[k, n]`.
    pub transpose_b: bool,
    /// Adds `bias [n]`.
    pub bias: bool,
}

impl Kernel for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            binding("a", 1, Access::Read, self.m * self.k),
            binding("b", 2, Access::Read, self.k * self.n),
        ];
        bindings.extend(self.bias.then(|| binding("bias", 3, Access::Read, self.n)));
        bindings.push(binding("y", 4, Access::Write, self.m * self.n));
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("matmul", include_str!("../../shaders/matmul.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        2 * (self.m * self.n * self.k) as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
