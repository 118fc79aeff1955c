//! The gradient of [`super::average_pool`] with respect to its input.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// `y [n, h, w, c]`: each window of `size` x `size` filled with `gradient [n, h/size, w/size, c] / size²`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AveragePoolGradient {
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

impl Kernel for AveragePoolGradient {
    fn name(&self) -> &'static str {
        "average_pool_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.n * self.h * self.w * self.c;
        vec![
            binding("gradient", 1, Access::Read, n / (self.size * self.size)),
            binding("y", 2, Access::Write, n),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("average_pool_gradient", include_str!("../../shaders/average_pool_gradient.wgsl"))
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
