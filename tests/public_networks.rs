//! Small networks of public families, imported by their own names, compared with PyTorch's numbers in float64: logits and
//! input gradients in inference; logits, gradients and running statistics of a step of training.
//!
//! `fixtures/public/make.py` made the numbers. Weights and images come from a formula that it shares with this file.

#[path = "common/close.rs"]
mod close;
#[path = "common/devices.rs"]
mod devices;
#[path = "common/floats.rs"]
mod floats;
#[path = "common/formula.rs"]
mod formula;
#[path = "common/public_case.rs"]
mod public_case;

use close::assert_close;
use devices::devices;
use floats::floats;
use jem::ebm::{ImportOptions, Model, ScoreSettings, Scorer};
use jem::graph::Graph;
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use jem::io::pack;
use jem::nn::architecture::{Choices, NormMode};
use jem::nn::network::Pass;
use jem::nn::training::Weights;
use public_case::{Case, IMAGES, cases, import};

/// The bound on float32 rounding of logits.
const LOGITS: f64 = 1e-5;
/// The bound on float32 rounding of gradients.
const GRADIENT: f64 = 1e-4;
/// The momentum of PyTorch's running statistics.
const MOMENTUM: f32 = 0.1;

/// Compares with PyTorch's numbers `key` of a case.
#[track_caller]
fn compare(case: &Case, found: &[f32], key: &str, bound: f64, device: &str) {
    let what = format!("{} on {device}: {key}", case.name);
    assert_close(found, floats(&case.numbers, key), bound, &what);
}

#[test]
fn inference_is_pytorchs() {
    for (name, choices, title) in cases() {
        let case = Case::load(name);
        let directory = tempfile::tempdir().expect("a directory");
        let model = import(&case, &case.write(directory.path(), ""), choices).expect("a model");
        assert_eq!(model.network().name(), title);
        let settings = ScoreSettings { input_gradient: true, ..ScoreSettings::default() };
        for (device_name, device) in devices() {
            let scorer = Scorer::new(&device, &model, settings, IMAGES).expect("programs");
            let scores = scorer.score(&case.images("images")).expect("scores");
            compare(&case, &scores.logits, "logits", LOGITS, device_name);
            let dx = scores.input_gradient.expect("asked for");
            let planar = pack::nhwc_to_nchw(&dx, IMAGES, case.side, case.side, 3);
            compare(&case, &planar, "dx", GRADIENT, device_name);
        }
        // The saved model is the same, with its settings and under its names.
        let saved = directory.path().join("saved.safetensors");
        model.save(&saved).expect("a file");
        let again = Model::open(&saved).expect("a model");
        assert_eq!(again.network().settings(), model.network().settings(), "{name}");
        assert_eq!(again.assumptions(), model.assumptions(), "{name}");
        assert_eq!(again.file().tensors.len(), model.file().tensors.len(), "{name}");
    }
}

