//! Imported networks compared with PyTorch's numbers in float64: normalisations in both modes, smooth activations,
//! spectral norm, buffers after a step of training, CIFAR ResNets, chains.
//!
//! `fixtures/networks/make.py` made the numbers. Weights and images come from a formula that it shares with this file.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/formula.rs"]
mod formula;

use devices::devices;
use formula::{parameter, values};
use jem::device::{Buffer, Device, ProgramBuilder};
use jem::ebm::{
    ImportOptions, InputNormalisation, Langevin, Model, Sampler, ScoreSettings, Scorer, SpectralForm,
};
use jem::graph::{Graph, Output, Tensor, lower};
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use jem::io::pack;
use jem::nn::architecture::{Architecture, Choices, NormMode};
use jem::nn::ingredients::{Activation, Norm};
use jem::nn::network::{Network, Pass};
use jem::nn::parameters::{PARAMETERS, ParameterLayout};
use jem::nn::resnet::{ResNet, Stem};
use jem::nn::spectral_norm;
use jem::nn::wide_resnet::WideResNet;
use std::collections::BTreeMap;
use std::path::Path;

/// The bound on float32 rounding of logits.
const LOGITS: f64 = 1e-5;
/// The bound on float32 rounding of gradients and chains.
const GRADIENT: f64 = 1e-4;
/// The number of images of a case.
const IMAGES: usize = 3;
const SIDE: usize = 32;
/// The images of the cases.
const RESNET_20: u32 = 1699;
const RESNET_8: u32 = 4280;
const WIDE: u32 = 3071;
const TRAINING: u32 = 1781;
const SMOOTH: u32 = 5;
/// The momentum of PyTorch's running statistics.
const MOMENTUM: f32 = 0.1;

/// A file of `architecture` with `make.py`'s weights, with its linear layer called `last`; the buffers of spectral norm
/// have PyTorch's names.
fn file(architecture: &Architecture, last: &str, directory: &Path) -> std::path::PathBuf {
    let layout = architecture.network().layout();
    let divided = layout.has_spectral_norm();
    let renamed = |name: &str, shape: &[usize]| {
        let original = if divided && name.ends_with(".weight") && shape.len() > 1 { "_orig" } else { "" };
        name.replace("linear", last) + original
    };
    let mut parameters: Vec<(String, Vec<usize>)> =
        layout.in_files().map(|p| (renamed(&p.name, &p.shape), p.file_shape())).collect();
    parameters.sort();
    let mut checkpoint = Checkpoint::default();
    for (number, (name, shape)) in parameters.into_iter().enumerate() {
        checkpoint.push_f32(&name, &shape, parameter(&name, &shape, number as u32));
    }
    let path = directory.join("network.safetensors");
    checkpoint.save(&path).expect("a file");
    path
}

fn wide(norm: Norm) -> Architecture {
    Architecture::of(WideResNet { norm, ..WideResNet::new(10, 1, 10, 3) })
}

/// WRN-10-1 with group norm and `silu`, with softplus, and with batch norm, spectral norm and `silu`.
fn smooth() -> [(&'static str, WideResNet); 3] {
    let plain = WideResNet::new(10, 1, 10, 3);
    let silu = WideResNet { activation: Activation::Silu, ..plain };
    [
        ("wrn10_1_gn_silu", WideResNet { norm: Norm::GROUP, ..silu }),
        ("wrn10_1_softplus", WideResNet { activation: Activation::Softplus, ..plain }),
        ("wrn10_1_bn_sn_silu", WideResNet { norm: Norm::Batch, spectral_norm: true, ..silu }),
    ]
}

fn residual(depth: usize, classes: usize) -> Architecture {
    Architecture::of(ResNet::cifar(depth, classes, 3))
}

/// The architecture that the metadata of a model name.
fn architecture_of(model: &Model) -> Architecture {
    Architecture::from_metadata(&model.file().metadata).expect("an architecture")
}

/// The settings of `network` that its names and shapes do not tell.
fn choices(network: &WideResNet) -> Choices {
    let norm = Some(network.norm).filter(|norm| !matches!(norm, Norm::None | Norm::Batch));
    let activation = Some(network.activation).filter(|&activation| activation != Activation::JEM);
    Choices { norm, activation, pooling: None }
}

/// The network and PyTorch's numbers of a case.
fn case(name: &str, architecture: &Architecture, last: &str, choices: Choices) -> (Model, Checkpoint) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(architecture, last, directory.path());
    let normalisation = (architecture.network().kind() == ResNet::KIND).then(|| InputNormalisation {
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.2470, 0.2435, 0.2616],
    });
    let options = ImportOptions { choices, normalisation, ..ImportOptions::default() };
    let model = Model::import(&path, options).expect("a model");
    assert_eq!(architecture_of(&model), *architecture);
    let numbers = Path::new("tests/fixtures/networks").join(format!("{name}.safetensors"));
    (model, Checkpoint::load(&numbers).expect("make.py's numbers"))
}

