//! Adam (Kingma & Ba, ICLR 2015) over one flat parameter buffer.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// Words of an optimizer's control buffer: learning rate, 1/(1 - beta1^t), 1/(1 - beta2^t), the moving average's rate.
pub const CONTROL: usize = 4;

/// `g = clip · gradient + weight_decay · p; m = β1 m + (1 - β1) g; v = β2 v + (1 - β2) g²;`
/// `p -= learning_rate · m̂ / (√v̂ + ε)`, with m̂ = m / (1 - β1^t) and v̂ = v / (1 - β2^t): PyTorch's `Adam`.
/// With `decoupled` the decay is `p -= learning_rate · weight_decay · p` in front of it instead: `AdamW` (Loshchilov &
/// Hutter, ICLR 2019).
///
/// Bindings: parameters 1, gradient 2, first 3 (m), second 4 (v), control 5 ([`CONTROL`] words) and, with
/// `clip`, norm 6: the square of the global gradient norm, one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Parameters of this dispatch; the caller cuts a buffer that exceeds a binding.
    pub n: usize,
    /// Decay of the first moment; f64, for 1 - beta would lose digits in f32.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to √v̂.
    pub epsilon: f32,
    /// L2: its product with the parameters is added to the gradient, unless decoupled from it.
    pub weight_decay: f32,
    /// Decays the parameters themselves.
    pub decoupled: bool,
    /// The largest global gradient norm: a larger gradient is scaled down to it, as PyTorch's
    /// `clip_grad_norm_` does.
    pub clip: Option<f32>,
}

impl Adam {
    /// With and without clipping; with both kinds of decay.
    pub fn permutations() -> Vec<Self> {
        let plain = Self {
            n: 1000,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            clip: None,
        };
        let clipped = Self { weight_decay: 5e-4, clip: Some(1.0), ..plain };
        vec![plain, clipped, Self { decoupled: true, ..clipped }]
    }
}

/// PyTorch's `clip_grad_norm_`: min(1, limit / (norm + 1e-6)), NaN for a NaN norm.
pub(super) fn clip_scale(limit: f32, squared_norm: f32) -> f32 {
    let scale = limit / (squared_norm.sqrt() + 1e-6);
    if scale > 1.0 { 1.0 } else { scale }
}

impl Kernel for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            binding("parameters", 1, Access::Update, self.n),
            binding("gradient", 2, Access::Read, self.n),
            binding("first", 3, Access::Update, self.n),
            binding("second", 4, Access::Update, self.n),
            binding("control", 5, Access::Read, CONTROL),
        ];
        bindings.extend(self.clip.map(|_| binding("norm", 6, Access::Read, 1)));
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("adam").with_switch("CLIP", self.clip.is_some()).with_switch("DECOUPLED", self.decoupled)
    }

    fn uniforms(&self) -> Vec<u32> {
        let (a, b) = (self.beta1, self.beta2);
        let betas = [a as f32, (1.0 - a) as f32, b as f32, (1.0 - b) as f32];
        let rest = [self.epsilon, self.weight_decay, self.clip.unwrap_or(0.0)];
        std::iter::once(self.n as u32).chain(betas.into_iter().chain(rest).map(f32::to_bits)).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(256))
    }

    fn flops(&self) -> u64 {
        14 * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [parameters, gradient, first, second, control, norm @ ..] = arguments else {
            unreachable!("adam binds five or six")
        };
        let clip = self.clip.map_or(1.0, |limit| clip_scale(limit, norm[0].f32()[0]));
        let &[rate, first_correction, second_correction, _] = control.f32() else {
            unreachable!("four words of control")
        };
        let [beta1, rest1] = [self.beta1 as f32, (1.0 - self.beta1) as f32];
        let [beta2, rest2] = [self.beta2 as f32, (1.0 - self.beta2) as f32];
        parameters
            .f32_mut()
            .par_iter_mut()
            .zip(gradient.f32())
            .zip(first.f32_mut())
            .zip(second.f32_mut())
            .with_min_len(16 * 1024)
            .for_each(|(((p, &gradient), m), v)| {
                let mut g = clip * gradient;
                match self.decoupled {
                    true => *p -= rate * self.weight_decay * *p,
                    false => g += self.weight_decay * *p,
                }
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                *p -= rate * (first_correction * *m) / ((second_correction * *v).sqrt() + self.epsilon);
            });
    }
}
