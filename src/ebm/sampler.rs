//! Samples from a trained model: chains of Langevin dynamics with frozen weights.

use super::langevin::{COUNTER_WORDS, Langevin};
use super::model::Model;
use crate::compute::loss_term::STATS;
use crate::compute::random::{Threefry, stream};
use crate::device::{Buffer, Buffers, Device, Executable, Key, Program, ProgramBuilder};
use crate::error::{Error, Result};
use crate::graph::{Graph, Output, lower};
use crate::kernels::tick::COUNTERS;
use crate::nn::architecture::NormMode;
use crate::nn::network::{Network, Pass};
use crate::nn::parameters::PARAMETERS;

const CHAINS: Key<f32> = Key::new("chains");
const LABELS: Key<u32> = Key::new("chain labels");
const DENSITY: Key<f32> = Key::new("log density");
const MASK: Key<f32> = Key::new("mask");

/// The default starting image of chain `chain`, with `elements` values: uniform in [-1, 1), as in JEM's replay buffer.
pub fn uniform_image(seed: u32, chain: u32, elements: usize) -> Vec<f32> {
    let mut random = Threefry::new(seed, stream::REPLAY_FILL, chain);
    (0..elements).map(|_| 2.0 * random.uniform() - 1.0).collect()
}

/// Chains of one batch on a device. They sample log p(x), or log p(x|y) for each chain's class.
#[derive(Debug)]
pub struct Sampler {
    device: Device,
    prepare: Executable,
    step: Executable,
    density: Executable,
    buffers: Buffers,
    class_conditional: bool,
}

impl Sampler {
    /// Loads the programs for `chains` chains of `model`. With `mask` (one float for each element of an image, NHWC),
    /// elements whose mask is 0 are held at their starting values, in every chain.
    ///
    /// # Errors
    /// [`Error::Setting`] for a mask of another size; an error of the device.
    pub fn new(
        device: &Device,
        model: &Model,
        mode: NormMode,
        langevin: Langevin,
        chains: usize,
        class_conditional: bool,
        mask: Option<&[f32]>,
    ) -> Result<Self> {
        let [height, width, channels] = model.image_shape();
        let image = height * width * channels;
        if let Some(found) = mask.map(<[f32]>::len).filter(|&found| found != image) {
            let message = format!("expected {image} elements for {height}x{width}x{channels}, got {found}");
            return Err(Error::setting("mask", message));
        }
        let mut buffers = Buffers::new(device);
        buffers.add(PARAMETERS, &model.parameters(&model.network().layout())?)?;
        if let Some(mask) = mask {
            buffers.add(MASK, &mask.repeat(chains))?;
        }
        let network = &**model.network();
        let image = model.image_shape();
        let settings = (mode, langevin, class_conditional, mask.is_some());
        let sampler = Self::load(device, buffers, network, image, chains, settings)?;
        sampler.prepare()?;
        Ok(sampler)
    }

    /// Loads the programs for `chains` chains of images of shape `image` (height, width, channels) of a network whose
    /// `parameters` are in training on the device. Call [`Sampler::prepare`] before the first start, and again after
    /// the parameters change.
    ///
    /// # Errors
    /// An error of the device.
    pub fn in_training(
        device: &Device,
        network: &dyn Network,
        parameters: &Buffer,
        image: [usize; 3],
        langevin: Langevin,
        chains: usize,
        class_conditional: bool,
    ) -> Result<Self> {
        let mut buffers = Buffers::new(device);
        buffers.share(PARAMETERS, parameters.clone());
        let settings = (NormMode::Inference, langevin, class_conditional, false);
        Self::load(device, buffers, network, image, chains, settings)
    }

