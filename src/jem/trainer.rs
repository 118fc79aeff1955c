//! The training iteration: programs, buffers, and what the host writes and reads.

use super::batches::{Shuffled, draw_chains};
use super::loader::Loader;
use super::metrics::Metrics;
use super::programs::{
    BatchLayout, COUNTER_WORDS, DATA, IMAGES, LABELS, METRICS, Programs, REPLAY, loss_parts,
};
use super::{Evaluator, Recipe};
use crate::data::Dataset;
use crate::device::{Buffer, Device, DispatchTime, Executable, Pending, Program, ProgramBuilder};
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::io::pack;
use crate::io::safetensors::FORMAT;
use crate::kernels::logit_loss::Part;
use crate::kernels::random::stream;
use crate::kernels::tick::COUNTERS;
use crate::kernels::uniform_fill::UniformFill;
use crate::nn::optimizer::{CONTROL_WORDS, Optimizer};
use crate::nn::parameters::{Layout, PARAMETERS};
use crate::nn::wide_resnet::{SLOPE, WideResNet};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

/// Iterations whose metrics may be under way before the host waits for the oldest.
const METRICS_IN_FLIGHT: usize = 3;

/// A model in training on a device.
#[derive(Debug)]
pub struct Trainer {
    device: Device,
    recipe: Recipe,
    network: WideResNet,
    layout: Layout,
    batch: BatchLayout,
    parts: Vec<Part>,
    optimizer: Optimizer,
    buffers: BTreeMap<String, Buffer>,
    gather: Executable,
    prepare: Executable,
    sgld: Option<Executable>,
    scatter: Option<Executable>,
    update: Executable,
    data_order: Shuffled,
    labelled_order: Shuffled,
    train_labels: Vec<u32>,
    /// The data set's name, which says if it is synthetic.
    data: String,
    /// What the recipe's precision came to on the device.
    precision: String,
    iteration: u64,
    pending: VecDeque<(u64, f64, Pending)>,
}

impl Trainer {
    /// Builds and loads all programs for `recipe` on the images of `train`, with initial parameters and a
    /// replay buffer of uniform noise.
    ///
    /// # Errors
    /// A setting out of range, or what the device refuses.
    pub fn new(device: &Device, recipe: &Recipe, train: &Dataset) -> Result<Self> {
        let network = recipe.network(train.classes(), train.channels);
        network.check()?;
        recipe.check(train.len(), train.classes())?;
        let batch = BatchLayout::new(recipe, train.height, train.width, train.channels);
        batch.check(recipe.pad)?;
        let layout = network.layout();
        let (choices, precision) = recipe.precision.choices(device);
        let programs = Programs::build(recipe, &network, batch, train.len(), choices)?;
        let mut loader = Loader::new(device);
        let mut bytes = train.images.clone();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        loader.add(DATA, &bytes)?;
        loader.add(PARAMETERS, &layout.initialise(recipe.init, SLOPE, recipe.seed))?;
        let gather = loader.load(programs.gather)?;
        let prepare = loader.load(programs.prepare)?;
        let sgld = programs.sgld.map(|program| loader.load(program)).transpose()?;
        let scatter = programs.scatter.map(|program| loader.load(program)).transpose()?;
        let update = loader.load(programs.update)?;
        let trainer = Self {
            device: device.clone(),
            optimizer: recipe.optimizer()?,
            parts: loss_parts(recipe, batch, network.classes),
            data_order: Shuffled::new(train.len(), recipe.seed, 0),
            labelled_order: Shuffled::new(train.len(), recipe.seed, 1),
            train_labels: train.labels.clone(),
            data: train.name.clone(),
            precision,
            recipe: recipe.clone(),
            network,
            layout,
            batch,
            buffers: loader.into_buffers(),
            gather,
            prepare,
            sgld,
            scatter,
            update,
            iteration: 0,
            pending: VecDeque::new(),
        };
        trainer.fill_replay_buffer()?;
        Ok(trainer)
    }

    fn fill_replay_buffer(&self) -> Result<()> {
        if self.sgld.is_none() {
            return Ok(());
        }
        self.write_counters()?;
        let n = self.recipe.buffer * self.batch.image();
        let mut builder = ProgramBuilder::new("replay buffer");
        let counters = builder.external(COUNTER_WORDS, COUNTERS);
        let replay = builder.external(REPLAY, n);
        let kernel = UniformFill { n, low: -1.0, high: 1.0, stream: stream::REPLAY_FILL };
        builder.dispatch("replay buffer", kernel, &[counters, replay]);
        let externals = [(COUNTER_WORDS, self.buffer(COUNTER_WORDS)), (REPLAY, self.buffer(REPLAY))];
        let program = self.device.load(builder.finish(), &externals)?;
        self.device.run(&program)?;
        self.device.wait()
    }