fn wide_case(name: &str, network: WideResNet) -> (Model, Checkpoint) {
    case(name, &Architecture::of(network), "linear", choices(&network))
}

/// `make.py`'s images of a case, by their number; no activation is near its kink.
fn images(number: u32) -> Vec<f32> {
    pack::nchw_to_nhwc(&values(number, IMAGES * 3 * SIDE * SIDE), IMAGES, 3, SIDE, SIDE)
}

fn nchw(images: &[f32]) -> Vec<f32> {
    pack::nhwc_to_nchw(images, IMAGES, SIDE, SIDE, 3)
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: elements");
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let norm = square(&mut expected.iter().map(|&b| f64::from(b)));
    let error = (difference / norm).sqrt();
    assert!(norm > 0.0 && error < bound, "{what}: relative error {error:.2e} over {bound:.0e}");
}

fn compare(model: &Model, numbers: &Checkpoint, mode: NormMode, number: u32, [logits, dx]: [&str; 2]) {
    let path = Path::new("make.py");
    let settings = ScoreSettings { mode, input_gradient: true, ..ScoreSettings::default() };
    let classes = model.network().classes();
    for (name, device) in devices() {
        let scorer = Scorer::new(&device, model, settings, IMAGES).expect("programs");
        let scores = scorer.score(&images(number)).expect("scores");
        let expected = numbers.f32(path, logits, &[IMAGES, classes]).expect(logits);
        assert_close(&scores.logits, expected, LOGITS, &format!("{name}: {logits}"));
        let expected = numbers.f32(path, dx, &[IMAGES, 3, SIDE, SIDE]).expect(dx);
        let gradient = nchw(&scores.input_gradient.expect("asked for"));
        assert_close(&gradient, expected, GRADIENT, &format!("{name}: {dx}"));
    }
}

#[test]
fn residual_networks_are_pytorchs() {
    let (model, numbers) = case("resnet20", &residual(20, 10), "linear", Choices::default());
    compare(&model, &numbers, NormMode::Inference, RESNET_20, ["logits", "dx"]);
    let (model, numbers) = case("resnet8_fc", &residual(8, 7), "fc", Choices::default());
    compare(&model, &numbers, NormMode::Inference, RESNET_8, ["logits", "dx"]);
}

#[test]
fn batch_norm_with_the_statistics_of_training_and_of_the_batch() {
    let (model, numbers) = case("wrn10_1_bn", &wide(Norm::Batch), "linear", Choices::default());
    compare(&model, &numbers, NormMode::Inference, WIDE, ["logits", "dx"]);
    compare(&model, &numbers, NormMode::Training, TRAINING, ["training_logits", "training_dx"]);
}

#[test]
fn group_norm_and_smooth_activations() {
    for (name, network) in &smooth()[..2] {
        let (model, numbers) = wide_case(name, *network);
        compare(&model, &numbers, NormMode::Inference, SMOOTH, ["logits", "dx"]);
        compare(&model, &numbers, NormMode::Training, SMOOTH, ["logits", "dx"]);
    }
}

