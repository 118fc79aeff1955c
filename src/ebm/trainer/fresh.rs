//! The fresh chains of a model in training.

use super::Trainer;
use crate::ebm::FreshChains;
use crate::ebm::programs::BatchLayout;
use crate::error::Result;

impl Trainer {
    /// The fresh chains of the recipe, from its start distribution, with the parameters in training, or with their
    /// moving averages if the recipe has them.
    ///
    /// # Errors
    /// An error of the device.
    pub fn fresh_chains(&self) -> Result<FreshChains> {
        let start = |seed, chain| self.chains.start(&self.recipe, seed, chain, self.batch.image());
        let BatchLayout { height, width, channels, .. } = self.batch;
        let parameters = self.buffers.get(self.model_slot());
        let image = [height, width, channels];
        FreshChains::new(&self.device, &self.recipe, &*self.network, parameters, image, start)
    }

    /// Whether `fresh` samples this trainer's model with its recipe's SGLD.
    pub fn is_followed_by(&self, fresh: &FreshChains) -> bool {
        fresh.samples(&self.recipe, self.buffers.get(self.model_slot()))
    }
}
