//! The first stage of the sums over rows that the gradient of a normalisation needs.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::half::in_f32;
use crate::compute::norm_geometry::{NormGeometry, RowParts, channel_sums};
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding};

/// `y [outer, parts, 2, channels]`: `Σ gradient` and `Σ gradient x̂` of each channel over the rows of each part, with
/// `x̂ = (x - mean) / sqrt(variance + epsilon)`. [`super::normalise_sums_combine`] combines the parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormaliseSums {
    /// The groups that share statistics.
    pub geometry: NormGeometry,
    /// Added to the variance.
    pub epsilon: f32,
    /// The storage type of `gradient` and `x`.
    pub storage: Storage,
}

impl NormaliseSums {
    /// One and several parts and outer, quads that fill lanes and quads that do not, in either storage type.
    pub fn permutations() -> Vec<Self> {
        let of = |outer, rows, channels, size| NormGeometry { outer, rows, channels, size };
        let all = [of(1, 5000, 16, 1), of(3, 37, 20, 5), of(2, 300, 128, 16)];
        let with = |storage| all.map(|geometry| Self { geometry, epsilon: 1e-5, storage });
        [Storage::F32, Storage::F16].map(with).into_iter().flatten().collect()
    }

    /// The division of the rows.
    pub fn parts(&self) -> RowParts {
        RowParts::new(&self.geometry)
    }
}

impl Kernel for NormaliseSums {
    fn name(&self) -> &'static str {
        "normalise_sums"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        vec![
            binding("gradient", 1, Access::Read, g.elements()).stored(self.storage),
            binding("x", 2, Access::Read, g.elements()).stored(self.storage),
            binding("mean", 3, Access::Read, g.statistics_len()),
            binding("variance", 4, Access::Read, g.statistics_len()),
            binding("y", 5, Access::Write, self.parts().partial_len(g)),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("normalise_sums")
            .with_u32("LANES", RowParts::lanes(&self.geometry) as u32)
            .with_switch("HALF", self.storage == Storage::F16)
            .with_switch("HALF_C", self.storage == Storage::F16)
    }

    fn uniforms(&self) -> Vec<u32> {
        let RowParts { part, parts } = self.parts();
        let more = [part as u32, parts as u32, self.epsilon.to_bits(), 0];
        self.geometry.words().into_iter().chain(more).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        self.parts().workgroups(&self.geometry)
    }

    fn flops(&self) -> u64 {
        4 * self.geometry.elements() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            let [gradient, x, mean, variance, y] = arguments else {
                unreachable!("normalise_sums binds two tensors, statistics and sums")
            };
            let (gradient, x, g) = (gradient.f32(), x.f32(), &self.geometry);
            let (mean, variance) = (mean.f32(), variance.f32());
            self.parts().for_each(g, y.f32_mut(), |outer, rows, results| {
                let at = |row: usize| (outer * g.rows + row) * g.channels;
                let range = at(rows.start)..at(rows.end);
                let means: Vec<f32> = (0..g.channels).map(|c| mean[g.statistic(outer, c)]).collect();
                let rows = gradient[range.clone()].chunks_exact(g.channels);
                let rows = rows.zip(x[range].chunks_exact(g.channels));
                let [sum, product] = channel_sums(g.channels, rows, |(gradient, x), sum, product| {
                    let terms = gradient.iter().zip(x).zip(&means);
                    for ((sum, product), ((gradient, x), mean)) in sum.iter_mut().zip(product).zip(terms) {
                        *sum += gradient;
                        *product += gradient * (x - mean);
                    }
                });
                let (plain, products) = results.split_at_mut(g.channels);
                for (channel, (sum, product)) in sum.into_iter().zip(product).enumerate() {
                    let deviation = f64::from(variance[g.statistic(outer, channel)] + self.epsilon).sqrt();
                    plain[channel] = sum as f32;
                    products[channel] = (product / deviation) as f32;
                }
            });
        });
    }
}
