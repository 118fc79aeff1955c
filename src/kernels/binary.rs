//! `y = a op b`, element by element, with broadcasting by strides.

use super::{Access, Binding, Kernel, binding, grid, shader::Shader, strides};
use crate::device::cpu::Argument;

/// A function of two real numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
}

/// [`BinaryOp`] over two tensors of up to four axes; the output is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary {
    /// The function.
    pub op: BinaryOp,
    /// The output's shape; leading axes are padded with 1.
    pub shape: [usize; 4],
    /// Elements between neighbours of `a` along each axis; 0 repeats it.
    pub a_strides: [usize; 4],
    /// Elements between neighbours of `b` along each axis; 0 repeats it.
    pub b_strides: [usize; 4],
}

/// Elements of one workgroup.
const WORKGROUP: usize = 256;

impl Binary {
    fn n(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Kernel for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("a", 1, Access::Read, strides::words(self.shape, self.a_strides)),
            binding("b", 2, Access::Read, strides::words(self.shape, self.b_strides)),
            binding("y", 3, Access::Write, self.n()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("binary", include_str!("../../shaders/binary.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n().div_ceil(WORKGROUP))
    }

    fn flops(&self) -> u64 {
        self.n() as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
