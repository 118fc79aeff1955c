//! The linear discriminant of labelled features, in float64.

use rayon::prelude::*;

/// The logits of Gaussian classes with one covariance (Fisher 1936): with class means μ, the covariance Σ within the
/// classes and the fractions π of the classes, `h ↦ wₖᵀ h + bₖ`, `wₖ = Σ⁻¹ μₖ`, `bₖ = log πₖ - μₖᵀ wₖ / 2`. Logits are
/// defined up to a function of h; here their mean over the classes is 0.
///
/// Σ is `(1 - λ) S + λ (tr S / d) I`, with S the covariance of the n features around the means of their classes, and λ
/// from lemma 3.3 of Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices".
/// So Σ has an inverse, however few the features are.
#[derive(Debug, Clone, PartialEq)]
pub struct Discriminant {
    /// The weights, `[d, classes]`.
    pub weights: Vec<f32>,
    /// The biases, `[classes]`.
    pub biases: Vec<f32>,
}

impl Discriminant {
    /// Fits the discriminant to `features` `[n, d]` of the classes `labels`. A class without features has the logit 0.
    /// Returns `None` if there are no features, if those of each class are all equal, or if one is not finite.
    pub fn fit(features: &[f32], labels: &[usize], classes: usize) -> Option<Self> {
        let Gaussians { d, means, counts, factor } = Gaussians::fit(features, labels, classes)?;
        let n = labels.len();
        let [mut weights, mut biases] = [vec![0.0; d * classes], vec![0.0; classes]];
        let present: Vec<usize> = (0..classes).filter(|&class| counts[class] > 0).collect();
        for &class in &present {
            let mean = &means[class * d..][..d];
            let mut w = mean.to_vec();
            solve(&factor, &mut w);
            biases[class] = (counts[class] as f64 / n as f64).ln() - dot(mean, &w) / 2.0;
            for (j, w) in w.into_iter().enumerate() {
                weights[j * classes + class] = w;
            }
        }
        for row in weights.chunks_exact_mut(classes).chain([&mut biases[..]]) {
            let mean = present.iter().map(|&class| row[class]).sum::<f64>() / present.len() as f64;
            present.iter().for_each(|&class| row[class] -= mean);
        }
        let [weights, biases] = [weights, biases].map(|all| all.into_iter().map(|x| x as f32).collect());
        Some(Self { weights, biases })
    }
}

/// Gaussian classes of features with one covariance Σ, as of [`Discriminant`].
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussians {
    d: usize,
    /// The means, `[classes, d]`; 0 for a class without features.
    means: Vec<f64>,
    /// The number of features of each class.
    counts: Vec<usize>,
    /// L with L Lᵀ = Σ, `[d, d]`, in the lower triangle.
    factor: Vec<f64>,
}

