//! Intervals of figures that are too expensive to resample, from their first-order expansion.

use crate::evaluation::bootstrap::{Estimate, Resamples, map_resamples};

/// The estimate of `value`, which moves by the mean of the influences of the images that a resample draws, less that of
/// all images, for each of the `sets`: the influences of its images, and its resamples.
///
/// # Panics
/// For another number of resampled images.
pub(super) fn estimate(value: f64, sets: &[(&[f64], &Resamples)]) -> Estimate {
    Estimate::linear(value, &map_resamples(|resample| deviation(sets, resample)))
}

/// The deviation of a resample from the value.
pub(super) fn deviation(sets: &[(&[f64], &Resamples)], resample: usize) -> f64 {
    let of = |(influence, resamples): &(&[f64], &Resamples)| {
        let counts = resamples.counts(resample);
        assert_eq!(influence.len(), counts.len(), "a count for each image");
        let terms = influence.iter().zip(counts).map(|(value, &count)| (f64::from(count) - 1.0) * value);
        terms.sum::<f64>() / influence.len() as f64
    };
    sets.iter().map(of).sum()
}
