//! Average pooling over square windows that do not overlap.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// `y [n, h/size, w/size, c]`: the means of `x [n, h, w, c]` over windows of `size` x `size`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AveragePool {
    /// Images.
    pub n: usize,
    /// Rows of the unpooled images; a multiple of `size`.
    pub h: usize,
    /// Columns of the unpooled images; a multiple of `size`.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Edge of the square window, and the step between windows.
    pub size: usize,
}

impl Kernel for AveragePool {
    fn name(&self) -> &'static str {
        "average_pool"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.n * self.h * self.w * self.c;
        vec![binding("x", 1, Access::Read, n), binding("y", 2, Access::Write, n / (self.size * self.size))]
    }

    fn shader(&self) -> Shader {
        Shader::new("average_pool", include_str!("../../shaders/average_pool.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        (self.n * self.h * self.w * self.c) as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