    fn buffer(&self, name: &str) -> &Buffer {
        self.buffers.get(name).unwrap_or_else(|| panic!("no buffer {name}"))
    }

    fn write<T: bytemuck::Pod>(&self, name: &str, words: &[T]) -> Result<()> {
        self.device.write(self.buffer(name), 0, bytemuck::cast_slice(words))
    }

    /// The counters are a function of the iteration, so that a resumed run has the same.
    fn write_counters(&self) -> Result<()> {
        let sgld_step = self.iteration * self.recipe.steps as u64;
        self.write(COUNTER_WORDS, &[self.recipe.seed, self.iteration as u32, sgld_step as u32, 0])
    }

    /// Queues one iteration: batch, K SGLD steps, update. Nothing waits for the device.
    ///
    /// # Errors
    /// What the device refuses, now or in an earlier iteration.
    pub fn step(&mut self) -> Result<()> {
        let learning_rate = self.write_inputs()?;
        self.device.run(&self.gather)?;
        self.device.run(&self.prepare)?;
        if let (Some(sgld), Some(scatter)) = (&self.sgld, &self.scatter) {
            for _ in 0..self.recipe.steps {
                self.device.run(sgld)?;
            }
            self.device.run(scatter)?;
        }
        self.device.run(&self.update)?;
        let metrics = self.buffer(METRICS);
        let pending = self.device.read_later(metrics, 0, metrics.bytes())?;
        self.pending.push_back((self.iteration, learning_rate, pending));
        self.iteration += 1;
        Ok(())
    }

    /// Runs one iteration, an SGLD step of it once, and returns each program's name, how often an iteration
    /// runs it, and the time of each of its dispatches. What is in training changes as little as by that.
    ///
    /// # Errors
    /// What the device refuses, such as timestamps that it does not have.
    pub fn profile(&mut self) -> Result<Vec<(String, usize, Vec<DispatchTime>)>> {
        self.write_inputs()?;
        let steps = self.recipe.steps;
        let all = [
            (Some(&self.gather), 1),
            (Some(&self.prepare), 1),
            (self.sgld.as_ref(), steps),
            (self.scatter.as_ref(), 1),
            (Some(&self.update), 1),
        ];
        let profile = |(program, runs): (&Executable, usize)| {
            Ok((program.program().name.clone(), runs, self.device.profile(program)?))
        };
        all.into_iter().filter_map(|(program, runs)| Some((program?, runs))).map(profile).collect()
    }

    /// Writes what the host gives to an iteration; returns the learning rate.
    fn write_inputs(&mut self) -> Result<f64> {
        let iteration = self.iteration;
        self.write_counters()?;
        let learning_rate = self.recipe.learning_rate(iteration, self.train_labels.len());
        self.write(CONTROL_WORDS, &self.optimizer.control(iteration + 1, learning_rate))?;
        let mut labels = Vec::with_capacity(self.batch.images());
        if self.batch.data > 0 {
            let indices = self.data_order.draw(iteration, self.batch.data);
            labels.extend(indices.iter().map(|&i| self.train_labels[i as usize]));
            self.write("data indices", &indices)?;
        }
        if self.batch.samples > 0 {
            let classes = self.recipe.class_conditional.then_some(self.network.classes);
            let (seed, buffer) = (self.recipe.seed, self.recipe.buffer);
            let chains = draw_chains(seed, iteration, self.batch.samples, buffer, classes);
            self.write("chain indices", &chains.entries)?;
            self.write("chain labels", &chains.labels)?;
            labels.extend(chains.labels);
        }
        if self.batch.labelled > 0 {
            let indices = self.labelled_order.draw(iteration, self.batch.labelled);
            labels.extend(indices.iter().map(|&i| self.train_labels[i as usize]));
            self.write("labelled indices", &indices)?;
        }
        self.write(LABELS, &labels)?;
        Ok(learning_rate)
    }

