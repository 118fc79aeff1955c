//! A joint energy-based model that refines images by SGLD before it classifies them (Grathwohl et al. 2019, section 5.3),
//! attacked adaptively.
//!
//! Refinement moves an image up log p(x). As a defence it is random, and its steps are hard to differentiate, so that
//! plain gradients would understate attacks. The gradients here are means over chains and draws (expectation over
//! transformation). They pass through the sampler as if it were the identity (BPDA, Athalye et al. 2018, section 4.1), at
//! the refined images, or through all of its steps ([`Backward`]).

use super::losses::Loss;
use super::programs::{Programs, Setup, Unrolled};
use super::start::{Stream, normals, random};
use super::victim::{Answer, Victim};
use crate::device::Device;
use crate::ebm::{Langevin, Model, Sampler};
use crate::error::{Error, Result};
use crate::nn::network::Network;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How gradients pass through a refinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backward {
    /// As through the identity.
    Identity,
    /// Through every step, by second derivatives of log p(x). Memory holds the activations of all steps.
    Through,
}

/// The settings of a refinement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refinement {
    /// The SGLD settings, such as those of the model's training ([`Model::langevin`]).
    pub langevin: Langevin,
    /// SGLD steps.
    pub steps: usize,
    /// Chains for each image, over which p(y|x) is averaged.
    pub chains: usize,
    /// Independent refinements for each gradient of an attack, over which it is averaged.
    pub draws: usize,
    /// How gradients pass through.
    pub backward: Backward,
    /// The random seed of the noise.
    pub seed: u32,
}

/// A model behind refinement. An image's logits are the logarithms of the mean of p(y|x) over its refined chains. The
/// noise depends on the calls before, so that equal calls differ.
#[derive(Debug)]
pub struct Refined {
    device: Device,
    programs: Programs,
    /// The gradients through every step.
    unrolled: Option<Programs>,
    samplers: BTreeMap<usize, Sampler>,
    refinement: Refinement,
    /// The number of refinements so far.
    refined: u32,
}

impl Refined {
    /// `model` on `device` behind `refinement`, at most `batch` images at a time, each with all its chains.
    ///
    /// # Errors
    /// [`Error::Setting`] for a batch, chains or draws of 0; an error of the device or of the model's file.
    pub fn new(device: &Device, model: &Model, refinement: Refinement, batch: usize) -> Result<Self> {
        let parameters = model.parameters(&model.network().layout())?;
        Self::of(device, Arc::clone(model.network()), model.image_shape(), &parameters, refinement, batch)
    }

    /// `network` with `parameters` behind `refinement`, for images of shape `image` (rows, columns, channels).
    ///
    /// # Errors
    /// The errors of [`Refined::new`].
    pub fn of(
        device: &Device,
        network: Arc<dyn Network>,
        image: [usize; 3],
        parameters: &[f32],
        refinement: Refinement,
        batch: usize,
    ) -> Result<Self> {
        for (key, value) in [("chains", refinement.chains), ("draws", refinement.draws)] {
            if value == 0 {
                return Err(Error::setting(key, "must be at least 1, got 0"));
            }
        }
        let setup = Setup { network, image, batch, copies: refinement.chains, unrolled: None };
        let programs = Programs::new(device, setup.clone(), parameters)?;
        let Refinement { langevin, steps, .. } = refinement;
        let through = refinement.backward == Backward::Through && steps > 0;
        let unrolled = through.then(|| {
            let setup = Setup { unrolled: Some(Unrolled { langevin, steps }), ..setup };
            Programs::sharing(device, setup, programs.parameters().clone())
        });
        let (unrolled, device) = (unrolled.transpose()?, device.clone());
        Ok(Self { device, programs, unrolled, samplers: BTreeMap::new(), refinement, refined: 0 })
    }