    /// Lowers and loads the programs; the last argument holds the mode of norms, the settings of SGLD, and whether
    /// chains are class-conditional and masked.
    fn load(
        device: &Device,
        mut buffers: Buffers,
        network: &dyn Network,
        [height, width, channels]: [usize; 3],
        chains: usize,
        (mode, langevin, class_conditional, masked): (NormMode, Langevin, bool, bool),
    ) -> Result<Self> {
        let image = height * width * channels;
        let layout = network.layout();
        let graph = Graph::new();
        let x = graph.input(CHAINS.name(), [chains, height, width, channels]);
        let labels = graph.indices(LABELS.name(), [chains]);
        let logits = network.logits(&x, &mut Pass::new(&layout, mode).without_dropout());
        let parts = [Langevin::log_density(chains, class_conditional)];
        let stats = logits.logit_stats(&labels, &parts);

        let mut prepare = ProgramBuilder::new("prepare");
        let mut step = ProgramBuilder::new("sgld");
        let images = step.external(CHAINS, chains * image);
        let density = step.external(DENSITY, chains * STATS);
        let held = masked.then(|| step.external(MASK, chains * image));
        let log_density = logits.logit_loss(&labels, &parts);
        let others = [Output { tensor: &stats, view: density }];
        langevin.append(device.policy(), &mut step, &mut prepare, &log_density, &x, images, &others, held)?;

        let mut last = ProgramBuilder::new("density");
        let view = last.external(DENSITY, chains * STATS);
        lower(device.policy(), &mut last, Some(&mut prepare), &[Output { tensor: &stats, view }])?;

        buffers.zeros(CHAINS, chains * image)?;
        buffers.zeros(LABELS, chains)?;
        buffers.zeros(COUNTER_WORDS, COUNTERS)?;
        let prepare = buffers.load(prepare.finish())?;
        let step = buffers.load(step.finish())?;
        let density = buffers.load(last.finish())?;
        Ok(Self { device: device.clone(), prepare, step, density, buffers, class_conditional })
    }

    /// Computes the results that depend on the parameters alone, such as transposed weights.
    ///
    /// # Errors
    /// An error of the device.
    pub fn prepare(&self) -> Result<()> {
        self.device.run(&self.prepare)
    }

    /// Starts the chains at `images` (NHWC), each for its class in `labels` (read if class-conditional). The noise is a
    /// function of `seed` and the number of the step, which starts at `first_step`.
    ///
    /// # Errors
    /// [`Error::Binding`] for lengths that do not match the number of chains; an error of the device.
    pub fn start(&self, images: &[f32], labels: &[u32], seed: u32, first_step: u32) -> Result<()> {
        self.buffers.write(CHAINS, images)?;
        self.buffers.write(LABELS, labels)?;
        self.buffers.write(COUNTER_WORDS, &[seed, 0, first_step, 0])
    }

    /// Runs one step; returns each chain's log density (up to a constant) before it, in nats.
    ///
    /// # Errors
    /// An error of the device.
    pub fn step(&self) -> Result<Vec<f32>> {
        self.device.run(&self.step)?;
        self.log_density()
    }

    /// Runs one step, and waits for it.
    ///
    /// # Errors
    /// An error of the device.
    pub fn advance(&self) -> Result<()> {
        self.device.run(&self.step)?;
        self.device.wait()
    }

    /// Each chain's current energy -LogSumExp f(x) in nats, also of chains that sample log p(x|y).
    ///
    /// # Errors
    /// An error of the device.
    pub fn energies(&self) -> Result<Vec<f32>> {
        self.device.run(&self.density)?;
        let stats: Vec<f32> = self.buffers.read(DENSITY)?;
        Ok(stats.chunks(STATS).map(|row| -row[0]).collect())
    }

    /// Each chain's current log density (up to a constant), in nats.
    ///
    /// # Errors
    /// An error of the device.
    pub fn density(&self) -> Result<Vec<f32>> {
        self.device.run(&self.density)?;
        self.log_density()
    }

    /// LogSumExp f(x), or f(x)[y] = LogSumExp f(x) - cross-entropy.
    fn log_density(&self) -> Result<Vec<f32>> {
        let stats: Vec<f32> = self.buffers.read(DENSITY)?;
        let one = |row: &[f32]| if self.class_conditional { row[0] - row[1] } else { row[0] };
        Ok(stats.chunks(STATS).map(one).collect())
    }

    /// The chains, NHWC.
    ///
    /// # Errors
    /// An error of the device.
    pub fn images(&self) -> Result<Vec<f32>> {
        self.buffers.read(CHAINS)
    }

    /// The program of a step, for its summary.
    pub fn program(&self) -> &Program {
        self.step.program()
    }
}
