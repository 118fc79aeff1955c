//! Fresh chains: they start as new chains of training do, and sample the model of an evaluation with fixed weights.
//!
//! The chains have their own random numbers and buffers, so they change nothing in training. They have the same
//! starting images and noise at each evaluation: only the model differs.

use super::langevin::Langevin;
use super::{Recipe, Sampler};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::nn::network::Network;
use crate::report::metrics::MetricsTable;

/// The lengths of fresh chains, in multiples of the K steps of an iteration.
pub const MULTIPLES: [usize; 3] = [1, 10, 100];

/// The columns of `metrics.csv` with the energies of chains of these lengths.
pub const COLUMNS: [&str; 3] = ["fresh_energy_k", "fresh_energy_10k", "fresh_energy_100k"];

/// The reciprocal of the part of training's images that fresh chains of one length may pass through the network.
const SHARE: u64 = 10;

/// The mean energies of fresh chains after 1, 10 and 100 times K steps: NaN for lengths that the evaluation did not
/// run, infinite if a chain's energy is not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreshEnergies(pub [f64; 3]);

/// The gap of energies at the last evaluation of a run that followed fresh chains for 100 × K steps, or for 10 × K
/// steps if none followed longer ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreshGap {
    /// The number of iterations before the evaluation.
    pub iteration: u64,
    /// The length of the chains, in multiples of K steps: 10 or 100.
    pub multiple: usize,
    /// The mean energy of held-out data.
    pub data: f64,
    /// The mean energy of the chains.
    pub fresh: f64,
}

impl FreshGap {
    /// The bound on the size of the gap in a healthy run, in nats (docs/healthy-runs.md).
    pub const BOUND: f64 = 5.0;

    /// The last evaluation in `table` with chains of 100 × K steps, or of 10 × K steps if none had longer ones; `None`
    /// if there is none of either.
    pub fn last(table: &MetricsTable) -> Option<Self> {
        let data = table.column("validation_energy")?;
        let longest_first = MULTIPLES.into_iter().zip(COLUMNS).skip(1).rev();
        longest_first.into_iter().find_map(|(multiple, name)| {
            let fresh = table.column(name)?;
            table.rows.iter().rev().find_map(|row| {
                Some(Self { iteration: row[0]? as u64 + 1, multiple, data: row[data]?, fresh: row[fresh]? })
            })
        })
    }

    /// The mean energy of the chains minus that of the data.
    pub fn gap(&self) -> f64 {
        self.fresh - self.data
    }

    /// Whether the gap is within [`FreshGap::BOUND`].
    pub fn is_healthy(&self) -> bool {
        self.gap().abs() <= Self::BOUND
    }
}

/// Fresh chains of a model in training.
#[derive(Debug)]
pub struct FreshChains {
    sampler: Sampler,
    /// The model's parameters.
    parameters: Buffer,
    langevin: Langevin,
    /// K, the number of SGLD steps of an iteration.
    steps: usize,
    seed: u32,
    images: Vec<f32>,
    labels: Vec<u32>,
}

impl FreshChains {
    /// Loads the programs for the recipe's fresh chains of images of shape `image` (height, width, channels), with the
    /// parameters of `network` in `parameters`. Batch norm has its running statistics, as in `jem sample`. `start` is
    /// called with a seed and a chain's number, and returns its first image, HWC, and its class.
    ///
    /// # Errors
    /// An error of the device.
    pub fn new(
        device: &Device,
        recipe: &Recipe,
        network: &dyn Network,
        parameters: &Buffer,
        image: [usize; 3],
        start: impl Fn(u32, u32) -> (Vec<f32>, u32),
    ) -> Result<Self> {
        let langevin = Langevin::of(recipe);
        let chains = recipe.fresh_chains;
        let conditional = recipe.class_conditional;
        let sampler =
            Sampler::in_training(device, network, parameters, image, langevin, chains, conditional)?;
        // Not the seed of training, whose chains draw noise from the same stream.
        let seed = !recipe.seed;
        let (images, labels): (Vec<_>, Vec<_>) = (0..chains as u32).map(|chain| start(seed, chain)).unzip();
        let (parameters, images) = (parameters.clone(), images.concat());
        Ok(Self { sampler, parameters, langevin, steps: recipe.steps, seed, images, labels })
    }