    /// The refined chains of n images, `[n, chains, height, width, channels]`.
    ///
    /// # Errors
    /// An error of the device.
    pub fn refine(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let Refinement { langevin, steps, chains, seed, .. } = self.refinement;
        let setup = self.programs.setup();
        let elements = setup.elements();
        let n = images.len() / elements;
        let mut copies = copies(images, elements, chains);
        if steps == 0 {
            return Ok(copies);
        }
        let size = setup.size_for(n);
        if !self.samplers.contains_key(&size) {
            let (network, parameters) = (&*setup.network, self.programs.parameters());
            let count = size * chains;
            let sampler =
                Sampler::in_training(&self.device, network, parameters, setup.image, langevin, count, false)?;
            sampler.prepare()?;
            self.samplers.insert(size, sampler);
        }
        let sampler = &self.samplers[&size];
        copies.resize(size * chains * elements, 0.0);
        let updates = if langevin.noise == 0.0 { 1 } else { langevin.inner_steps };
        let first = self.refined.wrapping_mul((steps * updates) as u32);
        self.refined = self.refined.wrapping_add(1);
        sampler.start(&copies, &vec![0; size * chains], seed, first)?;
        for _ in 0..steps {
            sampler.advance()?;
        }
        let mut refined = sampler.images()?;
        refined.truncate(n * chains * elements);
        Ok(refined)
    }
}

/// Each image `chains` times, one after the other.
fn copies(images: &[f32], elements: usize, chains: usize) -> Vec<f32> {
    images.chunks(elements).flat_map(|image| std::iter::repeat_n(image, chains)).flatten().copied().collect()
}

impl Victim for Refined {
    fn image(&self) -> [usize; 3] {
        self.programs.setup().image
    }

    fn classes(&self) -> usize {
        self.programs.setup().network.classes()
    }

    fn batch(&self) -> usize {
        self.programs.setup().batch
    }

