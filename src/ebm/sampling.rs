//! Chains of a trained model, in batches on a device.

use super::chain_source::ChainSource;
use super::langevin::Langevin;
use super::model::Model;
use super::sampler::Sampler;
use crate::device::Device;
use crate::error::Result;
use crate::nn::architecture::NormMode;

/// Chains to run.
#[derive(Debug, Clone)]
pub struct Sampling<'a> {
    /// The model.
    pub model: &'a Model,
    /// The statistics that batch normalisation uses, if the model has it.
    pub mode: NormMode,
    /// The settings of SGLD.
    pub langevin: Langevin,
    /// The starting images.
    pub start: &'a ChainSource,
    /// The classes of class-conditional chains, each of as many chains, one class after the other; empty: chains of p(x).
    pub classes: &'a [u32],
    /// The number of chains, a multiple of the number of classes.
    pub count: usize,
    /// The number of SGLD steps.
    pub steps: usize,
    /// The largest number of chains of a batch.
    pub batch: usize,
    /// The seed of the noise.
    pub seed: u32,
    /// The elements of an image that change (others are 0), if not all do.
    pub mask: Option<&'a [f32]>,
}

/// A batch of chains at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The number of the batch.
    pub batch: usize,
    /// The number of its first chain.
    pub first: usize,
    /// The number of its chains. The sampler may have more, at the end, which belong to no one.
    pub chains: usize,
    /// The number of steps that are done.
    pub step: usize,
}

/// Sees chains as they move.
pub trait Observer {
    /// Called with the batch before each step, and after the last.
    ///
    /// # Errors
    /// Any error ends the chains.
    fn at(&mut self, moment: Moment, sampler: &Sampler) -> Result<()>;

    /// Called after [`Observer::at`] with the log density of each of the batch's chains at this step, up to a constant, in
    /// nats: log p(x), or log p(x|y). Returns whether to go on.
    ///
    /// # Errors
    /// Any error ends the chains.
    fn log_density(&mut self, moment: Moment, log_density: &[f32]) -> Result<bool>;
}

impl Sampling<'_> {
    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.count.div_ceil(self.batch)
    }

    /// The class of a chain.
    pub fn class(&self, chain: usize) -> Option<u32> {
        (!self.classes.is_empty()).then(|| self.classes[chain / (self.count / self.classes.len())])
    }

    /// The number of chains of a batch: all batches have about as many.
    pub fn chains(&self) -> usize {
        self.count.div_ceil(self.batches())
    }

    /// Loads the programs.
    ///
    /// # Errors
    /// The errors of [`Sampler::new`].
    pub fn sampler(&self, device: &Device) -> Result<Sampler> {
        let conditional = !self.classes.is_empty();
        Sampler::new(device, self.model, self.mode, self.langevin, self.chains(), conditional, self.mask)
    }

    /// Runs the chains of all batches in `sampler`, one batch after the other. Returns whether they came to their end:
    /// false if `observer` stopped them.
    ///
    /// # Errors
    /// An error of the device or of `observer`.
    pub fn run(&self, sampler: &Sampler, observer: &mut dyn Observer) -> Result<bool> {
        let chains = self.chains();
        for (batch, first) in (0..self.count).step_by(chains).enumerate() {
            let kept = chains.min(self.count - first);
            // The last batch is padded with chains that are discarded.
            let all = (first..first + chains).map(|chain| chain.min(self.count - 1));
            let labels: Vec<u32> = all.clone().map(|chain| self.class(chain).unwrap_or(0)).collect();
            let images: Vec<f32> = all.flat_map(|chain| self.start.image(chain, self.class(chain))).collect();
            sampler.start(&images, &labels, self.seed, (batch * self.steps) as u32)?;
            for step in 0..=self.steps {
                let moment = Moment { batch, first, chains: kept, step };
                observer.at(moment, sampler)?;
                let log_density = if step < self.steps { sampler.step()? } else { sampler.density()? };
                if !observer.log_density(moment, &log_density[..kept])? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
