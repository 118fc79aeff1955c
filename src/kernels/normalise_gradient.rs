//! The gradient of a normalisation at its input, through the statistics too.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::half::in_f32;
use crate::compute::norm_geometry::NormGeometry;
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `y = (weight gradient - m₀ - m₁ x̂) / sqrt(variance + epsilon) + residual` with
/// `x̂ = (x - mean) / sqrt(variance + epsilon)`: Ioffe & Szegedy 2015, section 3.
///
/// For each group, `m₀` is the mean of `weight gradient`, and `m₁` that of `weight gradient x̂`:
/// `means [outer, groups, 2]`, of [`super::normalise_sums_combine`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormaliseGradient {
    /// The groups that share statistics.
    pub geometry: NormGeometry,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether another gradient is added.
    pub residual: bool,
    /// The storage type of `gradient`, `x`, `residual` and `y`.
    pub storage: Storage,
}

impl NormaliseGradient {
    /// With a residual and without, for batch and group norm, in either storage type.
    pub fn permutations() -> Vec<Self> {
        let of = |outer, rows, channels, size| NormGeometry { outer, rows, channels, size };
        let all = [(of(1, 43, 16, 1), false), (of(1, 100, 20, 1), true), (of(3, 15, 24, 3), true)];
        let with =
            |storage| all.map(|(geometry, residual)| Self { geometry, epsilon: 1e-5, residual, storage });
        [Storage::F32, Storage::F16].map(with).into_iter().flatten().collect()
    }
}

impl Kernel for NormaliseGradient {
    fn name(&self) -> &'static str {
        "normalise_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        let tensor = |name, index, access| binding(name, index, access, g.elements()).stored(self.storage);
        let mut all = vec![
            tensor("gradient", 1, Access::Read),
            tensor("x", 2, Access::Read),
            binding("mean", 3, Access::Read, g.statistics_len()),
            binding("variance", 4, Access::Read, g.statistics_len()),
            binding("weight", 5, Access::Read, g.channels),
            binding("means", 6, Access::Read, 2 * g.statistics_len()),
        ];
        all.extend(self.residual.then(|| tensor("residual", 7, Access::Read)));
        all.push(tensor("y", 8, Access::Write));
        all
    }

    fn shader(&self) -> Shader {
        Shader::new("normalise_gradient")
            .with_switch("RESIDUAL", self.residual)
            .with_switch("HALF", self.storage == Storage::F16)
            .with_switch("HALF_C", self.storage == Storage::F16)
    }

    fn uniforms(&self) -> Vec<u32> {
        self.geometry.words().into_iter().chain([self.epsilon.to_bits(), 0, 0, 0]).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.geometry.bands() * self.geometry.quads())
    }

    fn flops(&self) -> u64 {
        5 * self.geometry.elements() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            let [gradient, x, mean, variance, weight, means, residual @ .., y] = arguments else {
                unreachable!("normalise_gradient binds tensors, statistics and parameters")
            };
            let (gradient, x, y) = (gradient.f32(), x.f32(), y.f32_mut());
            let (mean, variance, weight, means) = (mean.f32(), variance.f32(), weight.f32(), means.f32());
            let residual = residual.first().map(|residual| residual.f32());
            let g = self.geometry;
            // y = a gradient + b (x - mean) + c, each a row of channels for each of `outer`.
            let reciprocal = |at: usize| 1.0 / (variance[at] + self.epsilon).sqrt();
            let a = g.per_channel(|at, channel| weight[channel] * reciprocal(at));
            let b = g.per_channel(|at, _| -means[2 * at + 1] * reciprocal(at) * reciprocal(at));
            let c = g.per_channel(|at, _| -means[2 * at] * reciprocal(at));
            let mean = g.per_channel(|at, _| mean[at]);
            let rows = y.par_chunks_exact_mut(g.channels).enumerate();
            rows.with_min_len(items_per_task(g.channels)).for_each(|(row, y)| {
                let at = row * g.channels..(row + 1) * g.channels;
                let outer = row / g.rows * g.channels..(row / g.rows + 1) * g.channels;
                let [a, b, c, mean] = [&a, &b, &c, &mean].map(|values| &values[outer.clone()]);
                let (gradient, x) = (&gradient[at.clone()], &x[at.clone()]);
                let coefficients = a.iter().zip(b).zip(c).zip(mean);
                let terms = gradient.iter().zip(x).zip(coefficients);
                y.iter_mut().zip(terms).for_each(|(y, ((gradient, x), (((a, b), c), mean)))| {
                    *y = a * gradient + b * (x - mean) + c;
                });
                if let Some(residual) = residual {
                    y.iter_mut().zip(&residual[at]).for_each(|(y, residual)| *y += residual);
                }
            });
        });
    }
}
