//! The training iteration: programs, buffers, and the host's inputs and outputs.

mod checks;
mod fresh;
mod loaded;
mod pictures;
mod state;
mod step;

pub(super) use state::is_training_state;

use super::batches::Shuffled;
use super::chains::{Chains, Drawn};
use super::metrics::Metrics;
use super::programs::{
    BatchLayout, BatchPart, CHAIN_INDICES, CHAIN_LABELS, CHAIN_TARGETS, COUNTER_WORDS, DATA, DATA_INDICES,
    FRESH_CHAINS, LABELLED_INDICES, LABELS, LOSS_FACTORS, Programs, REPLAY, loss_terms, make_inputs,
};
use super::{Evaluator, Recipe, ScoreSettings, Scorer};
use crate::compute::loss_term::LossTerm;
use crate::compute::random::stream;
use crate::data::Dataset;
use crate::device::{Buffers, Device, DispatchTime, Executable, Key, Pending, Program, ProgramBuilder};
use crate::error::Result;
use crate::kernels::tick::COUNTERS;
use crate::kernels::uniform_fill::UniformFill;
use crate::nn::frozen::{Frozen, NormStatistics};
use crate::nn::network::Network;
use crate::nn::optimizer::{AVERAGES, CONTROL_WORDS, Optimizer};
use crate::nn::parameters::{PARAMETERS, ParameterLayout};
pub(super) use checks::labelled;
use checks::{batch_layout, check_classes};
use loaded::Loaded;
use std::collections::VecDeque;
use std::sync::Arc;

/// The number of iterations whose metrics may be pending before the host waits for the oldest.
const METRICS_IN_FLIGHT: usize = 3;

/// A model in training on a device.
#[derive(Debug)]
pub struct Trainer {
    device: Device,
    recipe: Recipe,
    network: Arc<dyn Network>,
    layout: ParameterLayout,
    batch: BatchLayout,
    parts: Vec<(BatchPart, LossTerm)>,
    optimizer: Optimizer,
    buffers: Buffers,
    programs: Loaded,
    data_order: Shuffled,
    labelled_order: Shuffled,
    /// The images for p(y|x).
    labelled_images: Vec<u32>,
    train_labels: Vec<u32>,
    /// The data set's name, which says if it is synthetic.
    data: String,
    /// The names of the classes; empty for an energy without classes.
    class_names: Vec<String>,
    /// A description of the precision that the recipe has on the device.
    precision: String,
    iteration: u64,
    /// The number of the random sequence of chains and augmentation; the order of images does not depend on it.
    random_stream: u32,
    chains: Chains,
    /// The completed iteration whose chains are in the batch; `None` after an iteration that was stopped.
    sampled: Option<u64>,
    pending: VecDeque<Awaited>,
}

/// Pending metrics, with the host's values for the same iteration.
#[derive(Debug)]
struct Awaited {
    iteration: u64,
    learning_rate: f64,
    chain_age: f64,
    /// The terms of its loss.
    parts: Vec<(BatchPart, LossTerm)>,
    words: Pending,
}

/// The host's inputs of an iteration that matter after it.
#[derive(Debug)]
struct Inputs {
    learning_rate: f64,
    /// The chains; `None` without sampling.
    chains: Option<Drawn>,
}

impl Trainer {
    /// Builds and loads all programs for `recipe`, with the recipe's network, on the images of `train`, with initial
    /// parameters and a replay buffer of new chains.
    ///
    /// # Errors
    /// An invalid setting, or an error of the device.
    pub fn new(device: &Device, recipe: &Recipe, train: &Dataset) -> Result<Self> {
        let network = recipe.network(train.classes(), train.channels);
        Self::with_network(device, recipe, Arc::new(network), train)
    }

