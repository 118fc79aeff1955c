//! The packed sign mask of a tensor whose producer cannot write it.

use super::{Access, Binding, Kernel, binding, mask::mask_words, shader::Shader};
use crate::device::cpu::Argument;

/// Packs `x > 0` of `x [pixels, channels]` into a mask (layout: [`super::mask`]). A NaN counts as not greater.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignMask {
    /// Product of all axes but the last.
    pub pixels: usize,
    /// The last axis.
    pub channels: usize,
}

impl Kernel for SignMask {
    fn name(&self) -> &'static str {
        "sign_mask"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.pixels * self.channels),
            binding("mask", 2, Access::Write, mask_words(self.pixels, self.channels)),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("sign_mask", include_str!("../../shaders/sign_mask.wgsl"))
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
