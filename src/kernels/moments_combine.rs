//! The second stage of means and variances: combines the parts of [`super::moments`].

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::norm_geometry::{NormGeometry, RowParts, combine_workgroups};
use crate::compute::{Access, Binding, Kernel, binding};
use rayon::prelude::*;

/// The mean and the variance (divided by the population) of each group of channels of each of `outer`, from the means
/// and the sums of squared deviations of its parts. The squared deviations of a group sum to those of its parts plus
/// those of the parts' means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MomentsCombine {
    /// The tensor that [`super::moments::Moments`] took.
    pub geometry: NormGeometry,
}

impl MomentsCombine {
    /// Channels alone, in groups, and in a group of more channels than a workgroup has threads.
    pub fn permutations() -> Vec<Self> {
        let of = |outer, rows, channels, size| NormGeometry { outer, rows, channels, size };
        let all = [of(1, 5000, 16, 1), of(3, 37, 24, 3), of(2, 3000, 160, 80), of(1, 300, 132, 1)];
        all.map(|geometry| Self { geometry }).to_vec()
    }

    fn parts(&self) -> RowParts {
        RowParts::new(&self.geometry)
    }
}

impl Kernel for MomentsCombine {
    fn name(&self) -> &'static str {
        "moments_combine"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        vec![
            binding("partial", 1, Access::Read, self.parts().partial_len(g)),
            binding("mean", 2, Access::Write, g.statistics_len()),
            binding("variance", 3, Access::Write, g.statistics_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("moments_combine").with_u32("SIZE", self.geometry.size as u32)
    }

    fn uniforms(&self) -> Vec<u32> {
        let g = &self.geometry;
        let RowParts { part, parts } = self.parts();
        [g.rows, g.channels, part, parts, g.statistics_len(), 0, 0, 0].map(|v| v as u32).to_vec()
    }

    fn workgroups(&self) -> [u32; 3] {
        combine_workgroups(&self.geometry)
    }

    fn flops(&self) -> u64 {
        3 * self.parts().partial_len(&self.geometry) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [partial, mean, variance] = arguments else {
            unreachable!("moments_combine binds the parts and two results")
        };
        let (g, RowParts { part, parts }) = (&self.geometry, self.parts());
        let partial = partial.f32();
        let results = mean.f32_mut().par_iter_mut().zip(variance.f32_mut()).enumerate();
        results.for_each(|(index, (mean, variance))| {
            let (outer, group) = (index / g.groups(), index % g.groups());
            // For each part and channel: its rows, its mean, and its sum of squares.
            let terms = || {
                (0..parts).flat_map(move |p| {
                    let rows = part.min(g.rows - p * part) as f64;
                    let at = (outer * parts + p) * 2 * g.channels + group * g.size;
                    let of = move |at: usize| partial[at..at + g.size].iter().map(|&v| f64::from(v));
                    of(at).zip(of(at + g.channels)).map(move |(mean, square)| (rows, mean, square))
                })
            };
            let population = g.population() as f64;
            let centre = terms().map(|(rows, mean, _)| rows * mean).sum::<f64>() / population;
            let deviations = terms().map(|(rows, mean, square)| square + rows * (mean - centre).powi(2));
            *variance = (deviations.sum::<f64>() / population) as f32;
            *mean = centre as f32;
        });
    }
}
