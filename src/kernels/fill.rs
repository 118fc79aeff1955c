//! `y = value`, everywhere.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::CHUNK;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// Sets `n` words to one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Elements.
    pub n: usize,
    /// The number.
    pub value: f32,
}

impl Fill {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 1000, value: 0.5 }]
    }
}

impl Kernel for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("fill")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, self.value.to_bits(), 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [y] = arguments else { unreachable!("fill binds y") };
        y.f32_mut().par_chunks_mut(CHUNK).for_each(|y| y.fill(self.value));
    }
}
