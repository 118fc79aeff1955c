//! Samples of a model by stated chains, without selection, and the same chains as they grow longer.

use super::diversity::diversity;
use super::features::Features;
use crate::device::Device;
use crate::ebm::{Moment, Observer, Sampler, Sampling};
use crate::error::{Error, Result};
use crate::evaluation::bootstrap::{Estimate, Resamples};

/// The numbers of steps after which fresh chains are compared with data. Chains of models that were trained with short
/// ones often climb past the data when they go on (Nijkamp et al. 2019, "Learning non-convergent non-persistent short-run
/// MCMC toward energy-based model").
pub const LENGTHS: [usize; 4] = [10, 100, 1_000, 10_000];

/// All chains after a number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The number of SGLD steps.
    pub steps: usize,
    /// The images of all chains in their order, NHWC; beyond [-1, 1] where the settings do not clamp them.
    pub images: Vec<f32>,
    /// The energy -LogSumExp f(x) of each chain, up to a constant, in nats; also of class-conditional chains.
    pub energies: Vec<f32>,
    /// The chains that have diverged: their energy or a pixel is not finite.
    pub diverged: Vec<usize>,
}

/// Runs chains, and keeps all of them after each of the numbers of steps `at`, which are ascending and at most
/// `sampling.steps`. A diverged chain goes on, and is in [`Snapshot::diverged`]. `goes_on` is called before each step
/// with the fraction of the work that is done; returns `None` if it returns false. It must not use the device.
///
/// # Errors
/// [`Error::Setting`] for `at` in another order or beyond the steps, no chains, chains that are no multiple of the
/// classes, or more chains than the start has; an error of the device.
pub fn run(
    device: &Device,
    sampling: &Sampling,
    at: &[usize],
    goes_on: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Vec<Snapshot>>> {
    check(sampling, at)?;
    let snapshot =
        |&steps: &usize| Snapshot { steps, images: Vec::new(), energies: Vec::new(), diverged: Vec::new() };
    let mut seen = Seen {
        snapshots: at.iter().map(snapshot).collect(),
        image: sampling.model.image_shape().iter().product(),
        steps: sampling.steps,
        batches: sampling.batches(),
        goes_on,
    };
    let sampler = sampling.sampler(device)?;
    let ended = sampling.run(&sampler, &mut seen)?;
    Ok(ended.then_some(seen.snapshots))
}

fn check(sampling: &Sampling, at: &[usize]) -> Result<()> {
    let &Sampling { steps, count, batch, classes, .. } = sampling;
    if at.is_empty() || !at.is_sorted() || at.iter().any(|at| *at > steps) {
        let message = format!("expected ascending numbers of at most {steps} steps, got {at:?}");
        return Err(Error::setting("steps", message));
    }
    let rows = classes.len().max(1);
    if count == 0 || batch == 0 || !count.is_multiple_of(rows) {
        let message = format!(
            "expected a multiple of {rows} chains, in batches of at least 1, got {count} in batches of {batch}"
        );
        return Err(Error::setting("chains", message));
    }
    match sampling.start.available(classes) {
        Some((available, what)) if count > available => {
            Err(Error::setting("chains", format!("expected at most {available}, {what}, got {count}")))
        }
        _ => Ok(()),
    }
}

/// The snapshots so far.
struct Seen<'a> {
    snapshots: Vec<Snapshot>,
    image: usize,
    steps: usize,
    batches: usize,
    goes_on: &'a mut dyn FnMut(f64) -> bool,
}

impl Observer for Seen<'_> {
    fn at(&mut self, moment: Moment, sampler: &Sampler) -> Result<()> {
        if !self.snapshots.iter().any(|snapshot| snapshot.steps == moment.step) {
            return Ok(());
        }
        let images = sampler.images()?;
        let energies = sampler.energies()?;
        let chains = energies.iter().zip(images.chunks_exact(self.image)).take(moment.chains);
        for snapshot in self.snapshots.iter_mut().filter(|snapshot| snapshot.steps == moment.step) {
            for (i, (energy, image)) in chains.clone().enumerate() {
                if !energy.is_finite() || image.iter().any(|value| !value.is_finite()) {
                    snapshot.diverged.push(moment.first + i);
                }
                snapshot.energies.push(*energy);
                snapshot.images.extend(image);
            }
        }
        Ok(())
    }

    fn log_density(&mut self, moment: Moment, _: &[f32]) -> Result<bool> {
        let of_batch = moment.step as f64 / self.steps.max(1) as f64;
        Ok((self.goes_on)((moment.batch as f64 + of_batch) / self.batches as f64))
    }
}

impl Snapshot {
    /// The numbers of the chains that have not diverged.
    fn sound(&self) -> Vec<usize> {
        (0..self.energies.len()).filter(|chain| self.diverged.binary_search(chain).is_err()).collect()
    }

    /// The mean energy of the chains that have not diverged; `None` if all have.
    pub fn energy(&self, seed: u64) -> Option<Estimate> {
        let energies: Vec<f64> = self.sound().iter().map(|&chain| f64::from(self.energies[chain])).collect();
        (!energies.is_empty()).then(|| Resamples::new(energies.len(), seed).mean(&energies))
    }

    /// The mean distance between the pixels of two of the chains that have not diverged ([`diversity`]), in units of
    /// [-1, 1]; `None` if fewer than two have not.
    ///
    /// # Errors
    /// The errors of [`diversity`].
    pub fn diversity(&self, seed: u64) -> Result<Option<Estimate>> {
        let sound = self.sound();
        if sound.len() < 2 {
            return Ok(None);
        }
        let image = self.images.len() / self.energies.len();
        let pixels: Vec<f32> =
            sound.iter().flat_map(|&chain| &self.images[chain * image..][..image]).copied().collect();
        let pixels = Features::new("chains", &pixels, image)?;
        diversity(&pixels, &Resamples::new(sound.len(), seed)).map(Some)
    }
}