    /// Builds a trainer as [`Trainer::new`] does, with any network. The recipe's settings of its own network (depth,
    /// width, norm, activation, spectral norm) have no effect.
    ///
    /// # Errors
    /// The errors of [`Trainer::new`]; [`crate::Error::Shape`] if the network takes other images.
    pub fn with_network(
        device: &Device,
        recipe: &Recipe,
        network: Arc<dyn Network>,
        train: &Dataset,
    ) -> Result<Self> {
        let network: Arc<dyn Network> = match recipe.norm_statistics {
            NormStatistics::Batch => network,
            NormStatistics::Frozen => Arc::new(Frozen::new(network)),
        };
        network.check()?;
        network.layout().check_trained()?;
        network.check_images([train.height, train.width, train.channels])?;
        recipe.check(train.len(), train.classes())?;
        check_classes(recipe, &*network, train)?;
        let labelled_images = labelled(recipe, train)?;
        let layout = network.layout();
        let batch = batch_layout(recipe, &layout, [train.height, train.width, train.channels]);
        batch.check(recipe.pad)?;
        let (policy, precision) = recipe.precision.policy(device);
        let programs = Programs::build(recipe, &*network, batch, train.len(), &policy)?;
        let mut buffers = Buffers::new(device);
        let mut bytes = train.images.clone();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        buffers.add(DATA, &bytes)?;
        let parameters = layout.initialise(recipe.init, network.slope(), recipe.seed);
        buffers.add(PARAMETERS, &parameters)?;
        if recipe.ema > 0.0 {
            buffers.add(AVERAGES, &parameters)?;
        }
        make_inputs(&mut buffers, recipe, batch, &layout)?;
        let optimizer = recipe.optimizer();
        let programs = Loaded::new(&mut buffers, programs, &optimizer)?;
        let trainer = Self {
            device: device.clone(),
            optimizer,
            parts: loss_terms(recipe, batch, network.classes()),
            data_order: Shuffled::new(train.len(), recipe.seed, 0),
            labelled_order: Shuffled::new(labelled_images.len(), recipe.seed, 1),
            labelled_images,
            train_labels: match network.classes() {
                1 => vec![0; train.len()],
                _ => train.labels.clone(),
            },
            data: train.name.clone(),
            class_names: if network.classes() > 1 { train.class_names.clone() } else { Vec::new() },
            precision,
            recipe: recipe.clone(),
            network,
            layout,
            batch,
            buffers,
            programs,
            iteration: 0,
            random_stream: 0,
            chains: Chains::new(recipe, train)?,
            sampled: None,
            pending: VecDeque::new(),
        };
        trainer.fill_replay_buffer()?;
        Ok(trainer)
    }

    /// Continues with another recipe of the same network, optimizer, batch and replay buffer, whose SGLD, loss weights,
    /// rates and bounds may differ. The state of training is kept.
    ///
    /// # Errors
    /// An invalid setting, or an error of the device.
    ///
    /// # Panics
    /// If the recipe has another network, optimizer, batch or buffer.
    pub fn adopt(&mut self, recipe: &Recipe) -> Result<()> {
        let images = self.train_labels.len();
        recipe.check(images, self.network.classes())?;
        let BatchLayout { height, width, channels, .. } = self.batch;
        let batch = batch_layout(recipe, &self.layout, [height, width, channels]);
        let optimizer = recipe.optimizer();
        assert!(
            batch == self.batch
                && recipe.buffer == self.recipe.buffer
                && recipe.network(10, channels) == self.recipe.network(10, channels)
                && optimizer.state() == self.optimizer.state(),
            "a recipe of another network, optimizer, batch or buffer"
        );
        let (policy, precision) = recipe.precision.policy(&self.device);
        let programs = Programs::build(recipe, &*self.network, batch, images, &policy)?;
        make_inputs(&mut self.buffers, recipe, batch, &self.layout)?;
        self.programs = Loaded::new(&mut self.buffers, programs, &optimizer)?;
        self.optimizer = optimizer;
        self.parts = loss_terms(recipe, batch, self.network.classes());
        self.precision = precision;
        self.recipe = recipe.clone();
        Ok(())
    }

    fn fill_replay_buffer(&self) -> Result<()> {
        if self.programs.sgld.is_none() {
            return Ok(());
        }
        if let Some(images) = self.chains.first_images(&self.recipe, self.seed()) {
            return self.buffers.write(REPLAY, &images);
        }
        self.write_counters()?;
        let n = self.recipe.buffer * self.batch.image();
        let mut builder = ProgramBuilder::new("replay buffer");
        let counters = builder.external(COUNTER_WORDS, COUNTERS);
        let replay = builder.external(REPLAY, n);
        let kernel = UniformFill { n, low: -1.0, high: 1.0, stream: stream::REPLAY_FILL };
        builder.dispatch("replay buffer", kernel, &[counters, replay]);
        let externals = [
            (COUNTER_WORDS.name(), self.buffers.get(COUNTER_WORDS)),
            (REPLAY.name(), self.buffers.get(REPLAY)),
        ];
        let program = self.device.load(builder.finish(), &externals)?;
        self.device.run(&program)?;
        self.device.wait()
    }

