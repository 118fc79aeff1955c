//! The kernel distance of two sets of features (Bińkowski et al. 2018; KID where the features are Inception's).
//!
//! The squared maximum mean discrepancy with the kernel k(x, y) = (x·y / d + 1)³, without bias:
//!
//! ```text
//! MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)    over x ≠ x', y ≠ y'
//! ```
//!
//! Unlike the Fréchet distance its expected value is the same for every n, so distances of different n may be compared.
//! It may be negative.

use super::features::{Features, Vectors};
use super::influence;
use crate::compute::splitmix::SplitMix;
use crate::error::{Error, Result};
use crate::evaluation::bootstrap::{Estimate, Resamples};
use rayon::prelude::*;

/// The random number streams of subsets of the samples and of the data.
const STREAMS: [u64; 2] = [1 << 32, 2 << 32];

/// The kernel distance of all `samples` and all `data`, `[n, d]` each: the mean over all pairs of subsets of a size, of
/// which the published KID draws some ([`of_subsets`]).
///
/// The interval is that of the first-order expansion in both sets: an image x adds 2 (mean k(x, x') - mean k(x, y)). For
/// two sets of one distribution the expansion vanishes, and the interval is too narrow.
///
/// # Errors
/// [`Error::Setting`] for sets of different dimensions, a set of one image, or resamples of another number of images.
pub fn distance(
    samples: &Features,
    data: &Features,
    [of_samples, of_data]: [&Resamples; 2],
) -> Result<Estimate> {
    check(samples, data, 2)?;
    samples.fits(of_samples)?;
    data.fits(of_data)?;
    let means = KernelMeans::new(&uncentred(samples), &uncentred(data));
    let [of_x, of_y] = means.influences();
    Ok(influence::estimate(means.distance(), &[(&of_x, of_samples), (&of_y, of_data)]))
}

/// Pairs of subsets of samples and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsets {
    /// The number of pairs.
    pub count: usize,
    /// The number of images of each subset, drawn without replacement.
    pub size: usize,
    /// The random seed.
    pub seed: u64,
}

impl Default for Subsets {
    /// 100 subsets of 1,000 images, as torch-fidelity has.
    fn default() -> Self {
        Self { count: 100, size: 1000, seed: 0 }
    }
}

/// The mean and the standard deviation (of divisor `count`) of the kernel distances of pairs of subsets, as
/// torch-fidelity reports them. The deviation is that of a pair, not the error of the mean.
///
/// # Errors
/// [`Error::Setting`] for sets of different dimensions or with fewer images than a subset, no subsets, and subsets of
/// one image.
pub fn of_subsets(samples: &Features, data: &Features, subsets: Subsets) -> Result<[f64; 2]> {
    let Subsets { count, size, seed } = subsets;
    if count == 0 || size < 2 {
        let message = format!("expected at least one, of at least 2 images, got {count} of {size}");
        return Err(Error::setting("subsets", message));
    }
    check(samples, data, size)?;
    let subset = |features: &Features, stream: u64| -> Result<Vectors> {
        let chosen = choose(features.len(), size, &mut SplitMix::new(seed, stream));
        let values = features.select(&chosen);
        Ok(uncentred(&Features::new("subset", &values, features.dimensions())?))
    };
    let of_pair = |pair: usize| -> Result<f64> {
        let x = subset(samples, STREAMS[0] + pair as u64)?;
        let y = subset(data, STREAMS[1] + pair as u64)?;
        Ok(KernelMeans::new(&x, &y).distance())
    };
    let distances = (0..count).into_par_iter().map(of_pair).collect::<Result<Vec<f64>>>()?;
    let mean = mean(&distances);
    let squares = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>();
    Ok([mean, (squares / count as f64).sqrt()])
}

/// Fails for sets of different dimensions or of fewer than `least` images.
fn check(samples: &Features, data: &Features, least: usize) -> Result<()> {
    samples.same_dimensions(data)?;
    samples.at_least(least, "a kernel distance")?;
    data.at_least(least, "a kernel distance")
}

fn uncentred(features: &Features) -> Vectors {
    Vectors::new(features, &vec![0.0; features.dimensions()])
}