    fn is_random(&self) -> bool {
        self.refinement.steps > 0 && self.refinement.langevin.noise > 0.0
    }

    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let refined = self.refine(images)?;
        self.programs.logits(&refined)
    }

    /// The logits are those of one draw; the gradient is the mean over all draws.
    fn gradient(&mut self, loss: Loss, images: &[f32], labels: &[u32], targets: &[u32]) -> Result<Answer> {
        let draws = if self.is_random() { self.refinement.draws } else { 1 };
        let mut mean: Option<Answer> = None;
        for _ in 0..draws {
            let answer = match &mut self.unrolled {
                None => {
                    let refined = self.refine(images)?;
                    self.programs.gradient(loss, &refined, labels, targets)?
                }
                Some(unrolled) => {
                    let Refinement { chains, seed, .. } = self.refinement;
                    let copies = copies(images, unrolled.setup().elements(), chains);
                    let mut random = random(u64::from(seed), Stream::Refinement, 0, self.refined as usize);
                    self.refined = self.refined.wrapping_add(1);
                    let noise = |count| normals(count, &mut random);
                    unrolled.gradient_with(loss, &copies, labels, targets, noise)?
                }
            };
            match &mut mean {
                None => mean = Some(answer),
                Some(mean) => mean.gradient.iter_mut().zip(&answer.gradient).for_each(|(sum, g)| *sum += g),
            }
        }
        let mut mean = mean.expect("at least one draw");
        mean.gradient.iter_mut().for_each(|sum| *sum /= draws as f32);
        Ok(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::super::small_network::{self, SIDE};
    use super::super::{Attack, Images, Norm, Threat};
    use super::*;
    use crate::ebm::Posterior;
    use approx::assert_relative_eq;

    const CLASSES: usize = 5;

    fn refined(langevin: Langevin, steps: usize, [chains, batch]: [usize; 2], backward: Backward) -> Refined {
        let (network, parameters) = small_network::perceptron(3, CLASSES);
        let refinement = Refinement { langevin, steps, chains, draws: 4, backward, seed: 2 };
        Refined::of(&Device::cpu(), network, [SIDE, SIDE, 1], &parameters, refinement, batch).unwrap()
    }

    #[test]
    fn refinement_raises_log_p_x() {
        let langevin = Langevin { step_size: 0.05, noise: 0.0, clamp_x: true, ..Langevin::default() };
        let images = small_network::images(3, 5);
        let mut victim = small_network::victim(3, CLASSES, 3);
        let log_p = |victim: &mut dyn Victim, images: &[f32]| -> Vec<f64> {
            let logits = victim.logits(images).unwrap();
            logits.chunks(CLASSES).map(|row| Posterior::new(row, 1.0).logsumexp).collect()
        };
        let before = log_p(&mut victim, &images);
        let after = refined(langevin, 10, [1, 4], Backward::Identity).refine(&images).unwrap();
        let after = log_p(&mut victim, &after);
        assert!(
            before.iter().zip(&after).all(|(before, after)| after > &(before + 0.01)),
            "{before:?} {after:?}"
        );
    }

    #[test]
    fn without_steps_it_is_the_model() {
        let images = small_network::images(3, 5);
        let mut plain = small_network::victim(3, CLASSES, 3);
        let mut still = refined(Langevin::default(), 0, [3, 3], Backward::Through);
        assert!(!still.is_random());
        let [a, b] = [&mut plain as &mut dyn Victim, &mut still]
            .map(|victim| victim.gradient(Loss::CrossEntropy, &images, &[0, 1, 2], &[0; 3]).unwrap());
        for (row, logits) in a.logits.chunks(CLASSES).enumerate() {
            let p = Posterior::new(logits, 1.0).probabilities;
            for (p, log_p) in p.iter().zip(&b.logits[row * CLASSES..]) {
                assert_relative_eq!(p.ln(), f64::from(*log_p), epsilon = 1e-5);
            }
        }
        for (a, b) in a.gradient.iter().zip(&b.gradient) {
            assert_relative_eq!(a, b, epsilon = 1e-6, max_relative = 1e-4);
        }
    }

    #[test]
    fn a_random_refinement_is_attacked_and_scored_again() {
        let langevin = Langevin { step_size: 0.01, noise: 0.02, clamp_x: true, ..Langevin::default() };
        let (pixels, labels) = small_network::right_images(20, 3, CLASSES);
        let images = Images { pixels: &pixels, labels: &labels };
        let threat = Threat::new(Norm::LInf, 0.05).unwrap();
        let attack = |attack: Attack, backward: Backward| {
            let mut victim = refined(langevin, 3, [2, 8], backward);
            assert!(victim.is_random());
            attack.run(&mut victim, images, threat, 0, &mut |_| true).unwrap().unwrap()
        };
        let apgd = Attack::ApgdCe { steps: 10 };
        let noise = attack(Attack::Noise, Backward::Identity);
        for backward in [Backward::Identity, Backward::Through] {
            let found = attack(apgd, backward);
            assert_eq!(found, attack(apgd, backward));
            let [found, noise] = [&found, &noise].map(|attacked| attacked.robust_accuracy());
            assert!(found < 0.6 * noise, "{backward:?}: {found} {noise}");
        }
        let wrong =
            Refinement { langevin, steps: 1, chains: 0, draws: 1, backward: Backward::Identity, seed: 0 };
        let (network, parameters) = small_network::perceptron(3, CLASSES);
        let error =
            Refined::of(&Device::cpu(), network, [SIDE, SIDE, 1], &parameters, wrong, 1).err().unwrap();
        assert_eq!(error.to_string(), "chains: must be at least 1, got 0");
    }

    #[test]
    fn gradients_through_the_steps_are_slopes_of_the_refined_loss() {
        // Inner steps and clamps as in JEM++; without noise a loss is a function of the image.
        let langevin = Langevin {
            step_size: 0.05,
            noise: 0.0,
            clamp_gradient: Some(0.3),
            clamp_x: true,
            inner_steps: 2,
        };
        let image = small_network::images(1, 5);
        let mut through = refined(langevin, 4, [1, 1], Backward::Through);
        let mut identity = refined(langevin, 4, [1, 1], Backward::Identity);
        let [exact, straight] = [&mut through, &mut identity]
            .map(|victim| victim.gradient(Loss::CrossEntropy, &image, &[1], &[0]).unwrap());
        for (a, b) in exact.logits.iter().zip(&straight.logits) {
            assert_relative_eq!(a, b, epsilon = 1e-5, max_relative = 1e-5);
        }
        let mut slope = |direction: &[f32]| {
            let mut along = |by: f32| {
                let moved: Vec<f32> = image.iter().zip(direction).map(|(x, d)| x + by * d).collect();
                Loss::CrossEntropy.value(&identity.logits(&moved).unwrap(), 1, 0)
            };
            (along(1e-3) - along(-1e-3)) / 2e-3
        };
        let squared = |gradient: &[f32]| gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
        let [a, b] = [&exact.gradient, &straight.gradient].map(|g| (slope(g), squared(g)));
        assert_relative_eq!(a.0, a.1, max_relative = 2e-2);
        assert!((b.0 - b.1).abs() > 5e-2 * b.1, "the identity is an approximation: {b:?}");
    }
}
