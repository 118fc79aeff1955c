//! The Fréchet distance of two sets of features (Dowson & Landau 1982; as FID: Heusel et al. 2017).
//!
//! The squared Wasserstein-2 distance of the Gaussians with the sets' means and covariances,
//!
//! ```text
//! |μ - ν|² + tr S + tr S' - 2 tr (S½ S' S½)½
//! ```
//!
//! With S = Aᵀ A and S' = Bᵀ B the last trace is the sum of the singular values of A Bᵀ. A and B are the triangular
//! factors of the centred features, so that no covariance is formed, a rank below d needs no care, and small singular
//! values keep their digits, of which the square root of a product of covariances keeps half.

use super::features::{Features, Vectors};
use super::influence;
use crate::error::{Error, Result};
use crate::evaluation::bootstrap::{Estimate, Resamples};
use faer::{Mat, Side};

/// A singular value, or an eigenvalue of a covariance, below this share of the largest is rounding.
const NEGLIGIBLE: f64 = 1e-13;
/// A covariance has no eigenvalue below this share of its largest, with a negative sign.
const NEGATIVE: f64 = 1e-6;

/// The Fréchet distance of `samples` and `data`, `[n, d]` each, with covariances of divisor n - 1.
///
/// It grows as n falls, by about a constant over n that depends on the model (Chong & Forsyth 2020): compare distances
/// of the same numbers of images alone.
///
/// The interval is that of the first-order expansion of the distance in both sets: an image x of the samples adds
/// |x - μ|² - (x - μ)ᵀ T (x - μ) + 2 (μ - ν)ᵀ (x - μ), T the optimal transport map between the Gaussians. It holds for
/// n well above d. For two sets of one distribution the expansion vanishes, and the interval is too narrow.
///
/// # Errors
/// [`Error::Setting`] for sets of different dimensions, a set of one image, or resamples of another number of images.
pub fn distance(
    samples: &Features,
    data: &Features,
    [of_samples, of_data]: [&Resamples; 2],
) -> Result<Estimate> {
    samples.same_dimensions(data)?;
    samples.fits(of_samples)?;
    data.fits(of_data)?;
    let sets = [Centred::new(samples)?, Centred::new(data)?];
    let [p, q] = &sets;
    let shift: Vec<f64> = p.mean.iter().zip(&q.mean).map(|(a, b)| a - b).collect();
    let coupling = (&p.factor * q.factor.transpose()).thin_svd().map_err(|_| no_convergence())?;
    let singular: Vec<f64> = coupling.S().column_vector().iter().copied().collect();
    let value = squared_norm(&shift) + p.trace + q.trace - 2.0 * singular.iter().sum::<f64>();

    let of_p = p.influence(&q.factor, coupling.V(), &singular, &shift, 1.0);
    let of_q = q.influence(&p.factor, coupling.U(), &singular, &shift, -1.0);
    // A squared distance; rounding alone takes it below 0.
    Ok(influence::estimate(value.max(0.0), &[(&of_p, of_samples), (&of_q, of_data)]))
}

/// The Fréchet distance of Gaussians with the means `mu` and the covariances `sigma`, row-major `[d, d]`, in the order
/// of the arguments of pytorch-fid's `calculate_frechet_distance`.
///
/// # Errors
/// [`Error::Setting`] for lengths that do not fit, a number that is not finite, or a matrix with a negative eigenvalue.
pub fn of_statistics(mu: &[f64], sigma: &[f64], mu_other: &[f64], sigma_other: &[f64]) -> Result<f64> {
    let d = mu.len();
    if mu_other.len() != d {
        let message = format!("expected {d} numbers as in the other, got {}", mu_other.len());
        return Err(Error::setting("mean", message));
    }
    if [mu, mu_other].iter().any(|mean| mean.iter().any(|value| !value.is_finite())) {
        return Err(Error::setting("mean", "expected finite numbers"));
    }
    let [a, b] = [factor(sigma, d)?, factor(sigma_other, d)?];
    let singular = (&a * b.transpose()).singular_values().map_err(|_| no_convergence())?;
    let shift: Vec<f64> = mu.iter().zip(mu_other).map(|(a, b)| a - b).collect();
    let traces = a.squared_norm_l2() + b.squared_norm_l2();
    Ok((squared_norm(&shift) + traces - 2.0 * singular.iter().sum::<f64>()).max(0.0))
}

/// A set of features about its mean.
struct Centred {
    mean: Vec<f64>,
    /// x - μ in columns, and their squared norms.
    vectors: Vectors,
    /// A, `[min(n, d), d]`, with the covariance Aᵀ A.
    factor: Mat<f64>,
    /// The trace of the covariance.
    trace: f64,
}

impl Centred {
    fn new(features: &Features) -> Result<Self> {
        features.at_least(2, "a covariance")?;
        let mean = features.mean();
        let vectors = Vectors::new(features, &mean);
        let divisor = features.len() as f64 - 1.0;
        let scale = divisor.sqrt().recip();
        let triangle = vectors.columns.transpose().qr();
        let triangle = triangle.thin_R();
        let factor = Mat::from_fn(triangle.nrows(), triangle.ncols(), |i, j| scale * triangle[(i, j)]);
        let trace = vectors.squares().iter().sum::<f64>() / divisor;
        Ok(Self { mean, vectors, factor, trace })
    }

