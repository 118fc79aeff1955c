//! The samples that a run shows.

use super::Trainer;
use crate::device::Key;
use crate::ebm::programs::{IMAGES, REPLAY};
use crate::error::Result;
use crate::kernels::replay_scatter::DISCARDED;

/// The number of chains of each class in a picture.
const GALLERY: usize = 10;

impl Trainer {
    /// The samples of the last iteration, NHWC; empty without sampling, and before log p(x) joins. After an iteration
    /// that was stopped, and after [`Trainer::restore`], only the samples that the replay buffer has.
    ///
    /// # Errors
    /// An error of the device.
    pub fn samples(&self) -> Result<Vec<f32>> {
        let last = self.iteration.checked_sub(1).filter(|&last| !self.recipe.is_early(last));
        let Some(last) = last.filter(|_| self.batch.samples > 0) else { return Ok(Vec::new()) };
        if self.sampled == Some(last) {
            return self.images(IMAGES, self.batch.data, self.batch.samples);
        }
        let mut images = Vec::new();
        for target in self.chains.draw(&self.recipe, self.seed(), last).targets {
            if target != DISCARDED {
                images.extend(self.images(REPLAY, target as usize, 1)?);
            }
        }
        Ok(images)
    }

    /// Samples to show, NHWC, and the number in a row, if it matters: with class-conditional sampling a row of chains
    /// of the replay buffer for each class, else those of [`Trainer::samples`].
    ///
    /// # Errors
    /// An error of the device.
    pub fn gallery(&self) -> Result<(Vec<f32>, Option<usize>)> {
        let early = self.recipe.is_early(self.iteration.saturating_sub(1));
        if !self.recipe.class_conditional || self.batch.samples == 0 || early {
            return Ok((self.samples()?, None));
        }
        let part = self.recipe.buffer / self.network.classes();
        let each = part.min(GALLERY);
        let mut images = Vec::new();
        for class in 0..self.network.classes() {
            images.extend(self.images(REPLAY, class * part, each)?);
        }
        Ok((images, Some(each)))
    }

    /// Reads `count` images from number `first` on of a buffer of images.
    fn images(&self, slot: Key<f32>, first: usize, count: usize) -> Result<Vec<f32>> {
        let image = self.batch.image() as u64 * 4;
        let pending =
            self.device.read_later(self.buffers.get(slot), first as u64 * image, count as u64 * image)?;
        Ok(bytemuck::pod_collect_to_vec(&pending.wait()?))
    }
}
