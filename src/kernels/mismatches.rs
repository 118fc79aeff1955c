//! Counts the words in which two tensors differ, to see without a read-back whether two runs gave the same bits.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};

/// `counts[t] += #{i ≡ t (mod counters) : a[i] ≠ b[i]}`, with wrapping, over the words of two tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatches {
    /// Words of each tensor.
    pub n: usize,
    /// Counters, each with an invocation of its own.
    pub counters: usize,
}

impl Mismatches {
    /// Compares `n` words with at most 65,536 counters.
    pub fn new(n: usize) -> Self {
        Self { n, counters: n.clamp(1, 1 << 16) }
    }

    /// An instance with several words for each counter, and one with one word for each.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 1000, counters: 300 }, Self::new(700)]
    }
}

impl Kernel for Mismatches {
    fn name(&self) -> &'static str {
        "mismatches"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("a", 1, Access::Read, self.n),
            binding("b", 2, Access::Read, self.n),
            binding("counts", 3, Access::Update, self.counters),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("mismatches")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, self.counters as u32, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.counters)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [a, b, counts] = arguments else { unreachable!("mismatches binds a, b and counts") };
        for (i, (a, b)) in a.u32().iter().zip(b.u32()).enumerate() {
            let count = &mut counts.u32_mut()[i % self.counters];
            *count = count.wrapping_add(u32::from(a != b));
        }
    }
}
