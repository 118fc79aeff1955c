//! Puts a batch of chains back into the replay buffer.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, grid};

/// The index of an image that is not put back.
pub const DISCARDED: u32 = u32::MAX;

/// `buffer[indices[b]] = x[b]`, or nothing where the index is [`DISCARDED`]. The other indices are distinct and below
/// `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayScatter {
    /// Images to put back.
    pub batch: usize,
    /// Images in the buffer.
    pub size: usize,
    /// Elements of an image.
    pub image: usize,
}

impl ReplayScatter {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { batch: 8, size: 20, image: 75 }]
    }
}

impl Kernel for ReplayScatter {
    fn name(&self) -> &'static str {
        "replay_scatter"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.batch * self.image),
            binding("indices", 2, Access::Read, self.batch),
            binding("buffer", 3, Access::Update, self.size * self.image).moving(self.batch * self.image),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("replay_scatter")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![(self.batch * self.image) as u32, self.image as u32, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.batch * self.image).div_ceil(256))
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, indices, buffer] = arguments else { unreachable!("replay_scatter binds three") };
        let buffer = buffer.f32_mut();
        // A plain copy of a few MB: memory-bound on one core already.
        let images = x.f32().chunks(self.image).zip(indices.u32());
        for (x, &index) in images.filter(|(_, index)| **index != DISCARDED) {
            buffer[index as usize * self.image..][..self.image].copy_from_slice(x);
        }
    }
}
