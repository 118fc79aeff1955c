//! Stochastic gradient descent with momentum over one flat parameter buffer.

use super::adam::{CONTROL, clip_scale};
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `g = clip · gradient + weight_decay · p; v = momentum · v + g;`
/// `p -= learning_rate · (nesterov ? g + momentum · v : v)`: PyTorch's `SGD`, without dampening.
///
/// Bindings: parameters 1, gradient 2, velocity 3 (v, zeros at first), control 4 ([`CONTROL`] words, the
/// first being the learning rate) and, with `clip`, norm 5: the square of the global gradient norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Momentum {
    /// Parameters of this dispatch; the caller cuts a buffer that exceeds a binding.
    pub n: usize,
    /// Decay of the velocity.
    pub momentum: f32,
    /// Looks ahead (Nesterov's momentum).
    pub nesterov: bool,
    /// L2: its product with the parameters is added to the gradient.
    pub weight_decay: f32,
    /// The largest global gradient norm, as in [`super::adam::Adam`].
    pub clip: Option<f32>,
}

impl Momentum {
    /// Both kinds of momentum, with and without clipping.
    pub fn permutations() -> Vec<Self> {
        let plain = Self { n: 1000, momentum: 0.9, nesterov: false, weight_decay: 5e-4, clip: None };
        vec![plain, Self { nesterov: true, clip: Some(1.0), ..plain }]
    }
}

impl Kernel for Momentum {
    fn name(&self) -> &'static str {
        "momentum"
    }

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            binding("parameters", 1, Access::Update, self.n),
            binding("gradient", 2, Access::Read, self.n),
            binding("velocity", 3, Access::Update, self.n),
            binding("control", 4, Access::Read, CONTROL),
        ];
        bindings.extend(self.clip.map(|_| binding("norm", 5, Access::Read, 1)));
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("momentum")
            .with_switch("CLIP", self.clip.is_some())
            .with_switch("NESTEROV", self.nesterov)
    }

    fn uniforms(&self) -> Vec<u32> {
        let floats = [self.momentum, self.weight_decay, self.clip.unwrap_or(0.0)];
        std::iter::once(self.n as u32).chain(floats.map(f32::to_bits)).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(256))
    }

    fn flops(&self) -> u64 {
        8 * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [parameters, gradient, velocity, control, norm @ ..] = arguments else {
            unreachable!("momentum binds four or five")
        };
        let clip = self.clip.map_or(1.0, |limit| clip_scale(limit, norm[0].f32()[0]));
        let rate = control.f32()[0];
        parameters
            .f32_mut()
            .par_iter_mut()
            .zip(gradient.f32())
            .zip(velocity.f32_mut())
            .with_min_len(16 * 1024)
            .for_each(|((p, &gradient), v)| {
                let g = clip * gradient + self.weight_decay * *p;
                *v = self.momentum * *v + g;
                *p -= rate * if self.nesterov { g + self.momentum * *v } else { *v };
            });
    }
}
