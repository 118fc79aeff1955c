//! The programs that compute logits and the gradients of losses at images, for batches of several sizes.

use super::losses::Loss;
use super::threat::{HIGH, LOW};
use super::victim::Answer;
use crate::device::{Buffer, Buffers, Device, Executable, Key, ProgramBuilder};
use crate::ebm::Langevin;
use crate::error::{Error, Result};
use crate::graph::{Graph, Output, Tensor, lower};
use crate::nn::architecture::NormMode;
use crate::nn::network::{Network, Pass};
use crate::nn::parameters::PARAMETERS;
use std::collections::BTreeMap;
use std::sync::Arc;

const IMAGES: Key<f32> = Key::new("images");
const LABELS: Key<u32> = Key::new("labels");
const TARGETS: Key<u32> = Key::new("targets");
const LOGITS: Key<f32> = Key::new("logits");
const GRADIENT: Key<f32> = Key::new("input gradient");
const NOISE: Key<f32> = Key::new("noise");

/// The network and the batches of programs.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub network: Arc<dyn Network>,
    /// Rows, columns and channels.
    pub image: [usize; 3],
    /// The largest number of images of a call.
    pub batch: usize,
    /// The number of copies of each image that a call is given, one after the other. With several, the logits of an
    /// image are the logarithms of the mean of its copies' p(y|x), and its gradient is the sum of its copies'.
    pub copies: usize,
    /// SGLD from the images to those that are classified.
    pub unrolled: Option<Unrolled>,
}

/// Steps of SGLD in the graph, through which gradients pass. The activations of all steps are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unrolled {
    pub langevin: Langevin,
    pub steps: usize,
}

impl Unrolled {
    /// The updates for each gradient of log p(x): those of [`Langevin::append`].
    fn updates(&self) -> usize {
        if self.langevin.noise == 0.0 { 1 } else { self.langevin.inner_steps }
    }

    /// The number of normal random numbers for `elements` elements of images.
    pub fn noise(&self, elements: usize) -> usize {
        if self.langevin.noise == 0.0 { 0 } else { self.steps * self.updates() * elements }
    }

    /// The images after all steps from `x`, with the random numbers of the external buffer [`NOISE`].
    fn append(&self, setup: &Setup, pass: &mut Pass<'_>, x: &Tensor) -> Tensor {
        let Langevin { step_size, noise, clamp_gradient, clamp_x, inner_steps } = self.langevin;
        let (graph, updates) = (x.graph(), self.updates());
        let length = step_size * (inner_steps / updates) as f32;
        let count = self.noise(x.elements()) / x.elements();
        let normals = (count > 0).then(|| graph.input(NOISE.name(), [count, x.elements()]));
        let mut last = x.clone();
        for step in 0..self.steps {
            let log_density = setup.network.logits(&last, pass).logsumexp();
            let [gradient] = graph.grad(&log_density, [&last]);
            let gradient = clamp_gradient.map_or(gradient.clone(), |bound| gradient.clamp(-bound, bound));
            for update in 0..updates {
                last = last.add(&gradient.scale(length));
                if let Some(normals) = &normals {
                    let number = step * updates + update;
                    let normals = normals.slice(0, number..number + 1).reshape(x.shape());
                    last = last.add(&normals.scale(noise));
                }
                if clamp_x {
                    last = last.clamp(LOW, HIGH);
                }
            }
        }
        last
    }
}

impl Setup {
    pub fn elements(&self) -> usize {
        self.image.iter().product()
    }

    /// The least of `batch`, `batch / 2`, `batch / 4`, … (rounded up) that `n` images fit in. Attacks leave images that
    /// they have broken, so that batches become smaller.
    pub fn size_for(&self, n: usize) -> usize {
        let mut size = self.batch;
        while size.div_ceil(2) >= n && size > 1 {
            size = size.div_ceil(2);
        }
        size
    }
}

/// A network's programs, loaded when they are first used: for the logits, and for one loss at a time.
#[derive(Debug)]
pub(super) struct Programs {
    device: Device,
    setup: Setup,
    parameters: Buffer,
    forward: BTreeMap<usize, Loaded>,
    backward: BTreeMap<usize, Loaded>,
    /// The loss of `backward`.
    loss: Option<Loss>,
}

#[derive(Debug)]
struct Loaded {
    program: Executable,
    buffers: Buffers,
}

impl Programs {
    /// # Errors
    /// An error of the device; [`Error::Setting`] for a batch of 0.
    pub fn new(device: &Device, setup: Setup, parameters: &[f32]) -> Result<Self> {
        Self::sharing(device, setup, device.buffer_from(PARAMETERS.name(), parameters)?)
    }