/// Runs one program on the flat buffer and the images, which computes `outputs` and writes `next` to its places;
/// returns the values of the outputs and the flat buffer.
fn run(
    device: &Device,
    (layout, flat): (&ParameterLayout, &[f32]),
    images: &[f32],
    outputs: &[(&str, &Tensor)],
    next: &[(String, Tensor)],
) -> (Vec<Vec<f32>>, Vec<f32>) {
    let mut builder = ProgramBuilder::new("step");
    let mut prepare = ProgramBuilder::new("prepare");
    let to =
        |builder: &mut ProgramBuilder, name, tensor: &Tensor| builder.external_named(name, tensor.elements());
    let mut all: Vec<Output<'_>> = outputs
        .iter()
        .map(|(name, tensor)| Output { tensor, view: to(&mut builder, name, tensor) })
        .collect();
    all.extend(layout.outputs(&mut builder, next));
    // A step of power iteration precedes `prepare`.
    let prepared = (!outputs.is_empty()).then_some(&mut prepare);
    lower(device.policy(), &mut builder, prepared, &all).expect("a program");
    let mut buffers: BTreeMap<String, Buffer> = BTreeMap::new();
    for program in [prepare.finish(), builder.finish()] {
        for slot in program.externals() {
            let make = || match slot.name.as_str() {
                name if name == PARAMETERS.name() => device.buffer_from(name, flat),
                "images" => device.buffer_from("images", images),
                name => device.buffer(name, slot.bytes),
            };
            buffers.entry(slot.name.clone()).or_insert_with(|| make().expect("a buffer"));
        }
        let externals: Vec<(&str, &Buffer)> = buffers.iter().map(|(name, b)| (name.as_str(), b)).collect();
        device.run(&device.load(program, &externals).expect("a program")).expect("a run");
    }
    let read = |name: &str| device.read_as(&buffers[name]).expect("values");
    (outputs.iter().map(|(name, _)| read(name)).collect(), read(PARAMETERS.name()))
}

/// The values of a tensor of `make.py`'s, in its order.
fn floats<'a>(numbers: &'a Checkpoint, name: &str) -> &'a [f32] {
    match numbers.tensors.iter().find(|tensor| tensor.0 == name) {
        Some((_, _, Elements::F32(values))) => values,
        _ => panic!("no floats {name}"),
    }
}

/// Compares the parameters with these names with PyTorch's, and all others with `before`, bit for bit.
fn assert_changed(
    layout: &ParameterLayout,
    [before, after]: [&[f32]; 2],
    suffixes: &[&str],
    numbers: &Checkpoint,
) {
    let mut changed = 0;
    for parameter in layout.parameters() {
        let of = |flat: &[f32]| flat[parameter.offset..][..parameter.elements()].to_vec();
        if suffixes.iter().any(|suffix| parameter.name.ends_with(suffix)) {
            let expected = floats(numbers, &parameter.name);
            assert_close(&parameter.to_file(&of(after)), expected, LOGITS, &parameter.name);
            assert_close(&parameter.from_file(expected), &of(after), LOGITS, &parameter.name);
            changed += 1;
        } else {
            assert_eq!(of(before), of(after), "{}", parameter.name);
        }
    }
    assert!(changed > 0, "no parameter is called {suffixes:?}");
}

/// An exported model has the names of PyTorch's spectral norm, or divided weights for a network without it.
#[test]
fn weights_with_spectral_norm_are_exported_as_pytorch_loads_them() {
    let (case_name, network) = smooth()[2];
    let (model, _) = wide_case(case_name, network);
    let directory = tempfile::tempdir().expect("a directory");
    // A model of this library's training has plain names.
    let mut own = Checkpoint { tensors: Vec::new(), metadata: model.file().metadata.clone() };
    let layout = model.network().layout();
    for (parameter, values) in layout.scatter(&model.parameters(&layout).expect("parameters")) {
        own.push_f32(&parameter.name, &parameter.file_shape(), values);
    }
    let path = directory.path().join("own.safetensors");
    own.save(&path).expect("a file");
    let own = Model::open(&path).expect("a model");
    let settings = ScoreSettings::default();
    let logits = |model: &Model| {
        let scorer = Scorer::new(&Device::cpu(), model, settings, IMAGES).expect("programs");
        scorer.score(&images(SMOOTH)).expect("scores").logits
    };
    let expected = logits(&model);
    for (form, model) in [SpectralForm::Parts, SpectralForm::Divided]
        .into_iter()
        .flat_map(|form| [(form, &model), (form, &own)])
    {
        let exported = model.for_pytorch(form).expect("a file");
        let names: Vec<&str> = exported.tensors.iter().map(|(name, ..)| name.as_str()).collect();
        let has = |name: &str| names.contains(&name);
        for layer in ["f.conv1", "f.layer2.0.shortcut.0", "class_output"] {
            let parts = form == SpectralForm::Parts;
            assert_eq!(has(&format!("{layer}.weight_orig")), parts, "{layer} as {form:?}");
            assert_eq!(has(&format!("{layer}.weight_u")), parts, "{layer} as {form:?}");
            assert_eq!(has(&format!("{layer}.weight")), !parts, "{layer} as {form:?}");
            assert!(has(&format!("{layer}.bias")));
        }
        assert!(has("f.bn1.weight") && !has("f.bn1.weight_orig"));
        let path = directory.path().join("exported.safetensors");
        exported.save(&path).expect("a file");
        let again = Model::open(&path).expect("a model");
        assert_eq!(again.network().layout().has_spectral_norm(), form == SpectralForm::Parts);
        assert_close(&logits(&again), &expected, LOGITS, &format!("{form:?}"));
    }
}

