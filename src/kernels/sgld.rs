//! The update of stochastic gradient Langevin dynamics (Welling & Teh, ICML 2011), as JEM uses it.

use super::tick::{COUNTERS, SEED, SGLD_STEP};
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::limited;
use crate::compute::random::{normal_pair, stream, threefry2x32};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `x += step * clamp(gradient, ±c) + noise * N(0, 1)`, then `x` clamped to a range.
///
/// The normal numbers of elements 2i and 2i + 1 come from key (seed, [`stream::SGLD_NOISE`]) and counter
/// (SGLD step, i). A NaN gradient makes a NaN. Where `moving` is bound, elements at which it is 0 stay as
/// they are (inpainting: the known pixels).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgld {
    /// Elements.
    pub n: usize,
    /// Factor of the gradient (of log p(x), which the chain ascends).
    pub step: f32,
    /// Standard deviation of the noise; with 0 nothing is drawn.
    pub noise: f32,
    /// Largest absolute value of a gradient's element.
    pub clamp_gradient: Option<f32>,
    /// The range of `x`.
    pub clamp_x: Option<(f32, f32)>,
    /// Moves only where `moving` (one float an element) is not 0.
    pub masked: bool,
}

impl Sgld {
    /// With and without noise, clamps and mask.
    pub fn permutations() -> Vec<Self> {
        let plain =
            Self { n: 1000, step: 1.0, noise: 0.01, clamp_gradient: None, clamp_x: None, masked: false };
        let clamped = Self { clamp_gradient: Some(1.0), clamp_x: Some((-1.0, 1.0)), ..plain };
        vec![plain, clamped, Self { noise: 0.0, ..clamped }, Self { masked: true, ..clamped }]
    }

    /// The update with noise, both clamps and mask.
    pub(super) fn everything() -> Self {
        Self::permutations().pop().expect("the last one")
    }

    /// Sets the constant and switches of `shaders/common/sgld_update.wgsl`.
    pub(super) fn switches(&self, shader: Shader) -> Shader {
        shader
            .with_u32("STREAM", stream::SGLD_NOISE)
            .with_switch("NOISE", self.noise != 0.0)
            .with_switch("CLAMP_GRADIENT", self.clamp_gradient.is_some())
            .with_switch("CLAMP_X", self.clamp_x.is_some())
            .with_switch("MOVING", self.masked)
    }

    /// Its words of a uniform block: step, noise, limit, low, high.
    pub(super) fn settings(&self) -> [u32; 5] {
        let (limit, (low, high)) = self.limits();
        [self.step, self.noise, limit, low, high].map(f32::to_bits)
    }

    fn limits(&self) -> (f32, (f32, f32)) {
        let unlimited = (f32::NEG_INFINITY, f32::INFINITY);
        (self.clamp_gradient.unwrap_or(f32::INFINITY), self.clamp_x.unwrap_or(unlimited))
    }
}

impl Kernel for Sgld {
    fn name(&self) -> &'static str {
        "sgld"
    }

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            binding("x", 1, Access::Update, self.n),
            binding("gradient", 2, Access::Read, self.n),
            binding("counters", 3, Access::Read, COUNTERS),
        ];
        bindings.extend(self.masked.then(|| binding("moving", 4, Access::Read, self.n)));
        bindings
    }

    fn shader(&self) -> Shader {
        self.switches(Shader::new("sgld"))
    }

    fn uniforms(&self) -> Vec<u32> {
        std::iter::once(self.n as u32).chain(self.settings()).chain([0, 0]).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n.div_ceil(2).div_ceil(256))
    }

    fn flops(&self) -> u64 {
        4 * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, gradient, counters, moving @ ..] = arguments else {
            unreachable!("sgld binds three or four")
        };
        let moving = moving.first().map(|moving| moving.f32());
        let moves = |element: usize| moving.is_none_or(|moving| moving[element] != 0.0);
        let (x, gradient, counters) = (x.f32_mut(), gradient.f32(), counters.u32());
        let (limit, (low, high)) = self.limits();
        let key = [counters[SEED], stream::SGLD_NOISE];
        let update = |x: f32, gradient: f32, normal: f32| {
            let drift = self.step * limited(gradient, -limit, limit);
            limited(x + drift + self.noise * normal, low, high)
        };
        x.par_chunks_mut(2).zip(gradient.par_chunks(2)).enumerate().with_min_len(2048).for_each(
            |(i, (x, gradient))| {
                let normals = if self.noise == 0.0 {
                    [0.0; 2]
                } else {
                    normal_pair(threefry2x32(key, [counters[SGLD_STEP], i as u32]))
                };
                for (lane, ((x, &gradient), normal)) in x.iter_mut().zip(gradient).zip(normals).enumerate() {
                    if moves(2 * i + lane) {
                        *x = update(*x, gradient, normal);
                    }
                }
            },
        );
    }
}
