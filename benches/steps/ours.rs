//! The engine's side: the programs of an iteration, loaded on a device and run one by one.

use super::clock::StepTime;
use jem::device::{Buffers, Device, Executable, Program, Summary};
use jem::ebm::Recipe;
use jem::ebm::programs::{
    BatchLayout, BatchPart, CHAIN_LABELS, COUNTER_WORDS, IMAGES, LABELS, Programs, make_inputs,
};
use jem::nn::network::Network as _;
use jem::nn::optimizer::{AVERAGES, CONTROL_WORDS};
use jem::nn::parameters::PARAMETERS;
use jem::policy::convolution::ConvolutionPolicy;

/// Classes of the network.
pub const CLASSES: usize = 10;

/// The step that is timed.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Forward, input gradient, SGLD update.
    Sgld,
    /// Forward, all gradients, optimizer.
    Update,
    /// This many SGLD steps and an update.
    Iteration(usize),
}

/// The loaded programs.
pub struct Ours {
    device: Device,
    prepare: Executable,
    sgld: Executable,
    perturb: Option<Executable>,
    update: Executable,
}

impl Ours {
    /// Builds the programs of `recipe` by `policy` for 32x32 images in three channels, with initial parameters
    /// and uniform images.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn new(device: &Device, recipe: &Recipe, policy: &ConvolutionPolicy) -> jem::Result<Self> {
        let network = recipe.network(CLASSES, 3);
        network.check()?;
        let batch = BatchLayout::new(recipe, 32, 32, 3);
        let programs = Programs::build(recipe, &network, batch, recipe.batch, policy)?;
        let image_words = batch.images() * batch.image();
        // Weyl's sequence: uniform in [-1, 1), and the same in every run.
        let uniform = |i: usize| (i as f64 * 0.618_033_988_749_894_9).fract() as f32 * 2.0 - 1.0;
        let images: Vec<f32> = (0..image_words).map(uniform).collect();
        let labels: Vec<u32> = (0..batch.rows()).map(|i| (i % CLASSES) as u32).collect();
        let parameters = network.layout().initialise(recipe.init, network.slope(), recipe.seed);
        let control = recipe.optimizer().control(1, recipe.lr, recipe.ema);
        let mut buffers = Buffers::new(device);
        buffers.add(IMAGES, &images)?;
        buffers.add(LABELS, &labels)?;
        buffers.add(CHAIN_LABELS, &labels[batch.rows_of(BatchPart::Samples)])?;
        buffers.add(PARAMETERS, &parameters)?;
        buffers.add(CONTROL_WORDS, &control)?;
        buffers.add(COUNTER_WORDS, &[recipe.seed, 0, 0, 0])?;
        make_inputs(&mut buffers, recipe, batch, &network.layout())?;
        if recipe.ema > 0.0 {
            buffers.add(AVERAGES, &parameters)?;
        }
        let prepare = buffers.load(programs.prepare)?;
        let sgld = buffers.load(programs.sgld.expect("the recipe samples"))?;
        let perturb = programs.perturb.map(|program| buffers.load(program)).transpose()?;
        let update = buffers.load(programs.update)?;
        device.run(&prepare)?;
        device.wait()?;
        Ok(Self { device: device.clone(), prepare, sgld, perturb, update })
    }

    /// The programs of a step, in order.
    pub fn programs(&self, step: Step) -> Vec<&Executable> {
        match step {
            Step::Sgld => vec![&self.sgld],
            Step::Update => [&self.prepare].into_iter().chain(self.descent()).collect(),
            Step::Iteration(k) => {
                let sgld = std::iter::repeat_n(&self.sgld, k);
                std::iter::once(&self.prepare).chain(sgld).chain(self.descent()).collect()
            }
        }
    }

    /// The optimizer's step; with SAM also the perturbation and the programs that depend on the perturbed weights.
    fn descent(&self) -> impl Iterator<Item = &Executable> {
        let up = self.perturb.iter().flat_map(|perturb| [perturb, &self.prepare]);
        up.chain([&self.update])
    }

    /// The time of one step, from its first dispatch until the device is done.
    ///
    /// # Errors
    /// Errors on the device.
    pub fn time(&self, step: Step) -> jem::Result<StepTime> {
        StepTime::of(&self.device, || {
            self.programs(step).into_iter().try_for_each(|program| self.device.run(program))
        })
    }

    /// The cost of one step: sums over its programs, and the highest peak.
    pub fn summary(&self, step: Step) -> Summary {
        total(self.programs(step).into_iter().map(Executable::program))
    }
}

/// Operations of the convolutions of an SGLD step, counted directly: each as one product of matrices, whatever
/// algorithm the device uses.
///
/// # Errors
/// If there is no such network.
pub fn convolution_flops(recipe: &Recipe) -> jem::Result<u64> {
    let batch = BatchLayout::new(recipe, 32, 32, 3);
    let network = recipe.network(CLASSES, 3);
    let programs = Programs::build(recipe, &network, batch, recipe.batch, &ConvolutionPolicy::default())?;
    Ok(programs.sgld.expect("the recipe samples").convolution_flops())
}

/// The sums over programs that run one after the other, and the highest peak.
///
/// # Panics
/// Without a program.
pub fn total<'a>(programs: impl Iterator<Item = &'a Program>) -> Summary {
    let add = |a: Summary, b: Summary| Summary {
        dispatches: a.dispatches + b.dispatches,
        flops: a.flops + b.flops,
        bytes_moved: a.bytes_moved + b.bytes_moved,
        transient_bytes: a.transient_bytes.max(b.transient_bytes),
        external_bytes: a.external_bytes.max(b.external_bytes),
        peak_bytes: a.peak_bytes.max(b.peak_bytes),
    };
    programs.map(Program::summary).reduce(add).expect("a program")
}
