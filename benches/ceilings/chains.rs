//! The probe of arithmetic: chains of multiply-adds in registers, next to no memory.

use super::{Probe, chains_cpu};
use jem::compute::Argument;
use jem::compute::Shader;
use jem::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// Steps of every chain. With a factor of 1 and integers, every value stays below 2048, where f16 is exact: the
/// results are known to the last bit, whether a step is rounded once or twice.
const STEPS: usize = 1024;
/// The kernel is given them when it runs, so that nothing can be simplified.
const FACTOR: f32 = 1.0;
const ADDEND: f32 = 1.0;

/// `y[i]`: the sum of the last values of thread i's chains.
#[derive(Debug, Clone, Copy)]
pub struct FmaChains {
    /// Threads, a multiple of 256.
    pub n: usize,
    /// vec4s of chains of a thread: one of [`FmaChains::VECTORS`].
    pub vectors: usize,
    /// `fma` instead of a product and a sum, which a compiler may fuse or not.
    pub fused: bool,
    /// In f16.
    pub f16: bool,
}

impl FmaChains {
    /// The numbers of vec4s that there are.
    pub const VECTORS: [usize; 4] = [2, 3, 4, 8];
}

impl Probe for FmaChains {
    fn n(&self) -> usize {
        self.n
    }

    fn with_n(self, n: usize) -> Self {
        Self { n, ..self }
    }

    fn expected(&self) -> Vec<f32> {
        let chains = 4 * self.vectors;
        let last = |i: usize| chains * (i % 16 + STEPS) + chains * (chains - 1) / 2;
        (0..self.n).map(|i| last(i) as f32).collect()
    }
}

impl Kernel for FmaChains {
    fn name(&self) -> &'static str {
        "chains"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        Shader::with_text("chains", include_str!("chains.wgsl"))
            .with_switch("F16", self.f16)
            .with_switch("FUSED", self.fused)
            .with_switch("V3", self.vectors >= 3)
            .with_switch("V4", self.vectors >= 4)
            .with_switch("V8", self.vectors >= 8)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, STEPS as u32, FACTOR.to_bits(), ADDEND.to_bits()]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }

    fn flops(&self) -> u64 {
        (self.n * STEPS * 4 * self.vectors * 2) as u64
    }

    /// Computes in f32 throughout: the host has no f16.
    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [y] = arguments else { unreachable!("chains binds y") };
        let [steps, factor, addend] = std::hint::black_box([STEPS as f32, FACTOR, ADDEND]);
        let chains = chains_cpu::widest(self.vectors);
        y.f32_mut().par_chunks_mut(16).for_each(|y| chains(steps as usize, factor, addend, y));
    }
}
