//! `y = x` read through strides: broadcast, transposition, permutation, plain copy.

use super::{Access, Binding, Kernel, binding, shader::Shader, strides};
use crate::device::cpu::Argument;

/// Writes a contiguous tensor of up to four axes from one that is read through strides. Words are copied
/// as they are, so the element type does not matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StridedCopy {
    /// The output's shape; leading axes are padded with 1.
    pub shape: [usize; 4],
    /// Elements between neighbours of `x` along each axis of the output; 0 repeats it.
    pub strides: [usize; 4],
}

impl Kernel for StridedCopy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, strides::words(self.shape, self.strides)),
            binding("y", 2, Access::Write, self.shape.iter().product()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("copy", include_str!("../../shaders/copy.wgsl"))
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
