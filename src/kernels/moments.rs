//! The first stage of means and variances: the moments of parts of the rows.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::half::in_f32;
use crate::compute::norm_geometry::{NormGeometry, RowParts, channel_sums};
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding};

/// `y [outer, parts, 2, channels]`: the mean of each channel of `x [outer, rows, channels]` over the rows of each part,
/// and the sum of the squared deviations from it. [`super::moments_combine`] combines the parts.
///
/// A thread takes deviations from its first value, which are no larger than the spread, whatever the mean. The sums of
/// threads are combined by the formula of Chan, Golub and `LeVeque` (1979).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// The tensor.
    pub geometry: NormGeometry,
    /// The storage type of `x`.
    pub storage: Storage,
}

impl Moments {
    /// One and several parts and outer, quads that fill lanes and quads that do not, in either storage type.
    pub fn permutations() -> Vec<Self> {
        let of = |outer, rows, channels| NormGeometry { outer, rows, channels, size: 1 };
        let with = |storage| {
            [of(1, 5000, 16), of(3, 37, 20), of(1, 300, 128)].map(|geometry| Self { geometry, storage })
        };
        [Storage::F32, Storage::F16].map(with).into_iter().flatten().collect()
    }

    /// The division of the rows.
    pub fn parts(&self) -> RowParts {
        RowParts::new(&self.geometry)
    }
}

impl Kernel for Moments {
    fn name(&self) -> &'static str {
        "moments"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.geometry.elements()).stored(self.storage),
            binding("y", 2, Access::Write, self.parts().partial_len(&self.geometry)),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("moments")
            .with_u32("LANES", RowParts::lanes(&self.geometry) as u32)
            .with_switch("HALF", self.storage == Storage::F16)
            .with_switch("HALF_C", self.storage == Storage::F16)
    }

    fn uniforms(&self) -> Vec<u32> {
        self.parts().words(&self.geometry)
    }

    fn workgroups(&self) -> [u32; 3] {
        self.parts().workgroups(&self.geometry)
    }

    fn flops(&self) -> u64 {
        4 * self.geometry.elements() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            let [x, y] = arguments else { unreachable!("moments binds x and y") };
            let (x, g) = (x.f32(), &self.geometry);
            self.parts().for_each(g, y.f32_mut(), |outer, rows, results| {
                let n = rows.len() as f64;
                let at = |row: usize| (outer * g.rows + row) * g.channels;
                let x = &x[at(rows.start)..at(rows.end)];
                // Deviations from the first row, as in the shader: their sums are exact enough where the mean is large.
                let origin = &x[..g.channels];
                let [sum, square] = channel_sums(g.channels, x.chunks_exact(g.channels), |x, sum, square| {
                    for (((sum, square), x), origin) in sum.iter_mut().zip(square).zip(x).zip(origin) {
                        let deviation = x - origin;
                        *sum += deviation;
                        *square += deviation * deviation;
                    }
                });
                let (means, squares) = results.split_at_mut(g.channels);
                for (channel, (sum, square)) in sum.into_iter().zip(square).enumerate() {
                    means[channel] = (f64::from(origin[channel]) + sum / n) as f32;
                    squares[channel] = (square - sum * sum / n) as f32;
                }
            });
        });
    }
}
