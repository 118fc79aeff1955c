//! Steps of training: logits, gradients, running statistics and the vectors of spectral norm.

use crate::close::assert_close;
use crate::devices::devices;
use crate::floats::floats;
use crate::{GRADIENT, IMAGES, LOGITS, SIDE, SMOOTH, TRAINING, choices, images, nchw, smooth, wide_case};
use jem::device::{Buffer, Device, ProgramBuilder};
use jem::ebm::{ImportOptions, Model, ScoreSettings, Scorer};
use jem::graph::{Graph, Output, Tensor, lower};
use jem::io::checkpoint::Checkpoint;
use jem::nn::architecture::NormMode;
use jem::nn::ingredients::Norm;
use jem::nn::network::{Network, Pass};
use jem::nn::parameters::{PARAMETERS, ParameterLayout};
use jem::nn::spectral_norm;
use jem::nn::wide_resnet::WideResNet;
use std::collections::BTreeMap;

/// The momentum of PyTorch's running statistics.
const MOMENTUM: f32 = 0.1;

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
