//! The fused programs of training compared with numbers of the published JEM implementation, computed in float64.
//!
//! `fixtures/wrn10_1` is a copy of one of its networks. With `JEM_REFERENCE=DIR`, every folder of DIR that has
//! the same files (WRN-16-2 is too large to keep here) is compared as well. Errors are ||a - b|| / ||b||.

#[path = "common/devices.rs"]
mod devices;

use devices::devices;
use jem::compute::winograd::Winograd;
use jem::device::{Buffers, Device, Element, Executable, Key, Program};
use jem::ebm::langevin::INPUT_GRADIENT;
use jem::ebm::programs::{
    BatchLayout, CHAIN_LABELS, IMAGES, LABELS, METRICS, Programs, loss_terms, make_inputs,
};
use jem::ebm::{Metrics, Preset, Recipe};
use jem::graph::{Function, Graph};
use jem::io::{checkpoint::Checkpoint, pack};
use jem::nn::batch_norm::NormMode;
use jem::nn::network::{Network, Pass};
use jem::nn::optimizer::{CONTROL_WORDS, GRADIENTS};
use jem::nn::parameters::{PARAMETERS, ParameterLayout};
use jem::nn::wide_resnet::WideResNet;
use jem::policy::convolution::ConvolutionPolicy;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The bound on float32 rounding of logits, energies and losses.
const LOGITS: f64 = 1e-5;
/// The bound on float32 rounding of gradients, chains and steps.
const GRADIENT: f64 = 1e-4;
/// Adam divides by the root of the squared gradient: if a gradient is below this fraction of the parameter's root mean
/// square, its rounding determines the step. Those few elements are left out.
const NEAR_ZERO: f64 = 1e-2;
/// Image 16's value at row 10, column 4 of this channel, before the leaky ReLU, is 2.3e-8 in WRN-16-2, where the mean
/// is 7e-2: the rounding of float32 determines its sign, and 1.6e-4 of the gradient of this convolution's weights. With
/// a bias larger by this amount the value has the sign of float64 again, while all other values of the channel are
/// beyond 1.3e-5.
const KINK: (WideResNet, &str, usize, f32) =
    (WideResNet::new(16, 2, 10, CHANNELS), "f.layer2.1.conv1.bias", 8, 3e-7);
/// The number of images of each part of the batch.
const IMAGES_EACH: usize = 6;
/// The number of rows and of columns of an image.
const SIDE: usize = 32;
const CHANNELS: usize = 3;

/// The files of one network.
struct Reference {
    folder: PathBuf,
    case: BTreeMap<String, Vec<f64>>,
    gradients: BTreeMap<String, Vec<f64>>,
    after_adam5: BTreeMap<String, Vec<f64>>,
    weights: Checkpoint,
    network: WideResNet,
}

impl Reference {
    fn load(folder: &Path) -> Self {
        let (case, metadata) = tensors(&folder.join("case.safetensors"));
        let number = |key: &str| metadata[key].parse::<usize>().expect("a number");
        let network = WideResNet::new(number("depth"), number("width"), number("classes"), CHANNELS);
        network.check().expect("a network");
        Self {
            case,
            gradients: tensors(&folder.join("gradients.safetensors")).0,
            after_adam5: tensors(&folder.join("after_adam5.safetensors")).0,
            weights: Checkpoint::load(&folder.join("weights.safetensors")).expect("weights"),
            network,
            folder: folder.to_owned(),
        }
    }

    /// The weights as the library's flat buffer.
    fn parameters(&self, layout: &ParameterLayout) -> Vec<f32> {
        let path = self.folder.join("weights.safetensors");
        layout
            .gather(|parameter| self.weights.f32(&path, &parameter.name, &parameter.file_shape()))
            .expect("every parameter")
    }

    /// [`Reference::parameters`] with the bias that avoids the [`KINK`].
    fn parameters_off_kink(&self, layout: &ParameterLayout) -> Vec<f32> {
        let mut flat = self.parameters(layout);
        let (network, name, channel, nudge) = KINK;
        if self.network == network {
            let mut parameters = layout.parameters().iter();
            let bias = parameters.find(|parameter| parameter.name == name).expect("the bias");
            flat[bias.offset + channel] += nudge;
        }
        flat
    }

    fn images(&self, name: &str) -> Vec<f32> {
        nhwc(&self.case[name])
    }

    fn labels(&self, name: &str) -> Vec<u32> {
        self.case[name].iter().map(|&label| label as u32).collect()
    }
}

