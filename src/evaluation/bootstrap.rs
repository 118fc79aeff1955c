//! Bootstrap intervals (Efron 1979): a statistic of resamples of the images, drawn with replacement.

use crate::compute::splitmix::SplitMix;
use rayon::prelude::*;

/// The number of resamples of an interval.
pub const RESAMPLES: usize = 1000;
/// The probability below a 95% interval, and above it.
const TAIL: f64 = 0.025;

/// Resamples of `n` images: how often each of them is drawn. Two statistics of the same `Resamples` are paired, also
/// those of two models, and `Resamples` of the same length and seed are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resamples {
    n: usize,
    /// The counts of each resample, `[RESAMPLES, n]`.
    counts: Vec<u8>,
}

impl Resamples {
    /// Draws [`RESAMPLES`] resamples of `n` images.
    pub fn new(n: usize, seed: u64) -> Self {
        let mut counts = vec![0u8; RESAMPLES * n];
        counts.par_chunks_exact_mut(n.max(1)).enumerate().for_each(|(resample, counts)| {
            let mut random = SplitMix::new(seed, resample as u64);
            for _ in 0..n {
                let count = &mut counts[random.below(n as u64) as usize];
                // No image is drawn 255 times from more than a few, and from these the rest changes nothing.
                *count = count.saturating_add(1);
            }
        });
        Self { n, counts }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The counts of one resample, `[n]`.
    ///
    /// # Panics
    /// For a resample that is not below [`RESAMPLES`].
    pub fn counts(&self, resample: usize) -> &[u8] {
        &self.counts[resample * self.n..][..self.n]
    }

    /// The value of `statistic` for `counts` of 1, and its interval by resampling. `statistic` takes how often each image
    /// counts.
    pub fn estimate(&self, statistic: impl Fn(&[u8]) -> f64 + Sync) -> Estimate {
        let value = statistic(&vec![1; self.n]);
        Estimate::new(value, map_resamples(|resample| statistic(self.counts(resample))))
    }

    /// The mean of `values`, one for each image, with its interval.
    ///
    /// # Panics
    /// For another number of values.
    pub fn mean(&self, values: &[f64]) -> Estimate {
        assert_eq!(values.len(), self.n, "a value for each image");
        self.estimate(|counts| {
            let sum: f64 = values.iter().zip(counts).map(|(value, &count)| value * f64::from(count)).sum();
            sum / counts.iter().map(|&count| f64::from(count)).sum::<f64>()
        })
    }

    /// The share of images that `is` marks, with its interval.
    ///
    /// # Panics
    /// For another number of marks.
    pub fn share(&self, is: &[bool]) -> Estimate {
        let values: Vec<f64> = is.iter().map(|&is| f64::from(u8::from(is))).collect();
        Estimate { of: Some(self.n), ..self.mean(&values).within(0.0, 1.0) }
    }
}

/// The statistic of each resample, in their order.
pub fn map_resamples(statistic: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    (0..RESAMPLES).into_par_iter().map(&statistic).collect()
}

/// A number with its bootstrap distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The statistic of the images themselves.
    pub value: f64,
    /// The statistic of each resample, in their order: those of two paired estimates belong together.
    resampled: Vec<f64>,
    /// The number of images, if the value is a share of them.
    of: Option<usize>,
    /// The least and the greatest value that there can be.
    range: [f64; 2],
}

impl Estimate {
    /// A value with the values of [`RESAMPLES`] resamples.
    pub fn new(value: f64, resampled: Vec<f64>) -> Self {
        Self { value, resampled, of: None, range: [f64::NEG_INFINITY, f64::INFINITY] }
    }

    /// The same value, which can only be from `low` to `high`, and so its interval.
    pub fn within(self, low: f64, high: f64) -> Self {
        Self { range: [low, high], ..self }
    }

    /// A value with the standard error of its first-order expansion, for a statistic that is too expensive to resample.
    /// `errors` are the resampled values of that expansion, of mean 0.
    pub fn linear(value: f64, errors: &[f64]) -> Self {
        Self::new(value, errors.iter().map(|error| value + error).collect())
    }

