//! The second stage of the sums over rows that the gradient of a normalisation needs: combines the parts of
//! [`super::normalise_sums`].

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::norm_geometry::{NormGeometry, RowParts, combine_workgroups};
use crate::compute::{Access, Binding, Kernel, binding};
use rayon::prelude::*;

/// From the parts' sums, each channel's `sums = factor Σ gradient` and `products = factor Σ gradient x̂`, which are the
/// gradients at bias and weight, `[outer, channels]`; and, over each group's population, the means of `weight gradient`
/// and of `weight gradient x̂`, `means [outer, groups, 2]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormaliseSumsCombine {
    /// The geometry of [`super::normalise_sums::NormaliseSums`].
    pub geometry: NormGeometry,
    /// A power of two that multiplies `sums` and `products`: the inverse of the factor in `gradient`.
    pub factor: f32,
}

impl NormaliseSumsCombine {
    /// Channels alone, in groups, and in a group of more channels than a workgroup has threads.
    pub fn permutations() -> Vec<Self> {
        let of = |outer, rows, channels, size| NormGeometry { outer, rows, channels, size };
        let all = [of(1, 5000, 16, 1), of(3, 37, 24, 3), of(2, 3000, 160, 80), of(1, 300, 132, 1)];
        all.map(|geometry| Self { geometry, factor: 0.25 }).to_vec()
    }

    fn parts(&self) -> RowParts {
        RowParts::new(&self.geometry)
    }
}

impl Kernel for NormaliseSumsCombine {
    fn name(&self) -> &'static str {
        "normalise_sums_combine"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        vec![
            binding("partial", 1, Access::Read, self.parts().partial_len(g)),
            binding("weight", 2, Access::Read, g.channels),
            binding("sums", 3, Access::Write, g.outer * g.channels),
            binding("products", 4, Access::Write, g.outer * g.channels),
            binding("means", 5, Access::Write, 2 * g.statistics_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("normalise_sums_combine").with_u32("SIZE", self.geometry.size as u32)
    }

    fn uniforms(&self) -> Vec<u32> {
        let g = &self.geometry;
        let sizes = [g.rows, g.channels, self.parts().parts, g.statistics_len()].map(|v| v as u32);
        sizes.into_iter().chain([self.factor.to_bits(), 0, 0, 0]).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        combine_workgroups(&self.geometry)
    }

    fn flops(&self) -> u64 {
        self.parts().partial_len(&self.geometry) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [partial, weight, sums, products, means] = arguments else {
            unreachable!("normalise_sums_combine binds the parts, a weight and three results")
        };
        let (g, parts) = (&self.geometry, self.parts().parts);
        let (partial, weight) = (partial.f32(), weight.f32());
        let results = sums.f32_mut().par_chunks_mut(g.size).zip(products.f32_mut().par_chunks_mut(g.size));
        let results = results.zip(means.f32_mut().par_chunks_mut(2)).enumerate();
        results.for_each(|(index, ((sums, products), means))| {
            let (outer, group) = (index / g.groups(), index % g.groups());
            let mut whole = [0.0f64; 2];
            for (offset, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                let channel = group * g.size + offset;
                let of = |row: usize| -> f64 {
                    let at = |p: usize| ((outer * parts + p) * 2 + row) * g.channels + channel;
                    (0..parts).map(|p| f64::from(partial[at(p)])).sum()
                };
                for ((result, whole), row) in [sum, product].into_iter().zip(&mut whole).zip(0..) {
                    *result = (f64::from(self.factor) * of(row)) as f32;
                    *whole += f64::from(weight[channel]) * of(row);
                }
            }
            means.iter_mut().zip(whole).for_each(|(m, whole)| *m = (whole / g.population() as f64) as f32);
        });
    }
}
