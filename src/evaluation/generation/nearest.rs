//! The training image nearest to each sample: copies would show.

use super::features::{Features, Vectors};
use super::influence;
use crate::error::{Error, Result};
use crate::evaluation::bootstrap::{Estimate, Resamples, quantile};

/// The number of training images that are in memory in float64 at a time.
const CHUNK: usize = 8192;
/// The share of test images whose distances count as suspiciously short.
pub const SHORT: f64 = 0.01;

/// The nearest image of a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its number; the first of equally near ones.
    pub index: usize,
    /// The Euclidean (L2) distance, in the units of the features.
    pub distance: f64,
}

/// The nearest image of `training`, `[m, d]`, to each of `images`, `[n, d]`: features, or the pixels themselves.
/// `goes_on` is called at times with the fraction of the work that is done. Returns `None` if it returns false.
///
/// # Errors
/// [`Error::Setting`] for sets of different dimensions.
pub fn nearest(
    images: &Features,
    training: &Features,
    goes_on: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Vec<Neighbour>>> {
    images.same_dimensions(training)?;
    let origin = images.mean();
    let of = Vectors::new(images, &origin);
    let mut nearest = vec![Neighbour { index: 0, distance: f64::INFINITY }; images.len()];
    for first in (0..training.len()).step_by(CHUNK) {
        if !goes_on(first as f64 / training.len() as f64) {
            return Ok(None);
        }
        let chunk = Vectors::new(&training.range(first..training.len().min(first + CHUNK)), &origin);
        let found = of.map_squared_distances(&chunk, |i, row| {
            let (mut index, mut least) = (0, f64::INFINITY);
            for (j, &squared) in row.iter().enumerate() {
                if squared < least {
                    (index, least) = (j, squared);
                }
            }
            Neighbour { index: first + index, distance: of.squared_distance(i, &chunk, index).sqrt() }
        });
        for (best, found) in nearest.iter_mut().zip(found) {
            if found.distance < best.distance {
                *best = found;
            }
        }
    }
    Ok(Some(nearest))
}

/// How near samples are to training images, beside test images, which are copies of none.
#[derive(Debug, Clone, PartialEq)]
pub struct Closeness {
    /// The probability that a sample is nearer to its nearest training image than a test image is to its own; ties count
    /// half (Meehan et al. 2020, "A non-parametric test to detect data-copying in generative models"). About 1/2 for
    /// samples like the test images, near 1 for copies, near 0 for samples far from all data.
    pub closer: Estimate,
    /// The share of samples with a distance below that of all but [`SHORT`] of the test images. About [`SHORT`] for
    /// samples like the test images. The interval resamples the samples alone.
    pub suspicious: Estimate,
    /// The median distances of samples and test images.
    pub medians: [f64; 2],
}

impl Closeness {
    /// Compares the distances of samples and of test images to the same training images.
    ///
    /// # Errors
    /// [`Error::Setting`] for no distances, distances that are NaN, or resamples of another number of images.
    pub fn new(
        samples: &[Neighbour],
        test: &[Neighbour],
        [of_samples, of_test]: [&Resamples; 2],
    ) -> Result<Self> {
        let sorted = |name: &str, of: &[Neighbour], resamples: &Resamples| -> Result<Vec<f64>> {
            let mut distances: Vec<f64> = of.iter().map(|neighbour| neighbour.distance).collect();
            if of.is_empty() || of.len() != resamples.len() || distances.iter().any(|value| value.is_nan()) {
                let message = format!(
                    "expected distances, at least one, and resamples of as many, got {} and {}",
                    of.len(),
                    resamples.len()
                );
                return Err(Error::setting(name, message));
            }
            distances.sort_unstable_by(f64::total_cmp);
            Ok(distances)
        };
        let sorted = [sorted("samples", samples, of_samples)?, sorted("test images", test, of_test)?];
        // The share of the other set that is farther than a distance.
        let farther = |others: &[f64], distance: f64| {
            let below = others.partition_point(|&other| other < distance);
            let up_to = others.partition_point(|&other| other <= distance);
            1.0 - (below + up_to) as f64 / (2 * others.len()) as f64
        };
        let of_sample: Vec<f64> = samples.iter().map(|sample| farther(&sorted[1], sample.distance)).collect();
        let of_image: Vec<f64> = test.iter().map(|image| 1.0 - farther(&sorted[0], image.distance)).collect();
        let value = of_sample.iter().sum::<f64>() / samples.len() as f64;
        let short = quantile(&sorted[1], SHORT);
        let suspicious: Vec<bool> = samples.iter().map(|sample| sample.distance < short).collect();
        Ok(Self {
            closer: influence::estimate(value, &[(&of_sample, of_samples), (&of_image, of_test)])
                .within(0.0, 1.0),
            suspicious: of_samples.share(&suspicious),
            medians: sorted.map(|distances| quantile(&distances, 0.5)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;
    use approx::assert_relative_eq;

    const D: usize = 12;

    fn set(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix::new(seed, 0);
        (0..n * D).map(|_| random.uniform(-1.0, 1.0)).collect()
    }

    fn find(images: &[f32], training: &[f32]) -> Vec<Neighbour> {
        let [images, training] = [images, training].map(|values| Features::new("images", values, D).unwrap());
        nearest(&images, &training, &mut |_| true).unwrap().unwrap()
    }

    fn closeness(samples: &[Neighbour], test: &[Neighbour]) -> Closeness {
        let resamples = [Resamples::new(samples.len(), 1), Resamples::new(test.len(), 2)];
        Closeness::new(samples, test, [&resamples[0], &resamples[1]]).unwrap()
    }

    #[test]
    fn the_nearest_image_is_that_of_the_definition() {
        // More training images than a chunk.
        let (images, mut training) = (set(20, 1), set(CHUNK + 50, 2));
        training[(CHUNK + 3) * D..][..D].copy_from_slice(&images[5 * D..][..D]);
        let found = find(&images, &training);
        for (image, found) in images.chunks(D).zip(&found) {
            let distance = |other: &[f32]| -> f64 {
                let squares = image.iter().zip(other).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                squares.sum::<f64>().sqrt()
            };
            let all: Vec<f64> = training.chunks(D).map(distance).collect();
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            assert_relative_eq!(found.distance, least, max_relative = 1e-12);
            assert_eq!(all[found.index], least);
        }
        assert_eq!(found[5], Neighbour { index: CHUNK + 3, distance: 0.0 });
    }

    #[test]
    fn the_search_can_be_stopped() {
        let (images, training) = (set(2, 1), set(CHUNK + 1, 2));
        let [images, training] =
            [&images, &training].map(|values| Features::new("images", values, D).unwrap());
        let mut fractions = Vec::new();
        let mut stop = |fraction| {
            fractions.push(fraction);
            fraction == 0.0
        };
        assert_eq!(nearest(&images, &training, &mut stop).unwrap(), None);
        assert_eq!(fractions, [0.0, CHUNK as f64 / (CHUNK as f64 + 1.0)]);
    }

    #[test]
    fn copies_show() {
        let training = set(1500, 3);
        let test = find(&set(600, 4), &training);
        let like = closeness(&find(&set(500, 5), &training), &test);
        let [low, high] = like.closer.interval().unwrap();
        assert!(low < 0.5 && high > 0.5 && high - low < 0.1, "[{low}, {high}]");
        assert!(like.suspicious.value < 0.03, "{:?}", like.suspicious.value);
        assert_relative_eq!(like.medians[0], like.medians[1], max_relative = 0.05);

        let copies: Vec<f32> = training[..500 * D].iter().map(|value| value + 1e-3).collect();
        let copied = closeness(&find(&copies, &training), &test);
        assert_eq!((copied.closer.value, copied.suspicious.value), (1.0, 1.0));
        let far: Vec<f32> = set(500, 6).iter().map(|value| value + 9.0).collect();
        let far = closeness(&find(&far, &training), &test);
        assert_eq!((far.closer.value, far.suspicious.value), (0.0, 0.0));
        // Ties count half.
        assert_relative_eq!(closeness(&test, &test).closer.value, 0.5, max_relative = 1e-12);
    }

    #[test]
    fn without_distances_there_is_no_comparison() {
        let one = [Neighbour { index: 0, distance: 1.0 }];
        let nan = [Neighbour { index: 0, distance: f64::NAN }];
        let resamples = Resamples::new(1, 0);
        let message =
            |a: &[Neighbour], b: &[Neighbour]| Closeness::new(a, b, [&resamples; 2]).unwrap_err().to_string();
        assert!(message(&[], &one).starts_with("samples: expected distances, at least one"));
        assert!(message(&one, &nan).starts_with("test images: "));
        assert!(message(&one, &[one[0]; 2]).starts_with("test images: "));
    }
}