/// The tensors of a file by name, as float64, and its metadata. (The library reads float64 as float32.)
fn tensors(path: &Path) -> (BTreeMap<String, Vec<f64>>, BTreeMap<String, String>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = |dtype, data: &[u8]| -> Vec<f64> {
        match dtype {
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{}: type {other}", path.display()),
        }
    };
    let tensors = file.iter().map(|(name, t)| (name.to_owned(), values(t.dtype(), t.data()))).collect();
    let metadata = SafeTensors::read_metadata(&bytes).expect("safetensors").1.metadata().clone();
    (tensors, metadata.unwrap_or_default().into_iter().collect())
}

/// Converts images of a file, NCHW, to the layout of the device.
fn nhwc(images: &[f64]) -> Vec<f32> {
    let images: Vec<f32> = images.iter().map(|&v| v as f32).collect();
    let n = images.len() / (CHANNELS * SIDE * SIDE);
    pack::nchw_to_nhwc(&images, n, CHANNELS, SIDE, SIDE)
}

/// The programs of a training iteration without its trainer, so that the test chooses the batch and the iteration.
struct Iteration {
    device: Device,
    batch: BatchLayout,
    buffers: Buffers,
    prepare: Executable,
    sgld: Executable,
    update: Executable,
}

impl Iteration {
    fn new(device: &Device, policy: ConvolutionPolicy, recipe: &Recipe, reference: &Reference) -> Self {
        let network = &reference.network;
        let batch = BatchLayout::new(recipe, SIDE, SIDE, CHANNELS);
        let programs = Programs::build(recipe, network, batch, IMAGES_EACH, &policy).expect("programs");
        let winograd =
            |program: &Program| program.dispatches.iter().any(|d| d.kernel.name() == "winograd_product");
        let [sgld, update] = [programs.sgld.as_ref().expect("samples"), &programs.update].map(winograd);
        assert_eq!(
            [sgld, update],
            [policy != ConvolutionPolicy::default(); 2],
            "the method that was asked for"
        );
        let mut buffers = Buffers::new(device);
        let layout = network.layout();
        buffers.add(PARAMETERS, &reference.parameters(&layout)).expect("weights");
        buffers.zeros(IMAGES, batch.images() * batch.image()).expect("images");
        make_inputs(&mut buffers, recipe, batch, &layout).expect("inputs");
        let prepare = buffers.load(programs.prepare).expect("prepare");
        let sgld = buffers.load(programs.sgld.expect("a recipe with samples")).expect("sgld");
        let update = buffers.load(programs.update).expect("update");
        Self { device: device.clone(), batch, buffers, prepare, sgld, update }
    }

    fn write<T: Element>(&self, key: Key<T>, words: &[T]) {
        self.buffers.write(key, words).expect("a write");
    }

    fn read(&self, key: Key<f32>) -> Vec<f32> {
        self.buffers.read(key).expect("a read")
    }

    fn write_chains(&self, images: &[f32]) {
        let first = self.batch.data * self.batch.image();
        self.buffers.write_from(IMAGES, first, images).expect("chains");
    }

    fn chains(&self) -> Vec<f32> {
        let first = self.batch.data * self.batch.image();
        self.read(IMAGES)[first..][..self.batch.samples * self.batch.image()].to_vec()
    }

    /// Runs one SGLD step from `x`; returns the gradient of log p̃ there, NCHW.
    fn input_gradient(&self, x: &[f32], labels: &[u32]) -> Vec<f32> {
        self.write_chains(x);
        self.write(CHAIN_LABELS, labels);
        self.device.run(&self.prepare).expect("prepare");
        self.device.run(&self.sgld).expect("sgld");
        self.nchw(&self.read(INPUT_GRADIENT))
    }

    fn nchw(&self, images: &[f32]) -> Vec<f32> {
        pack::nhwc_to_nchw(images, images.len() / self.batch.image(), SIDE, SIDE, CHANNELS)
    }
}

/// The compared quantities, with error and bound.
struct Report(Vec<(String, f64, f64)>);

impl Report {
    fn compare(&mut self, what: impl Into<String>, a: &[f32], b: &[f64], bound: f64) {
        let a: Vec<f64> = a.iter().map(|&v| f64::from(v)).collect();
        self.compare_wide(what, &a, b, bound);
    }

    fn compare_wide(&mut self, what: impl Into<String>, a: &[f64], b: &[f64], bound: f64) {
        let what = what.into();
        assert_eq!(a.len(), b.len(), "{what}: elements");
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let error = norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied());
        self.0.push((what, error, bound));
    }

    /// # Panics
    /// If any error exceeds its bound; the message has every such line.
    fn finish(self, title: &str) {
        let line = |(what, error, bound): &(String, f64, f64)| {
            format!("{title}: {what}: {error:.2e} (bound {bound:.0e})")
        };
        let outside = |(_, error, bound): &&(String, f64, f64)| error.is_nan() || error > bound;
        let failed: Vec<String> = self.0.iter().filter(outside).map(line).collect();
        self.0.iter().for_each(|entry| println!("{}", line(entry)));
        assert!(failed.is_empty(), "out of bounds:\n{}", failed.join("\n"));
    }
}

