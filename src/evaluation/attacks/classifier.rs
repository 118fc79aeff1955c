//! A network on a device as a victim of attacks.

use super::losses::Loss;
use super::programs::{Programs, Setup};
use super::victim::{Answer, Victim};
use crate::device::Device;
use crate::ebm::Model;
use crate::error::Result;
use crate::nn::network::Network;
use std::sync::Arc;

/// A trained classifier, with the running statistics of its batch norms.
#[derive(Debug)]
pub struct Classifier(Programs);

impl Classifier {
    /// `model` on `device`, at most `batch` images at a time.
    ///
    /// # Errors
    /// An error of the device or of the model's file; [`crate::Error::Setting`] for a batch of 0.
    pub fn new(device: &Device, model: &Model, batch: usize) -> Result<Self> {
        let parameters = model.parameters(&model.network().layout())?;
        Self::of(device, Arc::clone(model.network()), model.image_shape(), &parameters, batch)
    }

    /// `network` with `parameters`, for images of shape `image` (rows, columns, channels).
    ///
    /// # Errors
    /// The errors of [`Classifier::new`].
    pub fn of(
        device: &Device,
        network: Arc<dyn Network>,
        image: [usize; 3],
        parameters: &[f32],
        batch: usize,
    ) -> Result<Self> {
        Ok(Self(Programs::new(
            device,
            Setup { network, image, batch, copies: 1, unrolled: None },
            parameters,
        )?))
    }
}

impl Victim for Classifier {
    fn image(&self) -> [usize; 3] {
        self.0.setup().image
    }

    fn classes(&self) -> usize {
        self.0.setup().network.classes()
    }

    fn batch(&self) -> usize {
        self.0.setup().batch
    }

    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        self.0.logits(images)
    }

    fn gradient(&mut self, loss: Loss, images: &[f32], labels: &[u32], targets: &[u32]) -> Result<Answer> {
        self.0.gradient(loss, images, labels, targets)
    }
}