#[test]
fn a_step_of_training_is_pytorchs() {
    for (name, choices, _) in cases() {
        let case = Case::load(name);
        let directory = tempfile::tempdir().expect("a directory");
        let model = import(&case, &case.write(directory.path(), "module."), choices).expect("a model");
        let network = model.network();
        let layout = network.layout();
        let flat = model.parameters(&layout).expect("parameters");
        // The library's names of make.py's parameters, by the shapes and values that they have.
        let parameters: Vec<(&str, String)> = case
            .numbers
            .tensors
            .iter()
            .filter_map(|(key, ..)| Some((key.as_str(), key.strip_prefix("d.")?)))
            .map(|(key, public)| (key, model.parameter_called(public).expect("a parameter").to_owned()))
            .collect();
        assert_eq!(parameters.len(), 3, "{name}");
        for (device_name, device) in devices() {
            let weights = Weights::new(&device, layout.clone(), &flat).expect("weights");
            let graph = Graph::new();
            let x = graph.input("images", [IMAGES, case.side, case.side, 3]);
            // Dropout's places stay; make.py's networks drop nothing.
            let mut pass = Pass::new(weights.layout(), NormMode::Training).without_dropout();
            let logits = network.logits(&x, &mut pass);
            let statistics = pass.running_statistics(MOMENTUM);
            let leaves: Vec<_> = parameters.iter().map(|(_, own)| layout.leaf(&graph, own)).collect();
            let [a, b, c] = graph.grad(&logits.logsumexp(), [&leaves[0], &leaves[1], &leaves[2]]);
            let mut outputs = vec![&logits, &a, &b, &c];
            outputs.extend(statistics.iter().map(|(_, next)| next));
            let function = weights.function(&outputs).expect("a program");
            function.set(&x, &case.images("training_images")).expect("images");
            function.run().expect("a run");
            compare(&case, &function.get(&logits).expect("logits"), "training_logits", LOGITS, device_name);
            for ((key, own), gradient) in parameters.iter().zip([&a, &b, &c]) {
                let parameter = layout.parameters().iter().find(|p| p.name == *own).expect("a parameter");
                let found = parameter.to_file(&function.get(gradient).expect("a gradient"));
                compare(&case, &found, key, GRADIENT, device_name);
            }
            for (own, next) in &statistics {
                let public = model.public_name(own).expect("a name");
                compare(&case, &function.get(next).expect("statistics"), public, LOGITS, device_name);
            }
            let expected = case.numbers.tensors.iter().filter(|(key, ..)| key.contains(".running_")).count();
            assert_eq!(statistics.len(), expected, "{name}");
        }
    }
}

#[test]
fn tensors_that_repeat_no_others_are_refused() {
    let case = Case::load("jempp_twice");
    let directory = tempfile::tempdir().expect("a directory");
    let path = case.write(directory.path(), "");
    let mut file = Checkpoint::load(&path).expect("a file");
    let (_, _, elements) =
        file.tensors.iter_mut().find(|(name, ..)| name == "f.layer_one.weight").expect("a tensor");
    let Elements::F32(values) = elements else { panic!("floats") };
    values[7] += 0.5;
    file.save(&path).expect("a file");
    let message = import(&case, &path, Choices::default()).expect_err("another network").to_string();
    assert!(message.contains("unknown tensor f.layer_one.weight [16, 3, 3, 3]"), "{message}");
}

#[test]
fn a_file_with_two_networks_is_asked_about() {
    let case = Case::load("vgg");
    let directory = tempfile::tempdir().expect("a directory");
    let mut both = Checkpoint::load(&case.write(directory.path(), "model.")).expect("a file");
    let others = both.tensors.clone().into_iter();
    both.tensors.extend(
        others.map(|(name, shape, elements)| (name.replace("model.", "ema.module."), shape, elements)),
    );
    both.push_f32("criterion.weight", &[10], vec![1.0; 10]);
    let path = directory.path().join("both.safetensors");
    both.save(&path).expect("a file");
    let message = import(&case, &path, Choices::default()).expect_err("two networks").to_string();
    assert!(message.contains("prefix: ") && message.contains("\"model.\" and \"ema.module.\""), "{message}");
    let options = ImportOptions { prefix: Some("ema.module.".into()), ..ImportOptions::default() };
    let model = Model::import(&path, options).expect("one network");
    let source = &model.file().metadata["source"];
    assert!(source.contains("under ema.module.") && source.contains("criterion.weight"), "{source}");
    // An average beside the network itself.
    let mut beside = Checkpoint::load(&case.write(directory.path(), "")).expect("a file");
    let average = beside.tensors.clone().into_iter();
    beside.tensors.extend(average.map(|(name, shape, elements)| (format!("ema.{name}"), shape, elements)));
    let beside_path = directory.path().join("beside.safetensors");
    beside.save(&beside_path).expect("a file");
    let found = import(&case, &beside_path, Choices::default()).map(|model| model.path().to_owned());
    let message = found.expect_err("two networks").to_string();
    assert!(message.contains("\"ema.\" and \"\""), "{message}");
    let none = ImportOptions { prefix: Some("net.".into()), ..ImportOptions::default() };
    let message = Model::import(&path, none).expect_err("no network").to_string();
    assert!(message.contains("found none"), "{message}");
}