impl Gaussians {
    /// Fits the Gaussians to `features` `[n, d]` of the classes `labels`. Returns `None` where [`Discriminant::fit`] does.
    pub fn fit(features: &[f32], labels: &[usize], classes: usize) -> Option<Self> {
        let n = labels.len();
        let d = features.len().checked_div(n)?;
        let rows = || features.chunks_exact(d).zip(labels.iter().copied());
        let mut counts = vec![0usize; classes];
        let mut means = vec![0.0f64; classes * d];
        for (row, class) in rows() {
            counts[class] += 1;
            let mean = &mut means[class * d..][..d];
            mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        for (mean, &count) in means.chunks_exact_mut(d).zip(&counts) {
            mean.iter_mut().for_each(|mean| *mean /= count.max(1) as f64);
        }
        // The features minus the means of their classes, transposed: `[d, n]`.
        let mut centred = vec![0.0f64; n * d];
        for (i, (row, class)) in rows().enumerate() {
            for (j, &x) in row.iter().enumerate() {
                centred[j * n + i] = f64::from(x) - means[class * d + j];
            }
        }
        let mut factor = shrunk(&centred, n, d)?;
        cholesky(&mut factor, d)?;
        Some(Self { d, means, counts, factor })
    }

    /// The least squared Mahalanobis distance `(h - μ)ᵀ Σ⁻¹ (h - μ)` of each of `features` `[n, d]` to the mean of a
    /// class.
    ///
    /// # Panics
    /// For features of another dimension.
    pub fn distances(&self, features: &[f32]) -> Vec<f64> {
        assert!(features.len().is_multiple_of(self.d), "features [n, {}]", self.d);
        let present: Vec<&[f64]> = self
            .means
            .chunks_exact(self.d)
            .zip(&self.counts)
            .filter(|(_, n)| **n > 0)
            .map(|(mean, _)| mean)
            .collect();
        // With z = L⁻¹ h a distance is that of two vectors, and the means are transformed once.
        let whiten = |h: &mut Vec<f64>| forward(&self.factor, h);
        let means: Vec<Vec<f64>> = present
            .into_iter()
            .map(|mean| {
                let mut mean = mean.to_vec();
                whiten(&mut mean);
                mean
            })
            .collect();
        let distance = |row: &[f32]| {
            let mut z: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            whiten(&mut z);
            let squares =
                means.iter().map(|mean| mean.iter().zip(&z).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
            squares.fold(f64::INFINITY, f64::min)
        };
        features.par_chunks_exact(self.d).map(distance).collect()
    }
}

/// The shrunk covariance `[d, d]` of the n columns of `centred` `[d, n]`; `None` if it is 0 or not finite.
fn shrunk(centred: &[f64], n: usize, d: usize) -> Option<Vec<f64>> {
    let row = |j: usize| &centred[j * n..][..n];
    let mut s = vec![0.0; d * d];
    s.par_chunks_exact_mut(d).enumerate().for_each(|(i, out)| {
        out.iter_mut().enumerate().for_each(|(j, out)| *out = dot(row(i), row(j)) / n as f64);
    });
    let scale = (0..d).map(|i| s[i * d + i]).sum::<f64>() / d as f64;
    if !(scale > 0.0 && scale.is_finite()) {
        return None;
    }
    let squares = dot(&s, &s);
    // ‖S - scale I‖², and the mean over the features x of ‖x xᵀ - S‖² / n.
    let distance = squares - d as f64 * scale * scale;
    let fourth: f64 = (0..n).map(|i| (0..d).map(|j| row(j)[i].powi(2)).sum::<f64>().powi(2)).sum();
    let error = (fourth / n as f64 - squares) / n as f64;
    let lambda = if error < distance { error / distance } else { 1.0 };
    s.iter_mut().for_each(|x| *x *= 1.0 - lambda);
    (0..d).for_each(|i| s[i * d + i] += lambda * scale);
    Some(s)
}

/// Replaces the lower triangle of the symmetric `a` `[d, d]` by L with L Lᵀ = a; `None` if no L exists.
fn cholesky(a: &mut [f64], d: usize) -> Option<()> {
    for j in 0..d {
        let (above, below) = a.split_at_mut((j + 1) * d);
        let own = &mut above[j * d..];
        let pivot = own[j] - dot(&own[..j], &own[..j]);
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        own[j] = pivot.sqrt();
        let own = &*own;
        below.par_chunks_exact_mut(d).for_each(|row| row[j] = (row[j] - dot(&row[..j], &own[..j])) / own[j]);
    }
    Some(())
}

/// Replaces b by the solution x of L x = b.
fn forward(l: &[f64], b: &mut [f64]) {
    let d = b.len();
    for i in 0..d {
        b[i] = (b[i] - dot(&l[i * d..][..i], &b[..i])) / l[i * d + i];
    }
}

/// Replaces b by the solution x of L Lᵀ x = b.
fn solve(l: &[f64], b: &mut [f64]) {
    let d = b.len();
    forward(l, b);
    for i in (0..d).rev() {
        b[i] /= l[i * d + i];
        let x = b[i];
        b[..i].iter_mut().zip(&l[i * d..][..i]).for_each(|(b, l)| *b -= l * x);
    }
}

/// The inner product, in eight sums that vector units compute side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::random::Threefry;
    use approx::assert_relative_eq;

    /// Standard normal numbers.
    fn normal(n: usize, seed: u32) -> Vec<f64> {
        let mut random = Threefry::new(seed, 7, 0);
        let pairs = (0..n.div_ceil(2)).flat_map(|_| random.normal_pair());
        pairs.map(f64::from).take(n).collect()
    }

    #[test]
    fn the_discriminant_of_gaussians_is_their_posterior() {
        // Three classes in two dimensions with one covariance A Aᵀ and shares 1/2, 1/3, 1/6.
        let (n, a) = (60_000, [[1.5, 0.0], [-0.7, 0.4]]);
        let means = [[1.0, 0.5], [-1.0, 0.0], [0.3, -0.9]];
        let noise = normal(2 * n, 3);
        let labels: Vec<usize> = (0..n).map(|i| [0, 0, 0, 1, 1, 2][i % 6]).collect();
        let place = |i: usize, axis: usize| {
            let z = &noise[2 * i..][..2];
            (means[labels[i]][axis] + a[axis][0] * z[0] + a[axis][1] * z[1]) as f32
        };
        let features: Vec<f32> = (0..2 * n).map(|at| place(at / 2, at % 2)).collect();
        let found = Discriminant::fit(&features, &labels, 3).expect("a discriminant");
        // log π - (h - μ)ᵀ Σ⁻¹ (h - μ) / 2 less its mean over the classes, by the inverse of a 2x2 matrix.
        let s = |i: usize, j: usize| a[i][0] * a[j][0] + a[i][1] * a[j][1];
        let det = s(0, 0) * s(1, 1) - s(0, 1).powi(2);
        for h in [[0.0, 0.0], [1.0, -1.0], [-2.0, 0.5]] {
            let log_p: Vec<f64> = (0..3)
                .map(|class| {
                    let [x, y] = [0, 1].map(|axis| h[axis] - means[class][axis]);
                    let square = (s(1, 1) * x * x - 2.0 * s(0, 1) * x * y + s(0, 0) * y * y) / det;
                    [0.5f64, 1.0 / 3.0, 1.0 / 6.0][class].ln() - square / 2.0
                })
                .collect();
            let mean = log_p.iter().sum::<f64>() / 3.0;
            for (class, expected) in log_p.iter().enumerate() {
                let weight = |axis: usize| f64::from(found.weights[3 * axis + class]);
                let logit = f64::from(found.biases[class]) + weight(0) * h[0] + weight(1) * h[1];
                assert_relative_eq!(logit, expected - mean, epsilon = 0.05, max_relative = 0.05);
            }
        }
    }

    #[test]
    fn distances_are_those_of_the_covariance() {
        // One class of four points: mean (1, 0), covariance diag(2, 0.5), which lemma 3.3 shrinks by λ.
        let features = [3.0f32, 0.0, -1.0, 0.0, 1.0, 1.0, 1.0, -1.0];
        let found = Gaussians::fit(&features, &[1; 4], 3).expect("Gaussians");
        let sigma = shrunk(&[2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0], 4, 2).expect("a covariance");
        assert_eq!([sigma[1], sigma[2]], [0.0, 0.0]);
        let distances = found.distances(&[4.0, 0.0, 1.0, 2.0, 1.0, 0.0]);
        // Classes without features have no mean to be near to: (0, 0) is not one.
        assert_relative_eq!(distances[..], [9.0 / sigma[0], 4.0 / sigma[3], 0.0][..], max_relative = 1e-12);
        assert_relative_eq!(found.distances(&[0.0, 0.0])[0], 1.0 / sigma[0], max_relative = 1e-12);
    }

    #[test]
    fn fewer_features_than_dimensions_are_told_apart() {
        let (d, classes) = (40, 4);
        let centres = normal(classes * d, 5);
        let features = |seed: u32, count: usize| -> (Vec<f32>, Vec<usize>) {
            let noise = normal(count * classes * d, seed);
            let labels: Vec<usize> = (0..count * classes).map(|i| i % classes).collect();
            let all = (0..noise.len()).map(|at| (centres[labels[at / d] * d + at % d] + noise[at]) as f32);
            (all.collect(), labels)
        };
        let (train, labels) = features(6, 3);
        let fitted = Discriminant::fit(&train, &labels, classes + 1).expect("a discriminant");
        let (fresh, labels) = features(8, 100);
        let right = fresh.chunks(d).zip(&labels).filter(|(row, label)| {
            let logit = |class: usize| {
                let products =
                    row.iter().enumerate().map(|(j, x)| x * fitted.weights[j * (classes + 1) + class]);
                products.sum::<f32>() + fitted.biases[class]
            };
            assert_eq!(logit(classes), 0.0, "a class without features");
            (0..classes).max_by(|&a, &b| logit(a).total_cmp(&logit(b))) == Some(**label)
        });
        assert!(right.count() > 360, "nine of ten");
    }

    #[test]
    fn the_shrinkage_is_that_of_the_reference() {
        // scikit-learn 1.9.1: sklearn.covariance.ledoit_wolf(x.T, assume_centered=True) for the integers x below.
        const EXPECTED: [f64; 9] = [
            12.003020659281223,
            4.952867090991625,
            -1.0731212030481856,
            4.952867090991625,
            16.708244395723266,
            4.952867090991625,
            -1.0731212030481856,
            4.952867090991625,
            12.003020659281223,
        ];
        let (n, d) = (7, 3);
        let centred: Vec<f64> = (0..n * d).map(|i| ((i * i * 7 + i * 3) % 11) as f64 - 5.0).collect();
        let sigma = shrunk(&centred, n, d).expect("a covariance");
        assert_relative_eq!(sigma[..], EXPECTED[..], max_relative = 1e-12);
    }

    #[test]
    fn features_that_do_not_differ_have_none() {
        assert_eq!(Discriminant::fit(&[1.0, 2.0, 1.0, 2.0], &[0, 0], 2), None);
        assert_eq!(Discriminant::fit(&[f32::NAN, 2.0, 1.0, 2.0], &[0, 1], 2), None);
        assert_eq!(Discriminant::fit(&[], &[], 2), None);
    }
}