/// The published recipe, with steps along the gradient only: the noise is the reference's, added by the host.
fn recipe() -> Recipe {
    Recipe {
        batch: IMAGES_EACH,
        steps: 8,
        step_size: 1.0,
        noise: 0.0,
        clamp_gradient: 0.0,
        clamp_x: false,
        buffer: IMAGES_EACH,
        class_conditional: false,
        p_x: 1.0,
        p_y_given_x: 1.0,
        p_xy: 0.0,
        energy_l2: 0.0,
        ..Preset::Paper.recipe()
    }
}

/// Runs `test` for every reference network on every device, with every method for its convolutions.
fn for_each(test: impl Fn(&Device, ConvolutionPolicy, &Reference, &mut Report)) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut folders = folders(&fixtures);
    assert!(!folders.is_empty(), "no references in {}", fixtures.display());
    match std::env::var_os("JEM_REFERENCE") {
        None => {
            // Bypass libtest's capture, so that this is shown when the test passes.
            let line =
                "reference: JEM_REFERENCE is not set: only the networks in tests/fixtures are compared";
            writeln!(std::io::stderr(), "{line}").expect("standard error");
        }
        Some(more) => {
            let more = self::folders(Path::new(&more));
            assert!(!more.is_empty(), "JEM_REFERENCE has no folder with case.safetensors");
            folders.extend(more);
        }
    }
    let devices = devices();
    for folder in folders {
        let reference = Reference::load(&folder);
        for (name, device) in &devices {
            let winograd = Winograd::ALL.map(|size| (format!("{size:?}"), ConvolutionPolicy::always(size)));
            let methods = [("implicit".to_owned(), ConvolutionPolicy::default())].into_iter().chain(winograd);
            for (method, policy) in methods {
                let mut report = Report(Vec::new());
                test(device, policy, &reference, &mut report);
                let folder = folder.file_name().unwrap_or_default().display();
                report.finish(&format!("{folder} on {name}, {method}"));
            }
        }
    }
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|folder| folder.join("case.safetensors").is_file());
    folders.sort();
    folders
}

#[test]
fn logits_energies_and_probabilities() {
    for_each(|device, policy, reference, report| {
        let layout = reference.network.layout();
        let graph = Graph::new();
        let x = graph.input("x", [IMAGES_EACH, SIDE, SIDE, CHANNELS]);
        let y = graph.indices("y", [IMAGES_EACH]);
        let logits = reference.network.logits(&x, &mut Pass::new(&layout, NormMode::Inference));
        let outputs = [
            ("logits", &logits),
            ("logsumexp", &logits.logsumexp()),
            ("probabilities", &logits.softmax()),
            ("logit_y", &logits.gather_labels(&y)),
        ];
        let function =
            Function::with_policy(device, &policy, &outputs.map(|(_, tensor)| tensor)).expect("a function");
        function.set_slot(PARAMETERS.name(), &reference.parameters(&layout)).expect("weights");
        function.set(&x, &reference.images("x_p")).expect("images");
        function.set(&y, &reference.labels("y_cond")).expect("labels");
        function.run().expect("a run");
        for (name, tensor) in outputs {
            let value = function.get(tensor).expect("an output");
            report.compare(name, &value, &reference.case[name], LOGITS);
        }
    });
}

#[test]
fn input_gradients() {
    for_each(|device, policy, reference, report| {
        for (name, class_conditional) in [("dlogsumexp_dx", false), ("dlogit_y_dx", true)] {
            let buffer = IMAGES_EACH * reference.network.classes;
            let recipe = Recipe { class_conditional, buffer, ..recipe() };
            let iteration = Iteration::new(device, policy.clone(), &recipe, reference);
            let gradient = iteration.input_gradient(&reference.images("x_p"), &reference.labels("y_cond"));
            report.compare(name, &gradient, &reference.case[name], GRADIENT);
        }
    });
}

