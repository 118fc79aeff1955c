//! The chains on the host: which ones take part in an iteration, their starting points, their targets and their ages.

use super::batches::{draw_chains, reservoir};
use super::{ChainStart, ClassGaussians, Recipe, uniform_image};
use crate::compute::random::{Threefry, lane, stream};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernels::replay_gather::ReplayGather;
use crate::kernels::replay_scatter::DISCARDED;
use rand::RngExt as _;
use rayon::prelude::*;

/// The maximum rank of the covariances of the Gaussians that chains start from.
const RANK: usize = 256;

/// The chains of the replay buffer.
#[derive(Debug)]
pub struct Chains {
    /// The number of SGLD steps since each chain started.
    pub ages: Vec<u32>,
    /// The Gaussians that chains start from; `None`: they start from uniform noise.
    gaussians: Option<ClassGaussians>,
    classes: usize,
}

/// The chains of one iteration.
#[derive(Debug)]
pub struct Drawn {
    /// The entries of the replay buffer that the chains continue.
    pub entries: Vec<u32>,
    /// The class that each chain is sampled for; 0 if samples are not class-conditional.
    pub labels: Vec<u32>,
    /// The entries that the chains are written to, or [`DISCARDED`].
    pub targets: Vec<u32>,
    /// The slots of the chains that restart at images from the host, with these images, HWC.
    pub fresh: Vec<(usize, Vec<f32>)>,
    /// The number of SGLD steps since each chain started, at the end of the iteration.
    pub ages: Vec<u32>,
}

impl Chains {
    /// The chains of a new run, with age 0; none without sampling.
    ///
    /// # Errors
    /// [`Error::Setting`] for Gaussians of a class without images.
    pub fn new(recipe: &Recipe, train: &Dataset) -> Result<Self> {
        let gaussians = match recipe.start {
            ChainStart::Gaussian if recipe.samples() => {
                let fitted = ClassGaussians::fit_low_rank(train.clone().into(), RANK);
                Some(fitted.map_err(|error| match error {
                    Error::Setting { message, .. } => Error::setting("start", message),
                    other => other,
                })?)
            }
            _ => None,
        };
        let ages = vec![0; if recipe.samples() { recipe.buffer } else { 0 }];
        Ok(Self { ages, gaussians, classes: train.classes() })
    }

    /// The initial contents of the replay buffer, NHWC; `None`: uniform noise.
    pub fn first_images(&self, recipe: &Recipe, seed: u32) -> Option<Vec<f32>> {
        let gaussians = self.gaussians.as_ref()?;
        // With class-conditional sampling a chain keeps its class.
        let part = recipe.buffer / self.classes;
        let image = |entry: usize| {
            let mut random = Threefry::new(seed, lane(stream::REPLAY_FILL, 1), entry as u32);
            let class = match recipe.class_conditional {
                true => (entry / part.max(1)).min(self.classes - 1),
                false => random.random_range(0..self.classes),
            };
            gaussians.sample(class, &mut random)
        };
        Some((0..recipe.buffer).into_par_iter().flat_map_iter(image).collect())
    }

    /// The starting image of a chain outside the buffer, HWC, and its class: a function of `seed` and of the chain's
    /// number. With class-conditional sampling the chains cycle through the classes; else the class is 0.
    pub fn start(&self, recipe: &Recipe, seed: u32, chain: u32, elements: usize) -> (Vec<f32>, u32) {
        let label = if recipe.class_conditional { chain % self.classes as u32 } else { 0 };
        let Some(gaussians) = &self.gaussians else { return (uniform_image(seed, chain, elements), label) };
        let mut random = Threefry::new(seed, lane(stream::REPLAY_FILL, 1), chain);
        let class = match recipe.class_conditional {
            true => label as usize,
            false => random.random_range(0..self.classes),
        };
        (gaussians.sample(class, &mut random), label)
    }

    /// Draws the chains of `iteration`.
    pub fn draw(&self, recipe: &Recipe, seed: u32, iteration: u64) -> Drawn {
        let batch = recipe.batch;
        let classes = recipe.class_conditional.then_some(self.classes);
        let chains = draw_chains(seed, iteration, batch, recipe.buffer, classes);
        let targets = match recipe.reservoir {
            true => reservoir(seed, iteration, batch, recipe.buffer),
            false => chains.entries.clone(),
        };
        let mut fresh = Vec::new();
        let mut ages = Vec::with_capacity(batch);
        for (slot, (&entry, &label)) in chains.entries.iter().zip(&chains.labels).enumerate() {
            let begins = ReplayGather::begins_anew(seed, iteration as u32, slot as u32, recipe.reinitialise);
            ages.push(if begins { 0 } else { self.ages[entry as usize] } + recipe.steps as u32);
            if let Some(gaussians) = self.gaussians.as_ref().filter(|_| begins) {
                let stream = lane(stream::REPLAY_INIT, slot as u32 + 1);
                let mut random = Threefry::new(seed, stream, iteration as u32);
                let class = match recipe.class_conditional {
                    true => label as usize,
                    false => random.random_range(0..self.classes),
                };
                fresh.push((slot, gaussians.sample(class, &mut random)));
            }
        }
        Drawn { entries: chains.entries, labels: chains.labels, targets, fresh, ages }
    }

    /// Updates the ages of the chains that an iteration has run.
    pub fn have_run(&mut self, drawn: &Drawn) {
        for (&target, &age) in drawn.targets.iter().zip(&drawn.ages) {
            if target != DISCARDED {
                self.ages[target as usize] = age;
            }
        }
    }
}