    /// Writes the random-number counters, a function of the iteration, so that a resumed run has the same.
    fn write_counters(&self) -> Result<()> {
        let sgld_step = self.iteration * (self.recipe.steps * self.recipe.inner_steps) as u64;
        self.buffers.write(COUNTER_WORDS, &[self.seed(), self.iteration as u32, sgld_step as u32, 0])
    }

    /// The seed of chains and augmentation, which differs between streams.
    fn seed(&self) -> u32 {
        self.recipe.seed.wrapping_add(self.random_stream.wrapping_mul(0x9e37_79b9))
    }

    /// Runs one iteration with a single SGLD step, and returns each program's name, its number of runs in an iteration,
    /// and the time of each of its dispatches. The state of training changes accordingly.
    ///
    /// # Errors
    /// An error of the device, such as missing support for timestamps.
    pub fn profile(&mut self) -> Result<Vec<(String, usize, Vec<DispatchTime>)>> {
        let inputs = self.write_inputs(false)?;
        inputs.chains.iter().for_each(|drawn| self.chains.have_run(drawn));
        let profile = |(program, runs): (&Executable, usize)| {
            Ok((program.program().name.clone(), runs, self.device.profile(program)?))
        };
        self.programs.runs(self.recipe.steps).into_iter().map(profile).collect()
    }

    /// The terms of the loss in this iteration, with the weights that they have in it.
    fn parts_now(&self) -> Vec<(BatchPart, LossTerm)> {
        let factor = self.recipe.p_x_factor(self.iteration) as f32;
        let mut parts = self.parts.clone();
        parts.retain(|(part, _)| !self.recipe.is_early(self.iteration) || *part == BatchPart::Labelled);
        for (_, term) in parts.iter_mut().filter(|(part, _)| *part != BatchPart::Labelled) {
            term.log_p_x *= factor;
            term.l2 *= factor;
        }
        parts
    }

    /// Writes the host's inputs of an iteration, in which p(y|x) alone is trained if it is `early`.
    fn write_inputs(&mut self, early: bool) -> Result<Inputs> {
        let iteration = self.iteration;
        self.write_counters()?;
        let learning_rate = self.recipe.learning_rate(iteration, self.train_labels.len());
        self.buffers
            .write(CONTROL_WORDS, &self.optimizer.control(iteration + 1, learning_rate, self.recipe.ema))?;
        let mut labels = vec![0; self.batch.rows()];
        let mut chains = None;
        if self.recipe.p_x_ramp > 0 {
            let mut factors = vec![self.recipe.p_x_factor(iteration) as f32; self.batch.rows()];
            factors[self.batch.rows_of(BatchPart::Labelled)].fill(1.0);
            self.buffers.write(LOSS_FACTORS, &factors)?;
        }
        if self.batch.data > 0 && !early {
            let indices = self.data_order.draw(iteration, self.batch.data);
            self.set_labels(&mut labels[self.batch.rows_of(BatchPart::Data)], &indices);
            self.buffers.write(DATA_INDICES, &indices)?;
        }
        if self.batch.samples > 0 && !early {
            let seed = self.seed();
            let drawn = self.chains.draw(&self.recipe, seed, iteration);
            self.buffers.write(CHAIN_INDICES, &drawn.entries)?;
            self.buffers.write(CHAIN_LABELS, &drawn.labels)?;
            if self.recipe.reservoir {
                self.buffers.write(CHAIN_TARGETS, &drawn.targets)?;
            }
            for (slot, image) in &drawn.fresh {
                self.buffers.write_from(FRESH_CHAINS, slot * self.batch.image(), image)?;
            }
            labels[self.batch.rows_of(BatchPart::Samples)].copy_from_slice(&drawn.labels);
            chains = Some(drawn);
        }
        if self.batch.labelled > 0 {
            let drawn = self.labelled_order.draw(iteration, self.batch.labelled);
            let indices: Vec<u32> = drawn.iter().map(|&i| self.labelled_images[i as usize]).collect();
            let rows = if early { self.batch.early_rows() } else { self.batch.rows_of(BatchPart::Labelled) };
            self.set_labels(&mut labels[rows], &indices);
            self.buffers.write(LABELLED_INDICES, &indices)?;
        }
        self.buffers.write(LABELS, &labels)?;
        Ok(Inputs { learning_rate, chains })
    }