#[test]
fn sgld_chain() {
    for_each(|device, policy, reference, report| {
        let iteration = Iteration::new(device, policy, &recipe(), reference);
        let size = IMAGES_EACH * iteration.batch.image();
        let noise = &reference.case["sgld_noise"];
        let mut states = reference.case["sgld_chain"].chunks(size);
        iteration.device.run(&iteration.prepare).expect("prepare");
        iteration.write_chains(&reference.images("x_q"));
        for step in 1..=8 {
            iteration.device.run(&iteration.sgld).expect("sgld");
            let mut x = iteration.chains();
            let noise = nhwc(&noise[(step - 1) * size..][..size]);
            x.iter_mut().zip(noise).for_each(|(x, noise)| *x += 0.01 * noise);
            iteration.write_chains(&x);
            if [1, 4, 8].contains(&step) {
                let expected = states.next().expect("three states");
                let what = format!("chain after {step} steps");
                report.compare(what, &iteration.nchw(&x), expected, GRADIENT);
                // The change of a chain is smaller than the chain.
                let start = &reference.case["x_q"];
                let moved = |x: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
                    x.zip(start).map(|(x, start)| x - start).collect()
                };
                let ours = moved(&mut iteration.nchw(&x).into_iter().map(f64::from));
                let theirs = moved(&mut expected.iter().copied());
                report.compare_wide(format!("its change after {step}"), &ours, &theirs, GRADIENT);
            }
        }
    });
}

#[test]
fn loss_gradients_and_five_adam_steps() {
    for_each(|device, policy, reference, report| {
        let recipe = recipe();
        let layout = reference.network.layout();
        let iteration = Iteration::new(device, policy.clone(), &recipe, reference);
        let parts = loss_terms(&recipe, iteration.batch, reference.network.classes);
        let images = ["x_p", "x_q", "x_l"].map(|name| reference.images(name)).concat();
        // No term of data or samples uses a label: an invalid class would show up as NaN.
        let labels = [vec![u32::MAX; 2 * IMAGES_EACH], reference.labels("y_l")].concat();
        iteration.write(IMAGES, &images);
        iteration.write(LABELS, &labels);
        let optimizer = recipe.optimizer();
        let before = reference.parameters_off_kink(&layout);
        iteration.write(PARAMETERS, &before);
        let mut first_gradients = BTreeMap::new();
        for step in 1..=5 {
            iteration.write(CONTROL_WORDS, &optimizer.control(step, 1e-4, 0.0));
            iteration.device.run(&iteration.prepare).expect("prepare");
            iteration.device.run(&iteration.update).expect("update");
            let metrics =
                Metrics::new(step, 1e-4, &iteration.read(METRICS), iteration.batch, &parts, recipe.hold_gap);
            let loss = reference.case["adam_losses"][step as usize - 1];
            report.compare_wide(format!("loss before step {step}"), &[metrics.loss], &[loss], LOGITS);
            if step > 1 {
                continue;
            }
            let case = &reference.case;
            for (name, value) in [
                ("loss", metrics.loss),
                ("f_p", -metrics.energy_data),
                ("f_q", -metrics.energy_samples),
                ("cross_entropy", metrics.cross_entropy),
            ] {
                report.compare_wide(name, &[value], &case[name], LOGITS);
            }
            let flat = iteration.read(GRADIENTS);
            for (parameter, gradient) in layout.scatter(&flat) {
                let expected = &reference.gradients[&parameter.name];
                report.compare(format!("gradient of {}", parameter.name), &gradient, expected, GRADIENT);
                first_gradients.insert(parameter.name.clone(), expected);
            }
            let squares: f64 = first_gradients.values().flat_map(|g| g.iter()).map(|g| g * g).sum();
            report.compare_wide("gradient norm", &[metrics.gradient_norm], &[squares.sqrt()], GRADIENT);
        }
        assert_eq!(first_gradients.len(), reference.gradients.len(), "parameters with a gradient");
        let after = iteration.read(PARAMETERS);
        for ((parameter, before), (_, after)) in layout.scatter(&before).zip(layout.scatter(&after)) {
            let name = &parameter.name;
            let gradient = first_gradients[name];
            let rms = (gradient.iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64).sqrt();
            let difference = |(a, b): (f64, &f32)| a - f64::from(*b);
            let ours: Vec<f64> = after.into_iter().map(f64::from).zip(&before).map(difference).collect();
            let path = reference.folder.join("weights.safetensors");
            let published = reference.weights.f32(&path, name, &parameter.file_shape()).expect("weights");
            let expected = reference.after_adam5[name].iter().copied();
            let theirs: Vec<f64> = expected.zip(published).map(difference).collect();
            let certain: Vec<usize> =
                (0..ours.len()).filter(|&i| gradient[i].abs() >= NEAR_ZERO * rms).collect();
            let pick = |values: &[f64]| -> Vec<f64> { certain.iter().map(|&i| values[i]).collect() };
            // At most five steps against five in the opposite direction.
            let opposite = |(a, b): (&f64, &f64)| (a - b).abs() <= 10.0 * 1e-4;
            assert!(ours.iter().zip(&theirs).all(opposite), "{name}: longer steps than Adam's");
            let what = format!("Adam's change of {name} ({} of {} elements)", certain.len(), ours.len());
            report.compare_wide(what, &pick(&ours), &pick(&theirs), GRADIENT);
        }
    });
}
