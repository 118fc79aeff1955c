//! The model under attack, as attacks see it: logits, and gradients of losses at the images.

use super::losses::Loss;
use crate::error::Result;

/// A classifier under attack. Images are NHWC in [-1, 1]; each call takes 1 to [`Victim::batch`] of them.
pub trait Victim {
    /// Rows, columns and channels of an image.
    fn image(&self) -> [usize; 3];

    /// Classes.
    fn classes(&self) -> usize;

    /// The largest number of images of a call.
    fn batch(&self) -> usize;

    /// Whether equal calls give different numbers. An image that a random classifier gets wrong is then asked for again
    /// before it counts.
    fn is_random(&self) -> bool {
        false
    }

    /// The logits of images, `[n, classes]`.
    ///
    /// # Errors
    /// An error of the device.
    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>>;

    /// The logits of images, `[n, classes]`, and the gradient of each image's loss at it, NHWC. `targets` are the
    /// classes that targeted losses aim at; others ignore them.
    ///
    /// # Errors
    /// An error of the device.
    fn gradient(&mut self, loss: Loss, images: &[f32], labels: &[u32], targets: &[u32]) -> Result<Answer>;
}

/// The logits of images, and the gradients of their losses.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `[n, classes]`.
    pub logits: Vec<f32>,
    /// NHWC.
    pub gradient: Vec<f32>,
}
