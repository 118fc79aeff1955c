//! An exponential moving average of the parameters (Polyak & Juditsky 1992, in the form of Tarvainen & Valpola 2017).

use super::adam::CONTROL;
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `average += rate · (parameters - average)`, the rate being the last of the [`CONTROL`] words.
///
/// Bindings: parameters 1, average 2, control 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovingAverage {
    /// Parameters of this dispatch; the caller cuts a buffer that exceeds a binding.
    pub n: usize,
}

impl MovingAverage {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { n: 1000 }]
    }

    /// The rate of step `t` (from 1 on) for `decay`: 1 minus the decay, or more in the first steps, so that the average
    /// forgets its initial value: `1 - min(decay, (1 + t) / (10 + t))`, as in TensorFlow.
    pub fn rate(decay: f64, t: u64) -> f32 {
        let t = t as f64;
        (1.0 - decay.min((1.0 + t) / (10.0 + t))) as f32
    }
}

impl Kernel for MovingAverage {
    fn name(&self) -> &'static str {
        "moving_average"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("parameters", 1, Access::Read, self.n),
            binding("average", 2, Access::Update, self.n),
            binding("control", 3, Access::Read, CONTROL),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("moving_average")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(256))
    }

    fn flops(&self) -> u64 {
        3 * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [parameters, average, control] = arguments else { unreachable!("moving_average binds three") };
        let rate = control.f32()[CONTROL - 1];
        let all = average.f32_mut().par_iter_mut().zip(parameters.f32()).with_min_len(16 * 1024);
        all.for_each(|(average, &p)| *average += rate * (p - *average));
    }
}
