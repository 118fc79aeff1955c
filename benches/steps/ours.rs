//! The engine's side: the programs of an iteration, loaded on a device and run one by one.

use super::Step;
use jem::device::{Buffer, Device, Executable, Program};
use jem::jem::Recipe;
use jem::jem::programs::{BatchLayout, COUNTER_WORDS, IMAGES, LABELS, Programs};
use jem::nn::optimizer::CONTROL_WORDS;
use jem::nn::parameters::PARAMETERS;
use jem::nn::wide_resnet::SLOPE;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Classes of the network.
const CLASSES: usize = 10;

/// The loaded programs.
pub struct Ours {
    device: Device,
    prepare: Executable,
    sgld: Executable,
    update: Executable,
}

impl Ours {
    /// Builds the programs of `recipe` for 32x32 images in three channels, with initial parameters and
    /// uniform images.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn new(device: &Device, recipe: &Recipe) -> jem::Result<Self> {
        let network = recipe.network(CLASSES, 3);
        network.check()?;
        let batch = BatchLayout::new(recipe, 32, 32, 3);
        let programs = Programs::build(recipe, &network, batch, recipe.batch, device.choices())?;
        let image_words = batch.images() * batch.image();
        // Weyl's sequence: uniform in [-1, 1), and the same in every run.
        let uniform = |i: usize| (i as f64 * 0.618_033_988_749_894_9).fract() as f32 * 2.0 - 1.0;
        let images: Vec<f32> = (0..image_words).map(uniform).collect();
        let labels: Vec<u32> = (0..batch.images()).map(|i| (i % CLASSES) as u32).collect();
        let parameters = network.layout().initialise(recipe.init, SLOPE, recipe.seed);
        let control = recipe.optimizer()?.control(1, recipe.lr);
        let mut buffers = BTreeMap::from([
            (IMAGES.to_owned(), device.buffer_from(IMAGES, &images)?),
            (LABELS.to_owned(), device.buffer_from(LABELS, &labels)?),
            (PARAMETERS.to_owned(), device.buffer_from(PARAMETERS, &parameters)?),
            (CONTROL_WORDS.to_owned(), device.buffer_from(CONTROL_WORDS, &control)?),
            (COUNTER_WORDS.to_owned(), device.buffer_from(COUNTER_WORDS, &[recipe.seed, 0, 0, 0])?),
        ]);
        let prepare = load(device, programs.prepare, &mut buffers)?;
        let sgld = load(device, programs.sgld.expect("the recipe samples"), &mut buffers)?;
        let update = load(device, programs.update, &mut buffers)?;
        device.run(&prepare)?;
        device.wait()?;
        Ok(Self { device: device.clone(), prepare, sgld, update })
    }

    fn programs(&self, step: Step) -> Vec<&Executable> {
        match step {
            Step::Sgld => vec![&self.sgld],
            Step::Update => vec![&self.prepare, &self.update],
        }
    }

    /// The time of one step, from its first dispatch until the device is done.
    ///
    /// # Errors
    /// What failed on the device.
    pub fn time(&self, step: Step) -> jem::Result<Duration> {
        let start = Instant::now();
        for program in self.programs(step) {
            self.device.run(program)?;
        }
        self.device.wait()?;
        Ok(start.elapsed())
    }

    /// The floating-point operations of one step.
    pub fn flops(&self, step: Step) -> u64 {
        self.programs(step).iter().map(|program| program.program().summary().flops).sum()
    }
}

/// Loads a program; external slots that no program before had get zeroed buffers.
fn load(
    device: &Device,
    program: Program,
    buffers: &mut BTreeMap<String, Buffer>,
) -> jem::Result<Executable> {
    for slot in program.externals() {
        if !buffers.contains_key(&slot.name) {
            buffers.insert(slot.name.clone(), device.buffer(&slot.name, slot.bytes)?);
        }
    }
    let externals: Vec<(&str, &Buffer)> = buffers.iter().map(|(name, b)| (name.as_str(), b)).collect();
    device.load(program, &externals)
}
