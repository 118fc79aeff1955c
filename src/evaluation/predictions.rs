//! The logits of labelled images, with what follows from them in float64.

use crate::error::{Error, Result};

/// The logits of images and their classes. Differences to the greatest logit are taken before anything is exponentiated,
/// so that nothing overflows, and no probability is subtracted from 1, so that none saturates.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    classes: usize,
    /// f(x), `[n, classes]`.
    logits: Vec<f32>,
    labels: Vec<u32>,
}

/// The posterior p(y|x) of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Top {
    /// The class of the greatest logit; the first among equals.
    pub class: usize,
    /// The greatest logit.
    pub logit: f64,
    /// log Σ exp(f(y) - f(class)) over the other classes: log (1-p)/p for p the greatest probability. Minus infinity
    /// for a single class.
    pub log_others: f64,
}

impl Top {
    /// The greatest of `logits`.
    ///
    /// # Panics
    /// Without logits.
    pub fn of(logits: &[f32]) -> Self {
        let mut class = 0;
        for (i, &logit) in logits.iter().enumerate() {
            if logit > logits[class] {
                class = i;
            }
        }
        let logit = f64::from(logits[class]);
        let others =
            || logits.iter().enumerate().filter(|(i, _)| *i != class).map(|(_, &other)| f64::from(other));
        let second = others().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = others().map(|other| (other - second).exp()).sum::<f64>().ln();
        let log_others = if logits.len() > 1 { second - logit + log_sum } else { f64::NEG_INFINITY };
        Self { class, logit, log_others }
    }

    /// Σ exp(f(y) - f(class)) over the other classes: 1/p - 1 for p the greatest probability.
    pub fn others(&self) -> f64 {
        self.log_others.exp()
    }

    /// max_y p(y|x), the confidence.
    pub fn probability(&self) -> f64 {
        1.0 / (1.0 + self.others())
    }

    /// LogSumExp_y f(y).
    pub fn logsumexp(&self) -> f64 {
        self.logit + self.others().ln_1p()
    }
}

impl Predictions {
    /// The `logits` `[n, classes]` of images of classes `labels`.
    ///
    /// # Errors
    /// [`Error::Setting`] for no images, another number of logits, a logit that is not finite, or a label that is not
    /// a class, with the number of the image.
    pub fn new(logits: Vec<f32>, labels: Vec<u32>, classes: usize) -> Result<Self> {
        let wrong = |message: String| Err(Error::setting("logits", message));
        if labels.is_empty() || logits.len() != labels.len() * classes {
            return wrong(format!(
                "expected {classes} for each of {} images, got {}",
                labels.len(),
                logits.len()
            ));
        }
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            return wrong(format!("image {} has the logit {}", at / classes, logits[at]));
        }
        if let Some(at) = labels.iter().position(|&label| label as usize >= classes) {
            let message = format!("image {at} has the class {}, expected below {classes}", labels[at]);
            return Err(Error::setting("labels", message));
        }
        Ok(Self { classes, logits, labels })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images, which [`Predictions::new`] refuses.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The logits of each image with its class.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[f32], usize)> {
        self.logits.chunks_exact(self.classes).zip(self.labels.iter().map(|&label| label as usize))
    }

    /// The greatest probability of each image, and whether its class is the image's.
    pub fn tops(&self) -> Vec<(Top, bool)> {
        let top = |(row, label): (&[f32], usize)| {
            let top = Top::of(row);
            (top, top.class == label)
        };
        self.rows().map(top).collect()
    }

    /// The logits divided by `temperature`.
    pub fn tempered(&self, temperature: f64) -> Self {
        let logits = self.logits.iter().map(|&logit| (f64::from(logit) / temperature) as f32).collect();
        Self { logits, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::says::assert_says;
    use approx::assert_relative_eq;

    #[test]
    fn nothing_saturates() {
        let top = Top::of(&[0.0, 60.0, -5.0]);
        assert_eq!((top.class, top.probability()), (1, 1.0));
        assert_relative_eq!(top.others(), (-60f64).exp() + (-65f64).exp(), max_relative = 1e-15);
        assert_relative_eq!(Top::of(&[3e38, -3e38]).logsumexp(), f64::from(3e38f32));
        assert_eq!(Top::of(&[2.0, 2.0]), Top { class: 0, logit: 2.0, log_others: 0.0 });
        assert_eq!(Top::of(&[0.0, 5e3]).log_others, -5e3);
        assert_relative_eq!(Top::of(&[2.0]).logsumexp(), 2.0);
    }

    #[test]
    fn wrong_numbers_are_named() {
        let new = |logits: &[f32], labels: &[u32]| Predictions::new(logits.to_vec(), labels.to_vec(), 2);
        assert_eq!(new(&[1.0, 2.0], &[1]).unwrap().len(), 1);
        assert_says(&new(&[], &[]).unwrap_err().to_string(), &["0 images"]);
        assert_says(&new(&[1.0], &[0]).unwrap_err().to_string(), &["2 for each of 1", "got 1"]);
        assert_says(&new(&[1.0, 2.0, 3.0, f32::NAN], &[0, 1]).unwrap_err().to_string(), &["image 1", "NaN"]);
        assert_says(&new(&[1.0, 2.0], &[2]).unwrap_err().to_string(), &["image 0", "class 2", "below 2"]);
    }
}
