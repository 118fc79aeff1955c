//! The gradient of a leaky ReLU, from its input or from the one-bit mask of its input.

use super::{Access, Binding, Kernel, binding, mask::mask_words, shader::Shader};
use crate::device::cpu::Argument;

/// `y = gradient` where the input was greater than 0, `slope gradient` elsewhere, over `[pixels, channels]`.
/// Binding 2 is `x` (f32), or `mask` (layout: [`super::mask`]) if `packed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakyReluGradient {
    /// Product of all axes but the last.
    pub pixels: usize,
    /// The last axis.
    pub channels: usize,
    /// Slope of the negative side.
    pub slope: f32,
    /// The sign comes from the packed mask.
    pub packed: bool,
}

impl Kernel for LeakyReluGradient {
    fn name(&self) -> &'static str {
        "leaky_relu_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.pixels * self.channels;
        let sign = if self.packed {
            binding("mask", 2, Access::Read, mask_words(self.pixels, self.channels))
        } else {
            binding("x", 2, Access::Read, n)
        };
        vec![binding("gradient", 1, Access::Read, n), sign, binding("y", 3, Access::Write, n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("leaky_relu_gradient", include_str!("../../shaders/leaky_relu_gradient.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        (self.pixels * self.channels) as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