    /// The metrics that have arrived; waits only if too many are under way.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn metrics(&mut self) -> Result<Vec<Metrics>> {
        self.take_metrics(METRICS_IN_FLIGHT)
    }

    /// All metrics; waits for the device.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn finish_metrics(&mut self) -> Result<Vec<Metrics>> {
        self.take_metrics(0)
    }

    fn take_metrics(&mut self, in_flight: usize) -> Result<Vec<Metrics>> {
        let mut arrived = Vec::new();
        while let Some((_, _, pending)) = self.pending.front() {
            if self.pending.len() <= in_flight && !pending.is_ready() {
                break;
            }
            let (iteration, learning_rate, pending) = self.pending.pop_front().expect("there is a front");
            let words: Vec<f32> = bytemuck::pod_collect_to_vec(&pending.wait()?);
            arrived.push(Metrics::new(iteration, learning_rate, &words, self.batch, &self.parts));
        }
        Ok(arrived)
    }

    /// The next iteration, from 0 on: the number of those that were queued.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// What the recipe's precision came to on this device, in words.
    pub fn precision(&self) -> &str {
        &self.precision
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network.
    pub fn network(&self) -> &WideResNet {
        &self.network
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The programs of an iteration, for their summaries: gather, prepare, SGLD step, scatter, update.
    pub fn programs(&self) -> Vec<&Program> {
        let all = [Some(&self.gather), Some(&self.prepare), self.sgld.as_ref(), self.scatter.as_ref()];
        all.into_iter().flatten().chain([&self.update]).map(Executable::program).collect()
    }

    /// Scores `data` with the parameters in training.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn evaluator(&self, data: &Dataset, batch: usize) -> Result<Evaluator> {
        Evaluator::new(&self.device, &self.network, self.buffer(PARAMETERS), data, batch)
    }

    /// The current values of all parameters, as the flat buffer.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn parameters(&self) -> Result<Vec<f32>> {
        self.device.read_as(self.buffer(PARAMETERS))
    }

    /// Replaces all parameters by those of a flat buffer.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn set_parameters(&self, flat: &[f32]) -> Result<()> {
        self.write(PARAMETERS, flat)
    }

    /// The samples of the last iteration, NHWC; empty without sampling.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn samples(&self) -> Result<Vec<f32>> {
        let image = self.batch.image() as u64 * 4;
        let (first, bytes) = (self.batch.data as u64 * image, self.batch.samples as u64 * image);
        let pending = self.device.read_later(self.buffer(IMAGES), first, bytes)?;
        Ok(bytemuck::pod_collect_to_vec(&pending.wait()?))
    }

    /// All that the run needs to go on: parameters, optimizer state, replay buffer, iteration, recipe.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let mut checkpoint = self.model()?;
        for slot in self.optimizer.state() {
            let flat: Vec<f32> = self.device.read_as(self.buffer(slot))?;
            for (parameter, values) in self.layout.scatter(&flat) {
                checkpoint.push_f32(format!("{slot}.{}", parameter.name), &parameter.file_shape(), values);
            }
        }
        if self.batch.samples > 0 {
            let (h, w, c) = (self.batch.height, self.batch.width, self.batch.channels);
            let images: Vec<f32> = self.device.read_as(self.buffer(REPLAY))?;
            let images = pack::nhwc_to_nchw(&images, self.recipe.buffer, h, w, c);
            checkpoint.push_f32("replay_buffer", &[self.recipe.buffer, c, h, w], images);
        }
        Ok(checkpoint)
    }

    /// Parameters, iteration and recipe: what is needed to use the model.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn model(&self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::default();
        for (parameter, values) in self.layout.scatter(&self.parameters()?) {
            checkpoint.push_f32(&parameter.name, &parameter.file_shape(), values);
        }
        let network = toml::to_string(&self.network).expect("a network is plain data");
        checkpoint.metadata.insert(FORMAT.0.into(), FORMAT.1.into());
        checkpoint.metadata.insert("architecture".into(), "wide-resnet".into());
        checkpoint.metadata.insert("network".into(), network);
        checkpoint.metadata.insert("data".into(), self.data.clone());
        let (height, width) = (self.batch.height, self.batch.width);
        checkpoint.metadata.insert("image_size".into(), format!("[{height},{width}]"));
        checkpoint.metadata.insert("iteration".into(), self.iteration.to_string());
        checkpoint.metadata.insert("recipe".into(), self.recipe.to_toml());
        Ok(checkpoint)
    }

    /// Goes on from a checkpoint of the same recipe; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] if a tensor is missing or has another shape.
    pub fn restore(&mut self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let find = |prefix: &str| {
            let prefix = prefix.to_owned();
            self.layout.gather(move |parameter| {
                checkpoint.f32(path, &format!("{prefix}{}", parameter.name), &parameter.file_shape())
            })
        };
        let iteration = checkpoint.text(path, "iteration")?;
        let iteration = iteration
            .parse()
            .map_err(|_| Error::file(path, format!("iteration: expected a number, got {iteration:?}")))?;
        self.set_parameters(&find("")?)?;
        for slot in self.optimizer.state() {
            self.write(slot, &find(&format!("{slot}."))?)?;
        }
        if self.batch.samples > 0 {
            let (h, w, c) = (self.batch.height, self.batch.width, self.batch.channels);
            let images = checkpoint.f32(path, "replay_buffer", &[self.recipe.buffer, c, h, w])?;
            self.write(REPLAY, &pack::nchw_to_nhwc(images, self.recipe.buffer, c, h, w))?;
        }
        self.pending.clear();
        self.iteration = iteration;
        Ok(())
    }
}