#[test]
fn a_step_of_training_with_batch_norm() {
    let network = WideResNet { norm: Norm::Batch, ..WideResNet::new(10, 1, 10, 3) };
    let (model, numbers) = wide_case("wrn10_1_bn", network);
    let layout = network.layout();
    let flat = model.parameters(&layout).expect("parameters");
    for (name, device) in devices() {
        let graph = Graph::new();
        let x = graph.input("images", [IMAGES, SIDE, SIDE, 3]);
        let mut pass = Pass::new(&layout, NormMode::Training);
        let logits = network.logits(&x, &mut pass);
        let next = pass.running_statistics(MOMENTUM);
        let [dx] = graph.grad(&logits.logsumexp(), [&x]);
        let outputs = [("logits", &logits), ("dx", &dx)];
        let (values, after) = run(&device, (&layout, &flat), &images(TRAINING), &outputs, &next);
        for (key, found) in [("training_logits", values[0].clone()), ("training_dx", nchw(&values[1]))] {
            assert_close(&found, floats(&numbers, key), GRADIENT, &format!("{name}: {key}"));
        }
        assert_changed(&layout, [&flat, &after], &["running_mean", "running_var"], &numbers);
        let (alone, _) = run(&device, (&layout, &flat), &images(TRAINING), &outputs, &[]);
        assert_eq!(alone, values, "{name}: the statistics change neither logits nor gradients");
    }
}

