//! A copy in f16.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::CHUNK;
use crate::compute::half::in_f32;
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y = x`, rounded to the nearest f16, two to a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Narrow {
    /// Elements: an even number.
    pub n: usize,
}

impl Narrow {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 1000 }]
    }
}

impl Kernel for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn bindings(&self) -> Vec<Binding> {
        assert!(self.n.is_multiple_of(2), "{self:?}: f16 lie two to a word");
        let y = binding("y", 2, Access::Write, self.n).stored(Storage::F16);
        vec![binding("x", 1, Access::Read, self.n), y]
    }

    fn shader(&self) -> Shader {
        Shader::new("narrow")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32 / 2, 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n / 2)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            let [x, y] = arguments else { unreachable!("narrow binds x and y") };
            let (x, y) = (x.f32(), y.f32_mut());
            y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| y.copy_from_slice(x));
        });
    }
}
