//! The classes of samples, by the predictions of a classifier: classes that are missing or rare would show.

use crate::error::{Error, Result};
use crate::evaluation::bootstrap::{Estimate, Resamples};

/// The deviation from 1 that rounding may cause in the sum of a distribution.
const SUM: f64 = 1e-6;

/// How samples spread over classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    /// The number of samples that are predicted to be of each class.
    pub counts: Vec<usize>,
    /// The entropy of the histogram, in nats; at most the logarithm of the number of classes.
    pub entropy: Estimate,
    /// The total variation distance of the histogram from the expected distribution, 1/2 Σ |p - q|: the share of
    /// samples that would have to be of another class.
    pub total_variation: Estimate,
}

impl Modes {
    /// Counts the predicted classes. `expected` is the distribution to compare with: a share for each class.
    ///
    /// # Errors
    /// [`Error::Setting`] for a class that is not below the number of classes, shares that are no distribution, no
    /// samples, or resamples of another number of samples.
    pub fn new(predictions: &[usize], expected: &[f64], resamples: &Resamples) -> Result<Self> {
        let sum: f64 = expected.iter().sum();
        if expected.iter().any(|share| !share.is_finite() || *share < 0.0) || (sum - 1.0).abs() > SUM {
            let message = format!("expected shares of at least 0 with the sum 1, got the sum {sum}");
            return Err(Error::setting("expected classes", message));
        }
        let fail = |message: String| Err(Error::setting("predictions", message));
        if predictions.is_empty() || predictions.len() != resamples.len() {
            return fail(format!(
                "expected at least one, and resamples of as many, got {} and {}",
                predictions.len(),
                resamples.len()
            ));
        }
        if let Some(class) = predictions.iter().find(|class| **class >= expected.len()) {
            return fail(format!("expected classes below {}, got {class}", expected.len()));
        }
        let histogram = |counts: &[u8]| {
            let mut histogram = vec![0.0; expected.len()];
            for (&class, &count) in predictions.iter().zip(counts) {
                histogram[class] += f64::from(count);
            }
            let all: f64 = histogram.iter().sum();
            histogram.iter_mut().for_each(|count| *count /= all);
            histogram
        };
        let entropy = |counts: &[u8]| {
            let terms = histogram(counts).into_iter().filter(|share| *share > 0.0);
            // Plus 0, so that one class has the entropy 0, not -0.
            0.0 - terms.map(|share| share * share.ln()).sum::<f64>()
        };
        let total_variation = |counts: &[u8]| {
            let differences = histogram(counts).into_iter().zip(expected).map(|(p, q)| (p - q).abs());
            0.5 * differences.sum::<f64>()
        };
        let mut counts = vec![0; expected.len()];
        predictions.iter().for_each(|&class| counts[class] += 1);
        let (entropy, total_variation) = (
            resamples.estimate(entropy).within(0.0, (expected.len() as f64).ln()),
            resamples.estimate(total_variation).within(0.0, 1.0),
        );
        Ok(Self { counts, entropy, total_variation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn even_and_collapsed_samples() {
        let resamples = Resamples::new(1000, 1);
        let even: Vec<usize> = (0..1000).map(|i| i % 10).collect();
        let found = Modes::new(&even, &[0.1; 10], &resamples).unwrap();
        assert_eq!(found.counts, [100; 10]);
        assert_relative_eq!(found.entropy.value, 10f64.ln(), max_relative = 1e-14);
        assert_relative_eq!(found.total_variation.value, 0.0, epsilon = 1e-14);
        let collapsed = Modes::new(&[3; 1000], &[0.1; 10], &resamples).unwrap();
        assert_eq!((collapsed.counts[3], collapsed.entropy.value), (1000, 0.0));
        assert_relative_eq!(collapsed.total_variation.value, 0.9, max_relative = 1e-14);
        // Three quarters and a quarter, beside a half each.
        let some: Vec<usize> = (0..1000).map(|i| usize::from(i % 4 == 0)).collect();
        let found = Modes::new(&some, &[0.5, 0.5], &resamples).unwrap();
        assert_relative_eq!(found.total_variation.value, 0.25, max_relative = 1e-14);
        let [low, high] = found.total_variation.interval().unwrap();
        // 1.96 sqrt(p (1 - p) / n).
        assert_relative_eq!(high - low, 2.0 * 0.02684, max_relative = 0.1);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let message = |predictions: &[usize], expected: &[f64]| {
            Modes::new(predictions, expected, &Resamples::new(2, 0)).unwrap_err().to_string()
        };
        assert_eq!(message(&[0, 2], &[0.5, 0.5]), "predictions: expected classes below 2, got 2");
        assert!(message(&[0], &[0.5, 0.5]).contains("got 1 and 2"));
        assert!(message(&[0, 0], &[0.5, 0.4]).contains("the sum 0.9"));
        assert!(message(&[0, 0], &[1.5, -0.5]).contains("shares of at least 0"));
        assert!(message(&[0, 0], &[f64::NAN, 1.0]).contains("shares of at least 0"));
    }
}
