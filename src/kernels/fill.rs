//! `y = value`, everywhere.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// Sets `n` words to one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Elements.
    pub n: usize,
    /// The number.
    pub value: f32,
}

impl Kernel for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("fill", include_str!("../../shaders/fill.wgsl"))
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