    /// The influence of each image on the distance to a set with the factor `other`. The coupling of the factors has
    /// the `singular` values, and the singular vectors `directions` on the side of `other`. `sign` times `shift` is this
    /// mean less the other.
    fn influence(
        &self,
        other: &Mat<f64>,
        directions: faer::MatRef<f64>,
        singular: &[f64],
        shift: &[f64],
        sign: f64,
    ) -> Vec<f64> {
        // T = Wᵀ W with W = Σ^-½ Qᵀ B, where A Bᵀ = P Σ Qᵀ.
        let largest = singular.iter().copied().fold(0.0, f64::max);
        let scale = |s: f64| if s > NEGLIGIBLE * largest { s.sqrt().recip() } else { 0.0 };
        let scaled =
            Mat::from_fn(directions.nrows(), singular.len(), |i, j| directions[(i, j)] * scale(singular[j]));
        let map = scaled.transpose() * other;
        let moved = Vectors::of_columns(&map * &self.vectors.columns);
        let along = faer::RowRef::from_slice(shift) * &self.vectors.columns;
        let terms = self.vectors.squares().iter().zip(moved.squares()).zip(along.iter());
        terms.map(|((square, moved), along)| square - moved + 2.0 * sign * along).collect()
    }
}

/// A with `sigma` = Aᵀ A: the square roots of the eigenvalues times the eigenvectors.
fn factor(sigma: &[f64], d: usize) -> Result<Mat<f64>> {
    let fail = |message: String| Err(Error::setting("covariance", message));
    if sigma.len() != d * d || d == 0 {
        return fail(format!("expected [{d}, {d}] numbers, got {}", sigma.len()));
    }
    if let Some(at) = sigma.iter().position(|value| !value.is_finite()) {
        return fail(format!("row {} has {}, expected finite numbers", at / d, sigma[at]));
    }
    let symmetric = Mat::from_fn(d, d, |i, j| 0.5 * (sigma[i * d + j] + sigma[j * d + i]));
    let eigen = symmetric.self_adjoint_eigen(Side::Lower).map_err(|_| no_convergence())?;
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let largest = values.iter().copied().fold(0.0, |a: f64, b| a.max(b.abs()));
    if let Some(negative) = values.iter().find(|value| **value < -NEGATIVE * largest) {
        return fail(format!("has the eigenvalue {negative}, and none of a covariance is negative"));
    }
    let root = |value: f64| if value > NEGLIGIBLE * largest { value.sqrt() } else { 0.0 };
    Ok(Mat::from_fn(d, d, |i, j| root(values[i]) * eigen.U()[(j, i)]))
}

fn squared_norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

