//! Accuracy and energies of a whole data set.

use super::scorer::{Posterior, ScoreSettings, Scorer, Scores};
use crate::data::Dataset;
use crate::data::images::from_byte;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::nn::network::Network;
use serde::{Deserialize, Deserializer, Serialize};

/// The scores of a model on a data set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Accuracy; NaN (in JSON null) for an energy without classes.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// Mean cross-entropy, in nats; 0 for an energy without classes.
    pub cross_entropy: f64,
    /// Mean energy -LogSumExp f(x).
    pub energy: f64,
    /// Expected calibration error (Guo et al. 2017) with 15 bins of equal width: the mean over all images of |accuracy -
    /// mean confidence| of an image's bin, in [0, 1]; NaN (in JSON null) for an energy without classes.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub calibration_error: f64,
}

/// The bins of the expected calibration error.
const BINS: usize = 15;

fn nan() -> f64 {
    f64::NAN
}

/// Reads a number; null is NaN, because JSON has no NaN.
pub(super) fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Scores a data set without augmentation or noise, with the parameters of a model in training as they are now.
#[derive(Debug)]
pub struct Evaluator {
    scorer: Scorer,
    data: Dataset,
    classes: usize,
    batch: usize,
}

impl Evaluator {
    /// Loads the programs that score `data` with the parameters in `parameters`, `batch` images at a time.
    ///
    /// # Errors
    /// An error of the device, such as [`crate::Error::DeviceLost`].
    pub fn new(
        device: &Device,
        network: &dyn Network,
        parameters: &Buffer,
        data: &Dataset,
        batch: usize,
    ) -> Result<Self> {
        let batch = batch.min(data.len());
        let image = [data.height, data.width, data.channels];
        let scorer =
            Scorer::in_training(device, network, parameters, image, ScoreSettings::default(), batch)?;
        Ok(Self { scorer, data: data.clone(), classes: network.classes(), batch })
    }

    /// Scores every image.
    ///
    /// # Errors
    /// An error of the device, such as [`crate::Error::DeviceLost`].
    pub fn evaluate(&self) -> Result<Evaluation> {
        Ok(self.evaluate_while(|_| true)?.expect("nothing stops it"))
    }

    /// Scores every image. Returns `None` if `goes_on` returns false. `goes_on` is called before each batch and at
    /// times within it, with the number of scored images, an estimate within a batch. It must not use the device.
    ///
    /// # Errors
    /// An error of the device, such as [`crate::Error::DeviceLost`].
    pub fn evaluate_while(&self, mut goes_on: impl FnMut(usize) -> bool) -> Result<Option<Evaluation>> {
        let n = self.data.len();
        self.scorer.prepare()?;
        let [mut correct, mut cross_entropy, mut energy] = [0.0; 3];
        // For each bin of confidences, the sum of (correct - confidence).
        let mut bins = [0.0; BINS];
        for first in (0..n).step_by(self.batch) {
            let count = self.batch.min(n - first);
            // The last batch is padded with its first image; the extra rows are not counted.
            let images = (0..self.batch).map(|i| self.data.image(first + if i < count { i } else { 0 }));
            let images: Vec<f32> = images.flatten().map(|&byte| from_byte(byte)).collect();
            let goes_on = |part: f64| goes_on(first + (part * count as f64) as usize);
            let Some(Scores { logits, .. }) = self.scorer.score_while(&images, goes_on)? else {
                return Ok(None);
            };
            for (row, &label) in logits.chunks(self.classes).zip(&self.data.labels[first..first + count]) {
                let posterior = Posterior::new(row, 1.0);
                // An energy without classes has one output, whatever the label.
                let label = if self.classes > 1 { label as usize } else { 0 };
                let right = f64::from(u8::from(posterior.prediction == label));
                let confidence = posterior.probabilities[posterior.prediction];
                correct += right;
                bins[((confidence * BINS as f64) as usize).min(BINS - 1)] += right - confidence;
                cross_entropy += posterior.logsumexp - f64::from(row[label]);
                energy -= posterior.logsumexp;
            }
        }
        let [accuracy, cross_entropy, energy] = [correct, cross_entropy, energy].map(|sum| sum / n as f64);
        let calibration_error = bins.iter().map(|sum: &f64| sum.abs()).sum::<f64>() / n as f64;
        let of_classes = |value: f64| if self.classes > 1 { value } else { f64::NAN };
        let [accuracy, calibration_error] = [accuracy, calibration_error].map(of_classes);
        Ok(Some(Evaluation { accuracy, cross_entropy, energy, calibration_error }))
    }
}