    /// [`Programs::new`] with parameters that are on the device.
    ///
    /// # Errors
    /// The errors of [`Programs::new`].
    pub fn sharing(device: &Device, setup: Setup, parameters: Buffer) -> Result<Self> {
        if setup.batch == 0 || setup.copies == 0 {
            return Err(Error::setting("batch", "must be at least 1, got 0"));
        }
        let [forward, backward] = [BTreeMap::new(), BTreeMap::new()];
        Ok(Self { device: device.clone(), setup, parameters, forward, backward, loss: None })
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn parameters(&self) -> &Buffer {
        &self.parameters
    }

    /// The logits of n images, `[n, classes]`; `images` are `[n, copies, height, width, channels]`.
    ///
    /// # Errors
    /// An error of the device.
    pub fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let n = images.len() / (self.setup.elements() * self.setup.copies);
        let size = self.setup.size_for(n);
        if !self.forward.contains_key(&size) {
            let loaded = load(&self.device, &self.setup, &self.parameters, size, None)?;
            self.forward.insert(size, loaded);
        }
        let Loaded { program, buffers } = &self.forward[&size];
        buffers.write(IMAGES, images)?;
        self.device.run(program)?;
        self.read(buffers, LOGITS, n * self.setup.network.classes())
    }

    /// The logits of images as [`Programs::logits`], and the gradient of each image's loss at it.
    ///
    /// # Errors
    /// An error of the device.
    pub fn gradient(
        &mut self,
        loss: Loss,
        images: &[f32],
        labels: &[u32],
        targets: &[u32],
    ) -> Result<Answer> {
        self.gradient_with(loss, images, labels, targets, |_| Vec::new())
    }

    /// [`Programs::gradient`] with the normal random numbers of SGLD; `noise` makes as many as it is told.
    ///
    /// # Errors
    /// An error of the device.
    pub fn gradient_with(
        &mut self,
        loss: Loss,
        images: &[f32],
        labels: &[u32],
        targets: &[u32],
        noise: impl FnOnce(usize) -> Vec<f32>,
    ) -> Result<Answer> {
        let n = labels.len();
        let size = self.setup.size_for(n);
        if self.loss != Some(loss) {
            self.backward.clear();
            self.loss = Some(loss);
        }
        if !self.backward.contains_key(&size) {
            let loaded = load(&self.device, &self.setup, &self.parameters, size, Some(loss))?;
            self.backward.insert(size, loaded);
        }
        let Loaded { program, buffers } = &self.backward[&size];
        buffers.write(IMAGES, images)?;
        buffers.write(LABELS, labels)?;
        buffers.write(TARGETS, targets)?;
        if let Some(unrolled) = &self.setup.unrolled {
            let count = unrolled.noise(size * self.setup.copies * self.setup.elements());
            if count > 0 {
                buffers.write(NOISE, &noise(count))?;
            }
        }
        self.device.run(program)?;
        Ok(Answer {
            logits: self.read(buffers, LOGITS, n * self.setup.network.classes())?,
            gradient: self.read(buffers, GRADIENT, n * self.setup.elements())?,
        })
    }