/// `size` of the numbers below `n`, by the first steps of a Fisher-Yates shuffle.
fn choose(n: usize, size: usize, random: &mut SplitMix) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..n).collect();
    for i in 0..size {
        numbers.swap(i, i + random.below((n - i) as u64) as usize);
    }
    numbers.truncate(size);
    numbers
}

/// The mean kernel of each vector of two sets with the vectors of both.
struct KernelMeans {
    /// The mean for each x over all other x.
    within_x: Vec<f64>,
    /// The mean for each y over all other y.
    within_y: Vec<f64>,
    /// The mean for each x over all y.
    across_x: Vec<f64>,
    /// The mean for each y over all x.
    across_y: Vec<f64>,
}

impl KernelMeans {
    fn new(x: &Vectors, y: &Vectors) -> Self {
        let d = x.columns.nrows() as f64;
        let kernel = |product: f64| {
            let base = product / d + 1.0;
            base * base * base
        };
        let within = |set: &Vectors| -> Vec<f64> {
            let sums = set.map_blocks(set, |start, tile| {
                let rows = tile.chunks_exact(set.len()).enumerate();
                let sum = |(i, row): (usize, &[f64])| {
                    row.iter().map(|&product| kernel(product)).sum::<f64>() - kernel(row[start + i])
                };
                rows.map(sum).collect::<Vec<_>>()
            });
            sums.concat().into_iter().map(|sum| sum / (set.len() as f64 - 1.0)).collect()
        };
        let across = x.map_blocks(y, |_, tile| {
            let mut of_y = vec![0.0; y.len()];
            let mut of_x = Vec::new();
            for row in tile.chunks_exact_mut(y.len()) {
                row.iter_mut().for_each(|product| *product = kernel(*product));
                of_y.iter_mut().zip(&*row).for_each(|(sum, value)| *sum += value);
                of_x.push(row.iter().sum::<f64>() / y.len() as f64);
            }
            (of_x, of_y)
        });
        let mut across_y = vec![0.0; y.len()];
        for (_, of_y) in &across {
            across_y.iter_mut().zip(of_y).for_each(|(sum, value)| *sum += value / x.len() as f64);
        }
        let across_x = across.into_iter().flat_map(|(of_x, _)| of_x).collect();
        Self { within_x: within(x), within_y: within(y), across_x, across_y }
    }

    /// MMD².
    fn distance(&self) -> f64 {
        mean(&self.within_x) + mean(&self.within_y) - 2.0 * mean(&self.across_x)
    }

    /// The influence of each image of both sets.
    fn influences(&self) -> [Vec<f64>; 2] {
        let of = |within: &[f64], across: &[f64]| {
            within.iter().zip(across).map(|(within, across)| 2.0 * (within - across)).collect()
        };
        [of(&self.within_x, &self.across_x), of(&self.within_y, &self.across_y)]
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn set(n: usize, d: usize, shift: f32, seed: u64) -> Vec<f32> {
        let mut random = SplitMix::new(seed, 0);
        (0..n * d).map(|_| random.uniform(-1.0, 1.0) + shift).collect()
    }

    fn features(values: &[f32], d: usize) -> Features<'_> {
        Features::new("features", values, d).unwrap()
    }