#[test]
fn a_step_of_training_with_spectral_norm_and_inference_behind_it() {
    let (case_name, network) = smooth()[2];
    let (model, numbers) = wide_case(case_name, network);
    let layout = network.layout();
    let flat = model.parameters(&layout).expect("parameters");
    for (name, device) in devices() {
        let iteration = spectral_norm::power_iteration(&layout, &Graph::new());
        let (_, iterated) = run(&device, (&layout, &flat), &[], &[], &iteration);
        assert_changed(&layout, [&flat, &iterated], &["weight_u", "weight_v"], &numbers);
        let graph = Graph::new();
        let x = graph.input("images", [IMAGES, SIDE, SIDE, 3]);
        let mut pass = Pass::new(&layout, NormMode::Training);
        let logits = network.logits(&x, &mut pass);
        let next = pass.running_statistics(MOMENTUM);
        let weights = ["f.conv1.weight", "f.layer2.0.shortcut.0.weight"];
        let leaves = weights.map(|weights| layout.leaf(&graph, weights));
        let gradients = graph.grad(&logits.logsumexp(), leaves.each_ref());
        let outputs = [("logits", &logits), (weights[0], &gradients[0]), (weights[1], &gradients[1])];
        let (values, after) = run(&device, (&layout, &iterated), &images(SMOOTH), &outputs, &next);
        assert_changed(&layout, [&iterated, &after], &["running_mean", "running_var"], &numbers);
        let expected = floats(&numbers, "training_logits");
        assert_close(&values[0], expected, LOGITS, &format!("{name}: training logits"));
        for (weights, values) in weights.iter().zip(&values[1..]) {
            let parameter = layout.parameters().iter().find(|p| p.name == *weights).expect("weights");
            let key = format!("d.{weights}_orig");
            let expected = floats(&numbers, &key);
            assert_close(&parameter.to_file(values), expected, GRADIENT, &format!("{name}: {key}"));
        }
    }
    // PyTorch's own vectors and statistics in a file, with its names.
    let mut file = Checkpoint { tensors: model.file().tensors.clone(), metadata: BTreeMap::new() };
    for (name, _, elements) in &mut file.tensors {
        if let Some((_, _, left)) = numbers.tensors.iter().find(|(other, ..)| other == name) {
            *elements = left.clone();
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pytorch.safetensors");
    file.save(&path).expect("a file");
    let options = ImportOptions { choices: choices(&network), ..ImportOptions::default() };
    let model = Model::import(&path, options).expect("a model");
    let settings = ScoreSettings::default();
    for (name, device) in devices() {
        let scorer = Scorer::new(&device, &model, settings, IMAGES).expect("programs");
        let logits = scorer.score(&images(SMOOTH)).expect("scores").logits;
        assert_close(&logits, floats(&numbers, "logits"), LOGITS, &format!("{name}: logits"));
    }
}

const ASCENT: Langevin =
    Langevin { step_size: 1.0, noise: 0.0, clamp_gradient: None, clamp_x: false, inner_steps: 1 };

#[test]
fn chains_without_noise_are_gradient_ascent() {
    let (model, numbers) = case("wrn10_1_bn", &wide(Norm::Batch), "linear", Choices::default());
    for (name, device) in devices() {
        for (chain, class) in [("ascent", None), ("ascent_class_3", Some(3))] {
            let conditional = class.is_some();
            let sampler =
                Sampler::new(&device, &model, NormMode::Inference, ASCENT, IMAGES, conditional, None);
            let sampler = sampler.expect("programs");
            sampler.start(&images(WIDE), &[class.unwrap_or(0); IMAGES], 7, 0).expect("a start");
            let mut densities = Vec::new();
            for _ in 0..5 {
                densities.push(sampler.step().expect("a step"));
            }
            densities.push(sampler.density().expect("densities"));
            let expected = numbers.f32(Path::new("make.py"), chain, &[IMAGES, 3, SIDE, SIDE]).expect(chain);
            let found = nchw(&sampler.images().expect("images"));
            assert_close(&found, expected, GRADIENT, &format!("{name}: {chain}"));
            let first = numbers.f32(Path::new("make.py"), "logits", &[IMAGES, 10]).expect("logits");
            for (image, logits) in first.chunks(10).enumerate() {
                let logsumexp = logits.iter().map(|f| f.exp()).sum::<f32>().ln();
                let density = class.map_or(logsumexp, |class| logits[class as usize]);
                assert!((densities[0][image] - density).abs() < 1e-4, "{name}: {chain}: {:?}", densities[0]);
            }
        }
    }
}

#[test]
fn a_mask_holds_pixels_to_the_bit() {
    let (model, _) = case("wrn10_1_bn", &wide(Norm::Batch), "linear", Choices::default());
    let mask: Vec<f32> = (0..SIDE * SIDE * 3).map(|i| if i / 3 % SIDE < 10 { 0.0 } else { 1.0 }).collect();
    let langevin = Langevin { noise: 0.1, clamp_x: true, ..ASCENT };
    for (name, device) in devices() {
        let sampler =
            Sampler::new(&device, &model, NormMode::Inference, langevin, IMAGES, false, Some(&mask))
                .expect("programs");
        sampler.start(&images(WIDE), &[0; IMAGES], 7, 0).expect("a start");
        for _ in 0..3 {
            sampler.step().expect("a step");
        }
        let moved = sampler.images().expect("images");
        let mut changed = 0;
        for (i, (before, after)) in images(WIDE).iter().zip(&moved).enumerate() {
            match mask[i % mask.len()] == 0.0 {
                true => assert_eq!(before.to_bits(), after.to_bits(), "{name}: element {i} is held"),
                false => changed += usize::from(before != after),
            }
        }
        assert!(changed > moved.len() / 2, "{name}: {changed} elements moved");
        let misfit = Sampler::new(&device, &model, NormMode::Inference, langevin, 1, false, Some(&mask[1..]));
        assert!(misfit.expect_err("a mask of another size").to_string().contains("expected 3072 elements"));
    }
}

/// Equal seeds give equal chains, different seeds different ones.
#[test]
fn noise_is_the_seeds() {
    let (model, _) = case("wrn10_1_bn", &wide(Norm::None), "linear", Choices::default());
    let langevin = Langevin { noise: 0.01, ..ASCENT };
    for (name, device) in devices() {
        let sampler = Sampler::new(&device, &model, NormMode::Inference, langevin, IMAGES, false, None)
            .expect("programs");
        let run = |seed: u32| {
            sampler.start(&images(WIDE), &[0; IMAGES], seed, 0).expect("a start");
            sampler.step().expect("a step");
            sampler.step().expect("a step");
            sampler.images().expect("images")
        };
        let first = run(1);
        assert_eq!(first, run(1), "{name}");
        assert_ne!(first, run(2), "{name}");
    }
}

/// Inner steps use the gradient at the first of them, each with its own noise.
#[test]
fn inner_steps_take_one_gradient() {
    let (model, _) = case("wrn10_1_bn", &wide(Norm::None), "linear", Choices::default());
    let inner = |langevin: Langevin| Langevin { inner_steps: 3, ..langevin };
    let noisy = Langevin { noise: 0.02, ..ASCENT };
    for (name, device) in devices() {
        let moved = |langevin: Langevin| {
            let sampler = Sampler::new(&device, &model, NormMode::Inference, langevin, IMAGES, false, None);
            let sampler = sampler.expect("programs");
            sampler.start(&images(WIDE), &[0; IMAGES], 7, 0).expect("a start");
            sampler.step().expect("a step");
            let after = sampler.images().expect("images");
            after.iter().zip(images(WIDE)).map(|(after, before)| after - before).collect::<Vec<f32>>()
        };
        let (one, three) = (moved(ASCENT), moved(inner(ASCENT)));
        let tripled: Vec<f32> = one.iter().map(|way| 3.0 * way).collect();
        assert_close(&three, &tripled, GRADIENT, &format!("{name}: without noise"));
        let noise = moved(inner(Langevin { step_size: 0.0, ..noisy }));
        let sum: Vec<f32> = three.iter().zip(&noise).map(|(way, noise)| way + noise).collect();
        assert_close(&moved(inner(noisy)), &sum, GRADIENT, &format!("{name}: with noise"));
        let square: f64 = noise.iter().map(|&v| f64::from(v).powi(2)).sum();
        let expected = 3.0 * 0.02f64.powi(2) * noise.len() as f64;
        // Five standard errors of a sum of squares of normal numbers.
        assert!(
            (square / expected - 1.0).abs() < 5.0 * (2.0 / noise.len() as f64).sqrt(),
            "{name}: {square}"
        );
    }
}

/// Other depths, widths, classes and channels: the devices agree.
#[test]
fn networks_of_other_sizes() {
    let other = WideResNet { norm: Norm::Batch, ..WideResNet::new(16, 2, 100, 1) };
    let small = ResNet { width: 8, ..ResNet::imagenet(50, Stem::Large, 7, 3).expect("a depth") };
    for architecture in [Architecture::of(other), residual(32, 5), Architecture::of(small)] {
        let directory = tempfile::tempdir().expect("a directory");
        let model = Model::open(&file(&architecture, "linear", directory.path())).expect("a model");
        assert_eq!(architecture_of(&model), architecture);
        let images = values(1000, SIDE * SIDE * architecture.network().channels() * 2);
        let settings = ScoreSettings { beta: 0.5, input_gradient: true, ..ScoreSettings::default() };
        let [cpu, gpu] = devices().map(|(_, device)| {
            let scorer = Scorer::new(&device, &model, settings, 2).expect("programs");
            scorer.score(&images).expect("scores")
        });
        assert_close(&gpu.logits, &cpu.logits, LOGITS, &architecture.network().name());
        let [gpu, cpu] = [gpu, cpu].map(|scores| scores.input_gradient.expect("asked for"));
        assert_close(&gpu, &cpu, GRADIENT, &architecture.network().name());
    }
}
