//! The Inception Score (Salimans et al. 2016): exp of the mean of KL(p(y|x) || p(y)), p(y) the mean of p(y|x).
//!
//! It is between 1 (every sample has the same p(y|x)) and the number of classes. It compares samples with no data, so that a
//! set of one good image of each class has the best score.

use super::features::Features;
use super::influence::deviation;
use crate::compute::splitmix::SplitMix;
use crate::ebm::Posterior;
use crate::error::Result;
use crate::evaluation::bootstrap::{Estimate, Resamples, map_resamples};

/// The number of splits of the published score.
pub const SPLITS: usize = 10;
/// The random number stream of the order of samples.
const ORDER: u64 = 3 << 32;

/// The Inception Score of a set of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct InceptionScore {
    /// The score of all samples, with an interval by its first-order expansion: a sample x changes the logarithm by
    /// KL(p(y|x) || p(y)).
    pub whole: Estimate,
    /// The mean of the scores of [`SPLITS`] equal parts of the samples, in random order, as publications report it. The
    /// score grows with the number of samples, so this is below that of all.
    pub split_mean: f64,
    /// The standard deviation of the scores of these parts, of divisor [`SPLITS`]. It is not the error of the mean.
    pub split_deviation: f64,
}

impl InceptionScore {
    /// The score for the `logits` of a classifier, `[n, classes]`. `seed` determines the order of the samples, so that
    /// parts do not follow the order of class-conditional samples.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for fewer samples than splits, or resamples of another number of images.
    pub fn new(logits: &Features, seed: u64, resamples: &Resamples) -> Result<Self> {
        logits.at_least(SPLITS, "an Inception Score of as many splits")?;
        logits.fits(resamples)?;
        let mut rows: Vec<Vec<f64>> =
            logits.rows().map(|row| Posterior::new(row, 1.0).probabilities).collect();
        let divergences = divergences(&rows);
        let value = mean(&divergences).exp();
        let sets = [(&divergences[..], resamples)];
        let whole = Estimate::new(value, map_resamples(|r| value * deviation(&sets, r).exp()));

        let mut random = SplitMix::new(seed, ORDER);
        for i in (1..rows.len()).rev() {
            rows.swap(i, random.below(i as u64 + 1) as usize);
        }
        let scores: Vec<f64> = (0..SPLITS)
            .map(|split| {
                let part = &rows[split * rows.len() / SPLITS..(split + 1) * rows.len() / SPLITS];
                mean(&self::divergences(part)).exp()
            })
            .collect();
        let split_mean = mean(&scores);
        let squares: Vec<f64> = scores.iter().map(|score| (score - split_mean).powi(2)).collect();
        Ok(Self { whole, split_mean, split_deviation: mean(&squares).sqrt() })
    }
}

/// KL(p(y|x) || p(y)) of each row of probabilities, in nats.
fn divergences(rows: &[Vec<f64>]) -> Vec<f64> {
    let classes = rows[0].len();
    let marginal: Vec<f64> = (0..classes)
        .map(|class| rows.iter().map(|row| row[class]).sum::<f64>() / rows.len() as f64)
        .collect();
    let term = |(p, q): (&f64, &f64)| if *p > 0.0 { p * (p / q).ln() } else { 0.0 };
    rows.iter().map(|row| row.iter().zip(&marginal).map(term).sum()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn score(logits: &[f32], classes: usize) -> InceptionScore {
        let logits = Features::new("logits", logits, classes).unwrap();
        InceptionScore::new(&logits, 1, &Resamples::new(logits.len(), 2)).unwrap()
    }

    /// Logits that give class i % classes all of the probability, to f64.
    fn certain(n: usize, classes: usize) -> Vec<f32> {
        (0..n * classes).map(|i| if i % classes == (i / classes) % classes { 2000.0 } else { 0.0 }).collect()
    }

    #[test]
    fn the_bounds_are_one_and_the_number_of_classes() {
        let best = score(&certain(4000, 10), 10);
        assert_relative_eq!(best.whole.value, 10.0, max_relative = 1e-12);
        assert!(best.split_mean < 10.0 && best.split_mean > 9.8, "{}", best.split_mean);
        assert!(best.split_deviation > 0.0 && best.split_deviation < 0.1);
        let worst = score(&[0.5; 4000], 10);
        for one in [worst.whole.value, worst.split_mean].into_iter().chain(worst.whole.interval().unwrap()) {
            assert_relative_eq!(one, 1.0, max_relative = 1e-12);
        }
        assert!(worst.split_deviation < 1e-12, "{}", worst.split_deviation);
        let collapsed = score(&certain(10, 10)[..10].repeat(300), 10);
        assert_relative_eq!(collapsed.whole.value, 1.0, max_relative = 1e-12);
    }

    #[test]
    fn samples_in_the_order_of_their_classes_have_the_score_of_any_order() {
        let rows = certain(10, 10);
        let sorted: Vec<f32> = rows.chunks(10).flat_map(|row| row.repeat(100)).collect();
        assert!(score(&sorted, 10).split_mean > 9.0, "a part of one class would have 1");
    }

    #[test]
    fn the_interval_is_that_of_the_bootstrap() {
        let (n, classes) = (600, 5);
        let mut random = SplitMix::new(3, 3);
        let logits: Vec<f32> =
            (0..n * classes).map(|i| random.uniform(0.0, 6.0) * (1.0 + (i % 2) as f32)).collect();
        let estimate = score(&logits, classes).whole;
        let [low, high] = estimate.interval().unwrap();
        let rows: Vec<Vec<f64>> =
            logits.chunks(classes).map(|row| Posterior::new(row, 1.0).probabilities).collect();
        let resamples = Resamples::new(n, 2);
        let real: Vec<f64> = (0..400)
            .map(|r| {
                let drawn = rows.iter().zip(resamples.counts(r));
                let drawn: Vec<Vec<f64>> =
                    drawn.flat_map(|(row, &count)| vec![row.clone(); usize::from(count)]).collect();
                mean(&divergences(&drawn)).exp()
            })
            .collect();
        let average = mean(&real);
        let squares: Vec<f64> = real.iter().map(|value| (value - average).powi(2)).collect();
        assert_relative_eq!(high - low, 2.0 * 1.96 * mean(&squares).sqrt(), max_relative = 0.12);
        assert!(low < estimate.value && estimate.value < high);
    }

    #[test]
    fn too_few_samples_are_refused() {
        let logits = Features::new("logits", &[0.0; 27], 3).unwrap();
        let message = InceptionScore::new(&logits, 0, &Resamples::new(9, 0)).unwrap_err().to_string();
        assert_eq!(message, "logits: an Inception Score of as many splits needs at least 10 images, got 9");
    }
}