    /// The first `count` elements of a buffer.
    fn read(&self, buffers: &Buffers, key: Key<f32>, count: usize) -> Result<Vec<f32>> {
        let bytes = self.device.read_later(buffers.get(key), 0, 4 * count as u64)?.wait()?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

/// Loads the program for `size` images. Rows beyond those of a call hold images of earlier calls, which no other row
/// depends on.
fn load(
    device: &Device,
    setup: &Setup,
    parameters: &Buffer,
    size: usize,
    loss: Option<Loss>,
) -> Result<Loaded> {
    let [height, width, channels] = setup.image;
    let graph = Graph::new();
    let x = graph.input(IMAGES.name(), [size * setup.copies, height, width, channels]);
    let layout = setup.network.layout();
    let pass = &mut Pass::new(&layout, NormMode::Inference).without_dropout();
    let last = setup.unrolled.map_or(x.clone(), |unrolled| unrolled.append(setup, pass, &x));
    let logits = mean_of_copies(&setup.network.logits(&last, pass), setup.copies);
    let [mut prepare, mut builder] = ["prepare", "attack"].map(ProgramBuilder::new);
    let gradient = loss.map(|loss| {
        let [labels, targets] = [LABELS, TARGETS].map(|key| graph.indices(key.name(), [size]));
        let [gradient] = graph.grad(&loss.of(&logits, &labels, &targets), [&x]);
        match setup.copies {
            1 => gradient,
            copies => gradient.reshape([size, copies, setup.elements()]).sum(&[1]),
        }
    });
    let mut outputs = vec![Output { tensor: &logits, view: builder.external(LOGITS, logits.elements()) }];
    if let Some(gradient) = &gradient {
        outputs.push(Output { tensor: gradient, view: builder.external(GRADIENT, gradient.elements()) });
    }
    lower(device.policy(), &mut builder, Some(&mut prepare), &outputs)?;
    let mut buffers = Buffers::new(device);
    buffers.share(PARAMETERS, parameters.clone());
    buffers.zeros(IMAGES, x.elements())?;
    buffers.zeros(LABELS, size)?;
    buffers.zeros(TARGETS, size)?;
    if let Some(unrolled) = &setup.unrolled {
        buffers.zeros(NOISE, unrolled.noise(x.elements()).max(1))?;
    }
    let prepare = buffers.load(prepare.finish())?;
    device.run(&prepare)?;
    let program = buffers.load(builder.finish())?;
    Ok(Loaded { program, buffers })
}

/// The logarithm of the mean over each image's copies of the softmax of `logits` `[n * copies, classes]`, `[n, classes]`;
/// the logits themselves for one copy.
fn mean_of_copies(logits: &Tensor, copies: usize) -> Tensor {
    if copies == 1 {
        return logits.clone();
    }
    let [rows, classes] = [logits.shape()[0], logits.shape()[1]];
    let n = rows / copies;
    let by_class = logits.log_softmax().reshape([n, copies, classes]).permute(&[0, 2, 1]);
    let sums = by_class.reshape([n * classes, copies]).logsumexp();
    sums.affine(1.0, -(copies as f32).ln()).reshape([n, classes])
}

#[cfg(test)]
mod tests {
    use super::super::small_network::{self, SIDE};
    use super::*;
    use approx::assert_relative_eq;

    fn programs(batch: usize, copies: usize) -> Programs {
        let (network, parameters) = small_network::perceptron(3, 5);
        let setup = Setup { network, image: [SIDE, SIDE, 1], batch, copies, unrolled: None };
        Programs::new(&Device::cpu(), setup, &parameters).unwrap()
    }

    #[test]
    fn batches_shrink_with_their_images() {
        let programs = programs(100, 1);
        let sizes = [1, 2, 3, 13, 14, 25, 26, 50, 51, 100].map(|n| programs.setup().size_for(n));
        assert_eq!(sizes, [1, 2, 4, 13, 25, 25, 50, 50, 100, 100]);
        assert_eq!(
            Programs::new(&Device::cpu(), Setup { batch: 0, ..programs.setup.clone() }, &[0.0])
                .err()
                .unwrap()
                .to_string(),
            "batch: must be at least 1, got 0"
        );
    }

    #[test]
    fn a_gradient_is_the_slope_of_the_loss_in_batches_of_any_size() {
        let images = small_network::images(5, 1);
        let [labels, targets] = [[0u32, 1, 2, 3, 4], [1u32, 2, 3, 4, 0]];
        let size = SIDE * SIDE;
        for loss in [Loss::CrossEntropy, Loss::Dlr, Loss::TargetedDlr, Loss::LogitDifference] {
            let mut whole = programs(8, 1);
            let answer = whole.gradient(loss, &images, &labels, &targets).unwrap();
            assert_eq!(answer.logits, whole.logits(&images).unwrap());
            let mut single = programs(1, 1);
            for row in 0..5 {
                let image = &images[row * size..][..size];
                let one = single.gradient(loss, image, &labels[row..=row], &targets[row..=row]).unwrap();
                for (a, b) in one.gradient.iter().zip(&answer.gradient[row * size..][..size]) {
                    assert_relative_eq!(a, b, epsilon = 1e-6, max_relative = 1e-5);
                }
                // Along the gradient the loss grows by its squared norm.
                let mut along = |by: f32| {
                    let moved: Vec<f32> = image.iter().zip(&one.gradient).map(|(x, g)| x + by * g).collect();
                    let logits = single.logits(&moved).unwrap();
                    loss.value(&logits, labels[row] as usize, targets[row] as usize)
                };
                let squared: f64 = one.gradient.iter().map(|&g| f64::from(g).powi(2)).sum();
                // The DLR loss of the third largest logit is constant.
                let step = 1e-3 / squared.sqrt().max(1e-3) as f32;
                let slope = (along(step) - along(-step)) / (2.0 * f64::from(step));
                assert_relative_eq!(slope, squared, epsilon = 1e-3, max_relative = 2e-2);
            }
        }
    }

    #[test]
    fn copies_are_averaged_as_probabilities() {
        let images = small_network::images(6, 2);
        let logits = programs(6, 1).logits(&images).unwrap();
        let mut pairs = programs(3, 2);
        let answer = pairs.gradient(Loss::CrossEntropy, &images, &[0, 1, 2], &[0, 0, 0]).unwrap();
        let softmax = |row: usize, class: usize| {
            let row = &logits[row * 5..][..5];
            f64::from(row[class]).exp() / row.iter().map(|&z| f64::from(z).exp()).sum::<f64>()
        };
        for image in 0..3 {
            for class in 0..5 {
                let mean = 0.5 * (softmax(2 * image, class) + softmax(2 * image + 1, class));
                assert_relative_eq!(f64::from(answer.logits[image * 5 + class]), mean.ln(), epsilon = 1e-5);
            }
        }
        // Equal copies are one image, whose gradient is their sum.
        let size = SIDE * SIDE;
        let twice: Vec<f32> = images.chunks(size).take(3).flat_map(|image| [image, image].concat()).collect();
        let of_pairs = pairs.gradient(Loss::CrossEntropy, &twice, &[0, 1, 2], &[0, 0, 0]).unwrap();
        let mut alone = programs(3, 1);
        let of_one = alone.gradient(Loss::CrossEntropy, &images[..3 * size], &[0, 1, 2], &[0, 0, 0]).unwrap();
        for (a, b) in of_pairs.gradient.iter().zip(&of_one.gradient) {
            assert_relative_eq!(a, b, epsilon = 1e-6, max_relative = 1e-4);
        }
    }
}