    /// MMD² by its definition, where image i of each set is drawn as often as its count.
    fn by_definition(x: &Features, y: &Features, [of_x, of_y]: [&[u8]; 2]) -> f64 {
        let kernel = |a: &[f32], b: &[f32]| {
            let product: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            (product / x.dimensions() as f64 + 1.0).powi(3)
        };
        let weighted = |a: &Features, b: &Features, [of_a, of_b]: [&[u8]; 2], other: bool| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (i, (row, &count)) in a.rows().zip(of_a).enumerate() {
                for (j, (column, &other_count)) in b.rows().zip(of_b).enumerate() {
                    if other || i != j {
                        let weight = f64::from(count) * f64::from(other_count);
                        sum += weight * kernel(row, column);
                        weights += weight;
                    }
                }
            }
            sum / weights
        };
        weighted(x, x, [of_x, of_x], false) + weighted(y, y, [of_y, of_y], false)
            - 2.0 * weighted(x, y, [of_x, of_y], true)
    }

    #[test]
    fn the_distance_and_its_interval_are_those_of_the_definition() {
        let (d, n, m) = (6, 90, 70);
        let (x, y) = (set(n, d, 0.3, 1), set(m, d, 0.0, 2));
        let (x, y) = (features(&x, d), features(&y, d));
        let (of_x, of_y) = (Resamples::new(n, 1), Resamples::new(m, 2));
        let estimate = distance(&x, &y, [&of_x, &of_y]).unwrap();
        assert_relative_eq!(
            estimate.value,
            by_definition(&x, &y, [&[1; 90], &[1; 70]]),
            max_relative = 1e-12
        );
        let real: Vec<f64> =
            (0..300).map(|r| by_definition(&x, &y, [of_x.counts(r), of_y.counts(r)])).collect();
        let average = mean(&real);
        let deviation = (real.iter().map(|value| (value - average).powi(2)).sum::<f64>() / 299.0).sqrt();
        let [low, high] = estimate.interval().unwrap();
        assert_relative_eq!(high - low, 2.0 * 1.96 * deviation, max_relative = 0.15);
    }

    #[test]
    fn subsets_scatter_about_the_distance_of_the_whole_sets() {
        let d = 6;
        let (x, y) = (set(200, d, 0.2, 3), set(300, d, 0.0, 4));
        let (x, y) = (features(&x, d), features(&y, d));
        let whole = distance(&x, &y, [&Resamples::new(200, 1), &Resamples::new(300, 2)]).unwrap().value;
        let subsets = Subsets { count: 400, size: 50, seed: 7 };
        let [mean, deviation] = of_subsets(&x, &y, subsets).unwrap();
        assert!((mean - whole).abs() < 4.0 * deviation / 20.0, "{mean} ± {deviation}, {whole}");
        assert!(deviation > 0.0);
        assert_eq!(of_subsets(&x, &y, subsets).unwrap(), [mean, deviation]);
        assert_ne!(of_subsets(&x, &y, Subsets { seed: 8, ..subsets }).unwrap(), [mean, deviation]);
        // Subsets that are the whole sets.
        let some = x.select(&(0..50).collect::<Vec<_>>());
        let (some, resamples) = (features(&some, d), Resamples::new(50, 1));
        let whole = distance(&some, &some, [&resamples; 2]).unwrap().value;
        let [mean, deviation] = of_subsets(&some, &some, Subsets { count: 3, ..subsets }).unwrap();
        assert_relative_eq!(mean, whole, max_relative = 1e-10);
        assert!(deviation < 1e-10, "{deviation}");
    }

    #[test]
    fn sets_of_one_distribution_have_a_distance_about_zero() {
        let d = 16;
        let (x, y) = (set(400, d, 0.0, 5), set(400, d, 0.0, 6));
        let resamples = Resamples::new(400, 1);
        let near = distance(&features(&x, d), &features(&y, d), [&resamples; 2]).unwrap().value;
        let far = set(400, d, 0.3, 7);
        let far = distance(&features(&x, d), &features(&far, d), [&resamples; 2]).unwrap().value;
        assert!(near.abs() < 0.02 * far, "{near}, {far}");
        let equal = vec![0.5f32; 30];
        let [a, b] = [features(&equal, 3); 2];
        let resamples = Resamples::new(10, 1);
        assert_eq!(distance(&a, &b, [&resamples; 2]).unwrap().interval(), Some([0.0, 0.0]));
    }

    #[test]
    fn what_has_no_distance_is_refused() {
        let (x, y) = (set(5, 2, 0.0, 1), set(5, 3, 0.0, 1));
        let (x, y) = (features(&x, 2), features(&y, 3));
        let message = |result: Result<[f64; 2]>| result.unwrap_err().to_string();
        assert!(message(of_subsets(&x, &y, Subsets::default())).contains("expected 3 features"));
        assert!(
            message(of_subsets(&x, &x, Subsets::default())).contains("needs at least 1000 images, got 5")
        );
        let none = Subsets { count: 0, ..Subsets::default() };
        assert!(message(of_subsets(&x, &x, none)).contains("subsets: expected at least one"));
        let one = [1.0f32, 2.0];
        let one = features(&one, 2);
        let resamples = [&Resamples::new(1, 0), &Resamples::new(5, 0)];
        assert!(
            distance(&one, &x, resamples).unwrap_err().to_string().contains("needs at least 2 images, got 1")
        );
    }
}