    /// Whether these chains sample the model in `parameters` with the SGLD of `recipe`.
    pub fn samples(&self, recipe: &Recipe, parameters: &Buffer) -> bool {
        self.parameters.is_same(parameters)
            && self.langevin == Langevin::of(recipe)
            && self.steps == recipe.steps
    }

    /// Restarts the chains and runs them for `longest` (1, 10 or 100) times K steps. Returns `None` if `goes_on`
    /// returns false; it is called before each step with the number of steps that are done and the number of all steps.
    ///
    /// # Errors
    /// An error of the device.
    pub fn run(
        &self,
        longest: usize,
        mut goes_on: impl FnMut(usize, usize) -> bool,
    ) -> Result<Option<FreshEnergies>> {
        let mut energies = FreshEnergies([f64::NAN; 3]);
        self.sampler.prepare()?;
        self.sampler.start(&self.images, &self.labels, self.seed, 0)?;
        for step in 0..longest * self.steps {
            if !goes_on(step, longest * self.steps) {
                return Ok(None);
            }
            self.sampler.advance()?;
            if let Some(at) = MULTIPLES.iter().position(|multiple| multiple * self.steps == step + 1) {
                let all = self.sampler.energies()?;
                let mean = all.iter().map(|&energy| f64::from(energy)).sum::<f64>() / all.len() as f64;
                energies.0[at] = if mean.is_finite() { mean } else { f64::INFINITY };
            }
        }
        Ok(Some(energies))
    }
}

impl Recipe {
    /// The number of iterations between evaluations that follow fresh chains for `multiple` times K steps, so that
    /// chains of this length pass at most a tenth as many images through the network as training does. An SGLD step
    /// counts as two passes of its chains, an update as three of its whole batch, with SAM as six.
    fn fresh_chains_every(&self, multiple: usize) -> u64 {
        let fresh = 2 * multiple * self.steps * self.fresh_chains;
        let passes = if self.sam > 0.0 { 6 } else { 3 };
        let iteration = 2 * self.steps * self.batch + passes * (2 * self.batch + self.labelled());
        (SHARE * fresh as u64).div_ceil(iteration as u64)
    }