    /// Sets the rows of a part of the batch to the labels of the images `indices`.
    fn set_labels(&self, rows: &mut [u32], indices: &[u32]) {
        rows.iter_mut().zip(indices).for_each(|(label, &i)| *label = self.train_labels[i as usize]);
    }

    /// The metrics that have arrived; waits only if too many are pending.
    ///
    /// # Errors
    /// An error of the device.
    pub fn metrics(&mut self) -> Result<Vec<Metrics>> {
        self.take_metrics(METRICS_IN_FLIGHT)
    }

    /// All pending metrics; waits for the device.
    ///
    /// # Errors
    /// An error of the device.
    pub fn finish_metrics(&mut self) -> Result<Vec<Metrics>> {
        self.take_metrics(0)
    }

    fn take_metrics(&mut self, in_flight: usize) -> Result<Vec<Metrics>> {
        let mut arrived = Vec::new();
        while let Some(front) = self.pending.front() {
            if self.pending.len() <= in_flight && !front.words.is_ready() {
                break;
            }
            let Awaited { iteration, learning_rate, chain_age, parts, words } =
                self.pending.pop_front().expect("there is a front");
            let words: Vec<f32> = bytemuck::pod_collect_to_vec(&words.wait()?);
            let metrics =
                Metrics::new(iteration, learning_rate, &words, self.batch, &parts, self.recipe.hold_gap);
            arrived.push(Metrics { chain_age, ..metrics });
        }
        Ok(arrived)
    }

    /// The next iteration, from 0 on: the number of queued iterations.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Selects another random sequence for chains and augmentation from the next iteration on; 0 is the first. The
    /// order of images does not change.
    pub fn set_random_stream(&mut self, stream: u32) {
        self.random_stream = stream;
    }

    /// A description of the precision that the recipe has on this device.
    pub fn precision(&self) -> &str {
        &self.precision
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network.
    pub fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The programs of an iteration, for their summaries: gather, power iteration, prepare, SGLD step, perturb, update,
    /// scatter.
    pub fn programs(&self) -> Vec<&Program> {
        self.programs.runs(1).into_iter().map(|(program, _)| program.program()).collect()
    }

    /// The slot of the parameters that the model is evaluated with.
    fn model_slot(&self) -> Key<f32> {
        if self.recipe.ema > 0.0 { AVERAGES } else { PARAMETERS }
    }

    /// Scores `data` with the parameters in training, or with their moving averages if the recipe has them.
    ///
    /// # Errors
    /// An error of the device.
    pub fn evaluator(&self, data: &Dataset, batch: usize) -> Result<Evaluator> {
        Evaluator::new(&self.device, &*self.network, self.buffers.get(self.model_slot()), data, batch)
    }

    /// Loads the programs that score batches of `batch` images of `data`'s shape, with the same parameters. Call
    /// [`Scorer::prepare`] first.
    ///
    /// # Errors
    /// An error of the device.
    pub(super) fn scorer(&self, data: &Dataset, settings: ScoreSettings, batch: usize) -> Result<Scorer> {
        let (image, parameters) =
            ([data.height, data.width, data.channels], self.buffers.get(self.model_slot()));
        Scorer::in_training(&self.device, &*self.network, parameters, image, settings, batch)
    }

    /// The current values of all parameters, as a flat buffer.
    ///
    /// # Errors
    /// An error of the device.
    pub fn parameters(&self) -> Result<Vec<f32>> {
        self.buffers.read(PARAMETERS)
    }

    /// Replaces all parameters, and their moving averages, by those of a flat buffer.
    ///
    /// # Errors
    /// An error of the device.
    pub fn set_parameters(&self, flat: &[f32]) -> Result<()> {
        self.buffers.write(self.model_slot(), flat)?;
        self.buffers.write(PARAMETERS, flat)
    }
}
