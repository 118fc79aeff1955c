//! Random words by a counter: the shader's Threefry as a kernel of its own, checked against the published known-answer
//! vectors on every device.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::random::threefry2x32;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// Words 2i and 2i + 1 are `threefry2x32(key, [counter[0], counter[1] + i])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomBits {
    /// Words.
    pub n: usize,
    /// Seed and stream.
    pub key: [u32; 2],
    /// Step and first element; the element wraps.
    pub counter: [u32; 2],
}

impl RandomBits {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 1000, key: [1, 2], counter: [3, 4] }]
    }
}

impl Kernel for RandomBits {
    fn name(&self) -> &'static str {
        "random_bits"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("bits", 1, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("random_bits")
    }

    fn uniforms(&self) -> Vec<u32> {
        let Self { n, key, counter } = *self;
        vec![key[0], key[1], counter[0], counter[1], n as u32, 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(2).div_ceil(256))
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [bits] = arguments else { unreachable!("random_bits binds bits") };
        bits.u32_mut().par_chunks_mut(2).enumerate().with_min_len(4096).for_each(|(i, pair)| {
            let counter = [self.counter[0], self.counter[1].wrapping_add(i as u32)];
            pair.copy_from_slice(&threefry2x32(self.key, counter)[..pair.len()]);
        });
    }
}