    /// The 95% interval: the percentiles of the resampled values, shifted by the bootstrap estimate of bias (their mean
    /// minus the value), so that it is an interval around the value also for figures that resampling moves one way, such
    /// as calibration errors. It contains the value, and stays within its range ([`Estimate::within`]). Where each resample has the same share, 0 or 1, it is the interval of Clopper and Pearson
    /// (1934). `None` if the value or every resampled value is NaN.
    pub fn interval(&self) -> Option<[f64; 2]> {
        if let Some(n) = self.of.filter(|&n| n > 0) {
            let bound = TAIL.powf(1.0 / n as f64);
            if self.value == 0.0 {
                return Some([0.0, 1.0 - bound]);
            }
            if self.value == 1.0 {
                return Some([bound, 1.0]);
            }
        }
        let mut sorted: Vec<f64> = self.resampled.iter().copied().filter(|value| !value.is_nan()).collect();
        if self.value.is_nan() || sorted.is_empty() {
            return None;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let bias = sorted.iter().sum::<f64>() / sorted.len() as f64 - self.value;
        let bias = if bias.is_finite() { bias } else { 0.0 };
        let [low, high] = [TAIL, 1.0 - TAIL].map(|share| quantile(&sorted, share) - bias);
        let [least, greatest] = self.range;
        Some([low.min(self.value).max(least), high.max(self.value).min(greatest)])
    }

    /// The paired difference to another estimate from equal resamples.
    pub fn minus(&self, other: &Self) -> Self {
        let resampled = self.resampled.iter().zip(&other.resampled).map(|(a, b)| a - b).collect();
        Self::new(self.value - other.value, resampled)
    }
}

/// The `share`-quantile of ascending values, interpolated linearly between neighbours.
///
/// # Panics
/// Without values.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    match sorted.get(below + 1) {
        Some(above) if part > 0.0 => sorted[below] + part * (above - sorted[below]),
        _ => sorted[below],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn a_resample_draws_as_many_images_as_there_are() {
        let resamples = Resamples::new(100, 3);
        assert_eq!((resamples.len(), resamples.is_empty()), (100, false));
        for resample in [0, 1, RESAMPLES - 1] {
            assert_eq!(resamples.counts(resample).iter().map(|&c| u32::from(c)).sum::<u32>(), 100);
        }
        assert_ne!(resamples.counts(0), resamples.counts(1));
        assert_eq!(resamples, Resamples::new(100, 3));
        assert_ne!(resamples, Resamples::new(100, 4));
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        let mut random = SplitMix::new(1, 1);
        let values: Vec<f64> = (0..2000).map(|_| f64::from(random.uniform(0.0, 1.0))).collect();
        let estimate = Resamples::new(2000, 0).mean(&values);
        let mean = values.iter().sum::<f64>() / 2000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2000.0;
        let half = 1.96 * (variance / 2000.0).sqrt();
        assert_relative_eq!(estimate.value, mean, max_relative = 1e-12);
        let [low, high] = estimate.interval().unwrap();
        assert_relative_eq!(low, mean - half, epsilon = 0.1 * half);
        assert_relative_eq!(high, mean + half, epsilon = 0.1 * half);
    }

    #[test]
    fn paired_differences_are_narrower_than_unpaired_ones() {
        let mut random = SplitMix::new(2, 1);
        let a: Vec<f64> = (0..500).map(|_| f64::from(random.uniform(0.0, 1.0))).collect();
        let b: Vec<f64> = a.iter().map(|a| a + 0.01).collect();
        let resamples = Resamples::new(500, 0);
        let difference = resamples.mean(&b).minus(&resamples.mean(&a));
        let [low, high] = difference.interval().unwrap();
        assert_relative_eq!(difference.value, 0.01, epsilon = 1e-12);
        assert!(high - low < 1e-12, "[{low}, {high}]");
        let unpaired = resamples.mean(&b).minus(&Resamples::new(500, 1).mean(&a)).interval().unwrap();
        assert!(unpaired[1] - unpaired[0] > 0.05, "{unpaired:?}");
    }

    #[test]
    fn shares_of_none_and_all_have_exact_intervals() {
        let resamples = Resamples::new(500, 0);
        let [low, high] = resamples.share(&[false; 500]).interval().unwrap();
        // The rule of three has 3/n for 95% on one side; two sides have 3.69/n.
        assert_eq!(low, 0.0);
        assert_relative_eq!(high, 3.6889 / 500.0, max_relative = 5e-3);
        assert_eq!(resamples.share(&[true; 500]).interval().unwrap(), [1.0 - high, 1.0]);
        let some: Vec<bool> = (0..500).map(|i| i < 5).collect();
        let [low, high] = resamples.share(&some).interval().unwrap();
        // The normal approximation has 0.01 ± 0.0087.
        assert_relative_eq!(low, 0.0013, epsilon = 2e-3);
        assert_relative_eq!(high, 0.0187, epsilon = 2e-3);
    }

    #[test]
    fn a_biased_statistic_has_an_interval_around_its_value() {
        // The maximum of resamples is at most that of the images.
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let estimate = Resamples::new(100, 0).estimate(|counts| {
            values.iter().zip(counts).filter(|(_, count)| **count > 0).fold(0.0, |high, (v, _)| v.max(high))
        });
        let [low, high] = estimate.interval().unwrap();
        assert!(low < 99.0 && high > 99.0, "[{low}, {high}]");
    }

    #[test]
    fn an_interval_contains_the_value_and_keeps_its_range() {
        // At the end of its range a share can only be resampled downwards.
        let resampled: Vec<f64> = (0..RESAMPLES).map(|i| if i < 100 { 0.9 } else { 1.0 }).collect();
        let estimate = Estimate::new(1.0, resampled);
        let [low, high] = estimate.interval().unwrap();
        assert!(low < 1.0 && high > 1.0, "[{low}, {high}]");
        assert_eq!(estimate.within(0.0, 1.0).interval().unwrap(), [low, 1.0]);
        let same = Estimate::new(0.8, vec![0.9; RESAMPLES]).interval().unwrap();
        assert_relative_eq!(same[0], 0.8, max_relative = 1e-12);
        assert_relative_eq!(same[1], 0.8, max_relative = 1e-12);
    }

    #[test]
    fn undefined_values_have_no_interval() {
        assert_eq!(Estimate::new(f64::NAN, vec![1.0; RESAMPLES]).interval(), None);
        assert_eq!(Estimate::new(1.0, vec![f64::NAN; RESAMPLES]).interval(), None);
        let mut some = vec![f64::NAN; RESAMPLES];
        some[..500].fill(1.0);
        assert_eq!(Estimate::new(1.0, some).interval(), Some([1.0, 1.0]));
        assert_eq!(Resamples::new(0, 0).counts(0), [0u8; 0]);
    }

    #[test]
    fn quantiles_are_numpys() {
        let values = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert_relative_eq!(quantile(&values, share), expected, max_relative = 1e-12);
        }
        assert_relative_eq!(quantile(&[5.0], 0.3), 5.0);
    }
}