    /// The length of the fresh chains of the evaluation after `done` of `total` iterations, in multiples of K steps:
    /// 1, 10 or 100; `None` without fresh chains or samples, and before log p(x) joins. Chains of K steps run at each
    /// evaluation. Longer ones run at so few that the cost of each length is bounded, and at the end of a run that is
    /// long enough for one.
    pub fn fresh_chains_due(&self, done: u64, total: u64) -> Option<usize> {
        if self.fresh_chains == 0 || !self.samples() || self.is_early(done.saturating_sub(1)) {
            return None;
        }
        let due = |multiple: &usize| {
            let every = self.fresh_chains_every(*multiple);
            let period = every.next_multiple_of(self.evaluate_every);
            done.is_multiple_of(period) || (done == total && total - self.p_x_after >= every)
        };
        let longer = MULTIPLES.into_iter().skip(1).rev();
        Some(longer.into_iter().find(due).unwrap_or(MULTIPLES[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebm::{Family, Preset};

    #[test]
    fn the_schedule_follows_from_the_cost() {
        let tiny = Preset::Tiny.recipe();
        // 8 chains of 800 steps count as 12,800 images and an iteration as 32 * (16 + 9) = 800: a tenth is 160
        // iterations.
        let all = |recipe: &Recipe, total: u64| {
            let every = recipe.evaluate_every;
            let at = (1..=total).filter(|done| done.is_multiple_of(every) || *done == total);
            at.map(|done| recipe.fresh_chains_due(done, total)).collect::<Vec<_>>()
        };
        assert_eq!(all(&tiny, 800), [Some(100); 4]);
        let often = Recipe { evaluate_every: 8, ..tiny.clone() };
        let found = all(&often, 322);
        let at = |multiple| (1..).zip(&found).filter(move |(_, m)| **m == Some(multiple)).map(|(i, _)| i);
        assert_eq!(at(100).collect::<Vec<_>>(), [20, 40, 41]);
        assert_eq!(
            at(10).collect::<Vec<_>>(),
            (1..20).map(|i| 2 * i).filter(|i| *i != 20).collect::<Vec<_>>()
        );
        assert_eq!(all(&tiny, 12), [Some(1)], "a run that is too short for more");
        let late = Recipe { p_x_after: 400, ..tiny.clone() };
        assert_eq!(all(&late, 800), [None, None, Some(100), Some(100)]);
        assert_eq!(all(&Recipe { fresh_chains: 0, ..tiny }, 800), [None; 4]);
        assert_eq!(all(&Family::Classifier.recipe(Preset::Tiny), 800), [None; 4]);
    }

    #[test]
    fn the_gap_is_that_of_the_last_long_chains() {
        let row = |values: [f64; 5]| values.map(|value| (!value.is_nan()).then_some(value)).to_vec();
        let table = |rows: &[[f64; 5]]| MetricsTable {
            columns: [&["iteration", "validation_energy"], &COLUMNS[..]]
                .concat()
                .iter()
                .map(|n| (*n).into())
                .collect(),
            rows: rows.iter().map(|values| row(*values)).collect(),
        };
        const NONE: f64 = f64::NAN;
        let all = [
            [9.0, -2.0, 1.0, -1.0, -8.0],
            [10.0, NONE, NONE, NONE, NONE],
            [19.0, -3.0, 1.0, -6.0, NONE],
            [29.0, -4.0, 1.0, NONE, NONE],
        ];
        let gap = |rows: &[[f64; 5]]| FreshGap::last(&table(rows));
        let longest = FreshGap { iteration: 10, multiple: 100, data: -2.0, fresh: -8.0 };
        assert_eq!(gap(&all), Some(longest));
        assert_eq!((longest.gap(), longest.is_healthy()), (-6.0, false));
        let long = FreshGap { iteration: 20, multiple: 10, data: -3.0, fresh: -6.0 };
        assert_eq!(gap(&all[1..]), Some(long));
        assert!(long.is_healthy());
        assert_eq!(gap(&all[3..]), None);
        let lost = FreshGap { fresh: f64::INFINITY, ..long };
        assert!(!lost.is_healthy());
    }

    #[test]
    fn fresh_chains_take_a_tenth_of_every_preset() {
        for (family, preset) in
            Family::ALL.into_iter().flat_map(|family| Preset::ALL.map(|preset| (family, preset)))
        {
            let recipe = family.recipe(preset);
            let total = recipe.total_iterations(50_000 - recipe.validation);
            let evaluations = (1..=total).filter(|i| i.is_multiple_of(recipe.evaluate_every) || *i == total);
            let steps = evaluations.filter_map(|done| recipe.fresh_chains_due(done, total)).sum::<usize>();
            let passes = if recipe.sam > 0.0 { 6 } else { 3 };
            let fresh = (2 * steps * recipe.steps * recipe.fresh_chains) as f64;
            let iteration = 2 * recipe.steps * recipe.batch + passes * (2 * recipe.batch + recipe.labelled());
            let share = fresh / (iteration as f64 * total as f64);
            assert!(share < 0.1, "{family} {preset}: {share}");
            assert_eq!(share > 0.0, recipe.samples(), "{family} {preset}");
        }
    }
}
