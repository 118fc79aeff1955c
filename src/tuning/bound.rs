//! The largest error of a candidate's sums that rounding explains; a larger one means that its results are wrong.

use crate::compute::conv_geometry::{ConvProblem, Direction};
use crate::policy::implementation::ConvImplementation;
use crate::self_test::{BOUND, sum_bound};

/// The largest Σ(a-b)²/Σb² from sums in f32 that rounding explains: [`BOUND`], or [`sum_bound`] for long sums by
/// matrices.
pub(super) fn bound(shape: &ConvProblem, candidate: &ConvImplementation) -> f64 {
    if candidate.is_by_matrices() { by_matrices(terms(shape, candidate)) } else { BOUND }
}

fn by_matrices(terms: usize) -> f64 {
    BOUND.max(sum_bound(terms))
}

/// The products that `candidate` adds up in one accumulator.
fn terms(shape: &ConvProblem, candidate: &ConvImplementation) -> usize {
    let g = &shape.geometry;
    match (shape.direction, candidate) {
        (Direction::Forward, _) => g.kh * g.kw * g.c_in,
        (Direction::InputGradient, _) => g.kh * g.kw * g.c_out,
        (Direction::WeightGradient, ConvImplementation::Parts(_, parts)) => g.out_pixels().div_ceil(*parts),
        (Direction::WeightGradient, _) => g.out_pixels(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::conv_geometry::ConvGeometry;
    use crate::compute::conv_tile::{MatrixTile, ScalarTile};
    use crate::compute::splitmix::SplitMix;
    use crate::compute::winograd::Winograd;

    #[test]
    fn terms_are_those_of_one_accumulator() {
        let geometry =
            ConvGeometry { n: 192, h: 32, w: 32, c_in: 160, c_out: 320, kh: 3, kw: 3, stride: 1, padding: 1 };
        let shape = |direction| ConvProblem::new(direction, geometry);
        let [matrices, scalar] = [MatrixTile::ALL[0].into(), ScalarTile::ALL[9].into()];
        let of = |direction, candidate| terms(&shape(direction), &candidate);
        assert_eq!(of(Direction::Forward, ConvImplementation::Implicit(matrices)), 1440);
        assert_eq!(of(Direction::InputGradient, ConvImplementation::Implicit(matrices)), 2880);
        assert_eq!(of(Direction::WeightGradient, ConvImplementation::Parts(matrices, 48)), 4096);
        assert_eq!(of(Direction::WeightGradient, ConvImplementation::Parts(matrices, 1)), 196_608);

        let of = |direction, candidate| bound(&shape(direction), &candidate);
        assert_eq!(of(Direction::Forward, ConvImplementation::Implicit(scalar)), BOUND);
        assert_eq!(of(Direction::Forward, ConvImplementation::Winograd(Winograd::F4)), BOUND);
        assert_eq!(of(Direction::WeightGradient, ConvImplementation::Parts(scalar, 1)), BOUND);
        assert_eq!(of(Direction::Forward, ConvImplementation::Implicit(matrices)), BOUND);
        let one = of(Direction::WeightGradient, ConvImplementation::Parts(matrices, 1));
        let many = of(Direction::WeightGradient, ConvImplementation::Parts(matrices, 48));
        assert!((one - 8.6e-6).abs() < 1e-7 && (many - 3.7e-9).abs() < 1e-10, "{one:e} {many:e}");
    }

    /// `x` truncated to f32.
    fn cut(x: f64) -> f64 {
        let nearest = x as f32;
        let beyond = f64::from(nearest).abs() > x.abs();
        f64::from(if beyond { f32::from_bits(nearest.to_bits() - 1) } else { nearest })
    }

    /// Σ(a-b)²/Σb² of sums of products of 11-bit numbers, truncated after every four, beside exact sums.
    fn cut_sums(terms: usize, least: f64) -> f64 {
        let mut random = SplitMix::new(1, 0);
        let mut next = || {
            let bits = (random.next() >> 53) as f64 / 1024.0 - 1.0;
            if bits < least { -bits } else { bits }
        };
        let (mut error, mut norm) = (0.0, 0.0);
        for _ in 0..200 {
            let (mut exact, mut sum) = (0.0, 0.0);
            for _ in 0..terms / 4 {
                let products: f64 = (0..4).map(|_| next() * next()).sum();
                exact += products;
                sum = cut(sum + products);
            }
            error += (sum - exact) * (sum - exact);
            norm += exact * exact;
        }
        error / norm
    }

    #[test]
    fn sums_that_are_cut_keep_within_the_bound() {
        for (terms, least) in [(5760, -1.0), (8192, -1.0), (65_536, -1.0), (8192, 0.0), (65_536, 0.0)] {
            let (error, bound) = (cut_sums(terms, least), by_matrices(terms));
            assert!(error <= bound && error >= bound / 100.0, "{terms}: {error:.1e} to {bound:.1e}");
        }
    }
}
