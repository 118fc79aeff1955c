//! Fills a buffer with uniform random numbers, such as the first contents of the replay buffer.

use super::tick::{COUNTERS, ITERATION, SEED};
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::random::{stream, threefry2x32, uniform};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `out` uniform in [low, high): elements 2i and 2i + 1 come from key (seed, stream) and counter
/// (iteration, i).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UniformFill {
    /// Elements.
    pub n: usize,
    /// The smallest number.
    pub low: f32,
    /// The upper bound, which is excluded.
    pub high: f32,
    /// The key's stream ([`stream`], [`crate::compute::random::lane`]).
    pub stream: u32,
}

impl UniformFill {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 1000, low: -1.0, high: 1.0, stream: stream::REPLAY_FILL }]
    }
}

impl Kernel for UniformFill {
    fn name(&self) -> &'static str {
        "uniform_fill"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("counters", 1, Access::Read, COUNTERS), binding("out", 2, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("uniform_fill")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, self.low.to_bits(), (self.high - self.low).to_bits(), self.stream]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(2).div_ceil(256))
    }

    fn flops(&self) -> u64 {
        2 * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [counters, out] = arguments else { unreachable!("uniform_fill binds counters and out") };
        let counters = counters.u32();
        let range = self.high - self.low;
        out.f32_mut().par_chunks_mut(2).enumerate().with_min_len(4096).for_each(|(i, pair)| {
            let words = threefry2x32([counters[SEED], self.stream], [counters[ITERATION], i as u32]);
            pair.iter_mut().zip(words).for_each(|(out, word)| *out = self.low + range * uniform(word));
        });
    }
}
