//! The perturbation of sharpness-aware minimisation (Foret et al., ICLR 2021; adaptive: Kwon et al., ICML 2021).

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `p += radius · s² · gradient / (√norm + 1e-12)`, with s = |p| if `adaptive`, else 1: moves to about the largest loss
/// within `radius` of the parameters. `norm` is the sum over all parameters of (s · gradient)².
///
/// Bindings: parameters 1, gradient 2, norm 3 (one word).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    /// Parameters of this dispatch; the caller cuts a buffer that exceeds a binding.
    pub n: usize,
    /// The radius (ρ).
    pub radius: f32,
    /// Measures the perturbation of each parameter relative to its size.
    pub adaptive: bool,
}

impl Ascent {
    /// With and without `adaptive`.
    pub fn permutations() -> Vec<Self> {
        [false, true].map(|adaptive| Self { n: 1000, radius: 0.05, adaptive }).to_vec()
    }
}

impl Kernel for Ascent {
    fn name(&self) -> &'static str {
        "ascent"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("parameters", 1, Access::Update, self.n),
            binding("gradient", 2, Access::Read, self.n),
            binding("norm", 3, Access::Read, 1),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("ascent").with_switch("ADAPTIVE", self.adaptive)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, self.radius.to_bits(), 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(256))
    }

    fn flops(&self) -> u64 {
        4 * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [parameters, gradient, norm] = arguments else { unreachable!("ascent binds three") };
        let scale = self.radius / (norm.f32()[0].sqrt() + 1e-12);
        let all = parameters.f32_mut().par_iter_mut().zip(gradient.f32()).with_min_len(16 * 1024);
        all.for_each(|(p, &gradient)| {
            let size = if self.adaptive { *p * *p } else { 1.0 };
            *p += size * gradient * scale;
        });
    }
}
