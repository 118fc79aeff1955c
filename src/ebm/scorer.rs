//! Scores images with a trained model: logits, energies, probabilities, input gradients.

use super::model::Model;
use crate::compute::loss_term::LossTerm;
use crate::device::{Buffer, Buffers, Device, Executable, Key, Program, ProgramBuilder};
use crate::error::Result;
use crate::graph::{Graph, Output, lower};
use crate::nn::architecture::NormMode;
use crate::nn::network::{Network, Pass};
use crate::nn::parameters::PARAMETERS;

const IMAGES: Key<f32> = Key::new("images");
const NO_LABELS: Key<u32> = Key::new("no labels");
const LOGITS: Key<f32> = Key::new("logits");
const GRADIENT: Key<f32> = Key::new("input gradient");
const FEATURES: Key<f32> = Key::new("features");

/// The settings of a scorer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreSettings {
    /// The statistics that batch normalisation uses, if the model has it.
    pub mode: NormMode,
    /// The inverse temperature of the Gibbs distribution p(y|x) ∝ exp β f(x)\[y\].
    pub beta: f32,
    /// Whether to compute the gradient of the LogSumExp, minus the free energy, at the images.
    pub input_gradient: bool,
    /// Whether to return the features that the network's last layer reads.
    pub features: bool,
}

impl Default for ScoreSettings {
    /// Inference statistics, β = 1, neither gradient nor features.
    fn default() -> Self {
        Self { mode: NormMode::Inference, beta: 1.0, input_gradient: false, features: false }
    }
}

/// The scores of a batch of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// f(x), [n, classes].
    pub logits: Vec<f32>,
    /// The gradient of (1/β) LogSumExp β f(x) at the images, NHWC.
    pub input_gradient: Option<Vec<f32>>,
    /// The features that the network's last layer reads, `[n, ...]`, if the settings ask for them.
    pub features: Option<Vec<f32>>,
}

/// The programs that score batches of one size with a model.
#[derive(Debug)]
pub struct Scorer {
    device: Device,
    prepare: Executable,
    program: Executable,
    buffers: Buffers,
    settings: ScoreSettings,
}

impl Scorer {
    /// Loads the programs for batches of `batch` images.
    ///
    /// # Errors
    /// An error of the device.
    pub fn new(device: &Device, model: &Model, settings: ScoreSettings, batch: usize) -> Result<Self> {
        let mut buffers = Buffers::new(device);
        buffers.add(PARAMETERS, &model.parameters(&model.network().layout())?)?;
        let scorer = Self::load(device, buffers, &**model.network(), model.image_shape(), settings, batch)?;
        scorer.prepare()?;
        Ok(scorer)
    }

    /// Loads the programs for batches of `batch` images of shape `image` (height, width, channels), for a network whose
    /// `parameters` are in training on the device. After they change, call [`Scorer::prepare`] before the next score.
    ///
    /// # Errors
    /// An error of the device.
    pub fn in_training(
        device: &Device,
        network: &dyn Network,
        parameters: &Buffer,
        image: [usize; 3],
        settings: ScoreSettings,
        batch: usize,
    ) -> Result<Self> {
        let mut buffers = Buffers::new(device);
        buffers.share(PARAMETERS, parameters.clone());
        Self::load(device, buffers, network, image, settings, batch)
    }

    /// Lowers and loads the programs for a batch of images.
    fn load(
        device: &Device,
        mut buffers: Buffers,
        network: &dyn Network,
        [height, width, channels]: [usize; 3],
        settings: ScoreSettings,
        batch: usize,
    ) -> Result<Self> {
        let graph = Graph::new();
        let x = graph.input(IMAGES.name(), [batch, height, width, channels]);
        let layout = network.layout();
        let mut pass = Pass::new(&layout, settings.mode).without_dropout();
        let features = network.features(&x, &mut pass);
        let logits = network.head(&features, &mut pass);
        let mut builder = ProgramBuilder::new("score");
        let mut prepare = ProgramBuilder::new("prepare");
        let view = builder.external(LOGITS, logits.elements());
        let mut outputs = vec![Output { tensor: &logits, view }];
        let gradient = settings.input_gradient.then(|| {
            let labels = graph.indices(NO_LABELS.name(), [batch]);
            let part = LossTerm { count: batch, log_p_x: 1.0 / settings.beta, ..LossTerm::default() };
            let free_energy = logits.scale(settings.beta).logit_loss(&labels, &[part]);
            let [gradient] = graph.grad(&free_energy, [&x]);
            gradient
        });
        if let Some(gradient) = &gradient {
            outputs.push(Output { tensor: gradient, view: builder.external(GRADIENT, x.elements()) });
        }
        if settings.features {
            outputs.push(Output { tensor: &features, view: builder.external(FEATURES, features.elements()) });
        }
        lower(device.policy(), &mut builder, Some(&mut prepare), &outputs)?;
        buffers.zeros(IMAGES, x.elements())?;
        buffers.zeros(NO_LABELS, batch)?;
        let prepare = buffers.load(prepare.finish())?;
        let program = buffers.load(builder.finish())?;
        Ok(Self { device: device.clone(), prepare, program, buffers, settings })
    }