fn no_convergence() -> Error {
    Error::setting("features", "their singular values do not converge; scale them to about 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;
    use approx::{assert_abs_diff_eq, assert_relative_eq};

    /// Normal numbers of each dimension's mean and standard deviation, `[n, d]`.
    fn normal(
        n: usize,
        mean: impl Fn(usize) -> f64,
        deviation: impl Fn(usize) -> f64,
        d: usize,
        seed: u64,
    ) -> Vec<f32> {
        let mut random = SplitMix::new(seed, 0);
        let mut draw = || {
            let [u, v] = [(); 2].map(|()| f64::from(random.uniform(0.0, 1.0)));
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        (0..n * d).map(|i| (mean(i % d) + deviation(i % d) * draw()) as f32).collect()
    }

    fn resamples(n: usize) -> Resamples {
        Resamples::new(n, 5)
    }

    fn between(a: &[f32], b: &[f32], d: usize) -> Estimate {
        let [a, b] = [a, b].map(|values| Features::new("features", values, d).unwrap());
        distance(&a, &b, [&resamples(a.len()), &Resamples::new(b.len(), 6)]).unwrap()
    }

    #[test]
    fn gaussians_along_the_axes_have_the_known_distance() {
        // |μ - ν|² + Σ (σ - σ')², here with correlations that rotate both covariances alike.
        let (c, s) = (0.6, 0.8);
        let rotated =
            |a: f64, b: f64| [c * c * a + s * s * b, c * s * (a - b), c * s * (a - b), s * s * a + c * c * b];
        let found =
            of_statistics(&[1.0, 2.0], &rotated(4.0, 9.0), &[-1.0, 3.0], &rotated(1.0, 16.0)).unwrap();
        assert_relative_eq!(found, 5.0 + 1.0 + 1.0, max_relative = 1e-14);
        // A covariance of rank 1.
        let found = of_statistics(&[0.0, 0.0], &rotated(4.0, 0.0), &[0.0, 0.0], &rotated(1.0, 9.0)).unwrap();
        assert_relative_eq!(found, 1.0 + 9.0, max_relative = 1e-14);
        let found = of_statistics(&[0.0, 0.0], &[0.0; 4], &[0.0, 0.0], &[0.0; 4]).unwrap();
        assert_eq!(found, 0.0);
    }

    #[test]
    fn features_have_the_distance_of_their_means_and_covariances() {
        for (n, other) in [(200, 150), (5, 150), (6, 3)] {
            let d = 8;
            let a = normal(n, |i| i as f64, |i| 1.0 + i as f64, d, 1);
            let b = normal(other, |i| 1.5 * i as f64, |i| 9.0 - i as f64, d, 2);
            let statistics = [&a, &b].map(|values| {
                let features = Features::new("features", values, d).unwrap();
                let (mean, n) = (features.mean(), features.len() as f64);
                let mut sigma = vec![0.0; d * d];
                for row in features.rows() {
                    let about: Vec<f64> = row.iter().zip(&mean).map(|(&x, m)| f64::from(x) - m).collect();
                    for i in 0..d * d {
                        sigma[i] += about[i / d] * about[i % d] / (n - 1.0);
                    }
                }
                (mean, sigma)
            });
            let [(mu, sigma), (nu, other_sigma)] = &statistics;
            let expected = of_statistics(mu, sigma, nu, other_sigma).unwrap();
            assert_relative_eq!(between(&a, &b, d).value, expected, max_relative = 1e-10);
            assert_relative_eq!(between(&b, &a, d).value, expected, max_relative = 1e-10);
        }
    }

    #[test]
    fn a_set_has_no_distance_to_itself() {
        for n in [500, 20] {
            let a = normal(n, |_| 3.0, |i| 0.5 + i as f64, 32, 3);
            let estimate = between(&a, &a, 32);
            assert_abs_diff_eq!(estimate.value, 0.0, epsilon = 1e-9);
            // The first-order expansion vanishes.
            let [low, high] = estimate.interval().unwrap();
            assert!(high - low < 1e-9, "[{low}, {high}]");
        }
        let point = vec![0.25f32; 7 * 3];
        assert_eq!(between(&point, &point, 3).interval(), Some([0.0, 0.0]));
        let moved: Vec<f32> = point.iter().map(|value| value + 2.0).collect();
        assert_relative_eq!(between(&point, &moved, 3).value, 12.0, max_relative = 1e-14);
    }

    #[test]
    fn the_interval_is_that_of_the_bootstrap() {
        let d = 64;
        let a = normal(1500, |i| 0.02 * i as f64, |i| 1.0 + 0.02 * i as f64, d, 4);
        let b = normal(1200, |_| 0.3, |i| 1.6 - 0.01 * i as f64, d, 5);
        let estimate = between(&a, &b, d);
        let [low, high] = estimate.interval().unwrap();
        let draw = |values: &[f32], counts: &[u8]| -> Vec<f32> {
            let rows = values.chunks_exact(d).zip(counts);
            rows.flat_map(|(row, &count)| row.repeat(usize::from(count))).collect()
        };
        let (of_a, of_b) = (resamples(1500), Resamples::new(1200, 6));
        let real: Vec<f64> = (0..200)
            .map(|r| between(&draw(&a, of_a.counts(r)), &draw(&b, of_b.counts(r)), d).value)
            .collect();
        let mean = real.iter().sum::<f64>() / 200.0;
        let deviation = (real.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        assert!(mean > estimate.value + deviation, "the bias that the interval leaves out");
        // The standard error of a deviation of 200 is 5%.
        assert_relative_eq!(high - low, 2.0 * 1.96 * deviation, max_relative = 0.15);
        assert!(low < estimate.value && estimate.value < high, "[{low}, {high}]");
    }

    #[test]
    fn what_has_no_distance_is_refused() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let features = |d| Features::new("samples", &values, d).unwrap();
        let message = |a: Features, b: Features, n: usize| {
            distance(&a, &b, [&resamples(n), &resamples(b.len())]).unwrap_err().to_string()
        };
        assert_eq!(message(features(3), features(2), 2), "samples: expected 2 features as in samples, got 3");
        assert_eq!(
            message(features(6), features(6), 1),
            "samples: a covariance needs at least 2 images, got 1"
        );
        assert_eq!(message(features(3), features(3), 4), "samples: expected resamples of 2 images, got 4");
        let of =
            |sigma: &[f64]| of_statistics(&[0.0; 2], sigma, &[0.0; 2], &[1.0, 0.0, 0.0, 1.0]).unwrap_err();
        assert!(of(&[1.0; 3]).to_string().contains("expected [2, 2] numbers, got 3"));
        assert!(of(&[1.0, 0.0, f64::NAN, 1.0]).to_string().contains("row 1 has NaN"));
        assert!(of(&[1.0, 2.0, 2.0, 1.0]).to_string().contains("eigenvalue -1"));
        assert!(of_statistics(&[0.0], &[1.0], &[0.0; 2], &[1.0; 4]).is_err());
        assert!(of_statistics(&[f64::NAN], &[1.0], &[0.0], &[1.0]).is_err());
    }
}
