//! Logits and input gradients of imported networks, and of what is exported of them.

use crate::close::assert_close;
use crate::devices::devices;
use crate::formula::values;
use crate::{
    GRADIENT, IMAGES, LOGITS, SIDE, SMOOTH, TRAINING, WIDE, architecture_of, case, file, images, nchw,
    residual, smooth, wide, wide_case,
};
use jem::device::Device;
use jem::ebm::{Model, ScoreSettings, Scorer, SpectralForm};
use jem::io::checkpoint::Checkpoint;
use jem::nn::architecture::{Architecture, Choices, NormMode};
use jem::nn::ingredients::Norm;
use jem::nn::resnet::{ResNet, Stem};
use jem::nn::wide_resnet::WideResNet;
use std::path::Path;

/// The images of the ResNets.
const RESNET_20: u32 = 1699;
const RESNET_8: u32 = 4280;

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