    /// Computes what depends on the parameters alone, such as transposed weights.
    ///
    /// # Errors
    /// An error of the device.
    pub fn prepare(&self) -> Result<()> {
        self.device.run(&self.prepare)
    }

    /// Scores a batch of images, NHWC in [-1, 1].
    ///
    /// # Errors
    /// [`crate::Error::Binding`] for another number of elements; an error of the device.
    pub fn score(&self, images: &[f32]) -> Result<Scores> {
        Ok(self.score_while(images, |_| true)?.expect("nothing stops it"))
    }

    /// Scores a batch as [`Scorer::score`] does. Returns `None` if `goes_on` returns false. `goes_on` is called at
    /// times with the fraction of the work that is done; it must not use the device.
    ///
    /// # Errors
    /// The errors of [`Scorer::score`].
    pub fn score_while(
        &self,
        images: &[f32],
        mut goes_on: impl FnMut(f64) -> bool,
    ) -> Result<Option<Scores>> {
        self.buffers.write(IMAGES, images)?;
        let dispatches = self.program().dispatches.len() as f64;
        if !self.device.run_while(&self.program, |next| goes_on(next as f64 / dispatches))? {
            return Ok(None);
        }
        let read = |wanted: bool, key| wanted.then(|| self.buffers.read(key)).transpose();
        let input_gradient = read(self.settings.input_gradient, GRADIENT)?;
        let features = read(self.settings.features, FEATURES)?;
        Ok(Some(Scores { logits: self.buffers.read(LOGITS)?, input_gradient, features }))
    }

    /// The program that scores a batch, for its summary.
    pub fn program(&self) -> &Program {
        self.program.program()
    }
}

/// The scores that follow from the logits of one image, in float64.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// (1/β) LogSumExp β f(x): minus the free energy, log p(x) up to a constant; in nats.
    pub logsumexp: f64,
    /// p(y|x) = exp(β f(x)\[y\]) / Σ exp(β f(x)).
    pub probabilities: Vec<f64>,
    /// The lowest-energy class, by -f(x)\[y\]; the first among equals.
    pub prediction: usize,
    /// -Σ p(y|x) log p(y|x), in nats.
    pub entropy: f64,
}

impl Posterior {
    /// The scores of one image with these `logits`; `beta` is the inverse temperature.
    pub fn new(logits: &[f32], beta: f64) -> Self {
        let scaled: Vec<f64> = logits.iter().map(|&f| beta * f64::from(f)).collect();
        let highest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = scaled.iter().map(|f| (f - highest).exp()).sum::<f64>().ln();
        // f - (highest + log_sum) would cancel for large logits.
        let log_p: Vec<f64> = scaled.iter().map(|f| (f - highest) - log_sum).collect();
        let probabilities: Vec<f64> = log_p.iter().map(|l| l.exp()).collect();
        // Plus 0, so that a certain prediction has the entropy 0, not -0.
        let entropy = 0.0
            - log_p.iter().zip(&probabilities).filter(|(_, p)| **p > 0.0).map(|(l, p)| l * p).sum::<f64>();
        let mut prediction = 0;
        for (class, &logit) in logits.iter().enumerate() {
            if logit > logits[prediction] {
                prediction = class;
            }
        }
        Self { logsumexp: (highest + log_sum) / beta, probabilities, prediction, entropy }
    }
}

/// The `k` lowest-energy classes, by -f(x)\[y\], the lowest first; ties are in the order of the classes.
pub fn ranking(logits: &[f32], k: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    classes.truncate(k);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn the_gibbs_distribution_of_three_energies() {
        let logits = [1.0f32, 3.0, 2.0];
        for beta in [0.5f64, 1.0, 4.0] {
            let posterior = Posterior::new(&logits, beta);
            let weights = logits.map(|f| (beta * f64::from(f)).exp());
            let z: f64 = weights.iter().sum();
            assert_relative_eq!(posterior.logsumexp, z.ln() / beta, max_relative = 1e-14);
            for (p, weight) in posterior.probabilities.iter().zip(weights) {
                assert_relative_eq!(*p, weight / z, max_relative = 1e-13);
            }
            let entropy: f64 = weights.iter().map(|w| -(w / z) * (w / z).ln()).sum();
            assert_relative_eq!(posterior.entropy, entropy, max_relative = 1e-12);
            assert_eq!(posterior.prediction, 1);
            assert_eq!(ranking(&logits, 2), [1, 2]);
        }
    }

    #[test]
    fn extreme_logits_overflow_nothing() {
        let posterior = Posterior::new(&[1e4, -1e4, 1e4], 100.0);
        assert_eq!((posterior.prediction, posterior.probabilities[1]), (0, 0.0));
        assert_relative_eq!(posterior.probabilities[0], 0.5);
        assert_relative_eq!(posterior.entropy, 2f64.ln());
        assert_relative_eq!(posterior.logsumexp, 1e4 + 2f64.ln() / 100.0);
    }
}
