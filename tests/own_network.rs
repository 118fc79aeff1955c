//! Any network trains: a user-defined perceptron and energy, and a ResNet for CIFAR, with `jem` and `jem++`. An
//! interrupted and resumed run equals the uninterrupted one, bit for bit; the models score and sample.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/run_files.rs"]
mod run_files;
#[path = "common/small.rs"]
mod small;

use devices::devices;
use jem::device::Device;
use jem::ebm::{
    Family, Model, Outcome, Preset, Recipe, RunOptions, Sampler, ScoreSettings, Scorer, Trainer, run,
};
use jem::nn::batch_norm::NormMode;
use jem::nn::init::Init;
use jem::nn::layers::Layered;
use jem::nn::network::Network;
use jem::nn::resnet::ResNet;
use run_files::assert_same_run;
use small::pictures;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SIDE: usize = 8;

/// A perceptron of three layers.
fn perceptron() -> Arc<dyn Network> {
    let network = Layered::new("perceptron", [SIDE, SIDE, 3], 10, |layers, images| {
        let x = layers.linear("fc1", &images.flatten(), 32).leaky_relu(0.2);
        layers.linear("fc2", &x, 16).leaky_relu(0.2)
    });
    Arc::new(network.with_slope(0.2))
}

/// A convolutional network with batch norm.
fn convolutional() -> Arc<dyn Network> {
    Arc::new(Layered::new("convolutional", [SIDE, SIDE, 3], 10, |layers, images| {
        let x = layers.conv2d("conv1", images, 16, 3, 1, 1);
        let x = layers.batch_norm("bn1", &x).relu();
        let x = layers.conv2d("conv2", &x, 32, 3, 2, 1);
        layers.batch_norm("bn2", &x).relu().global_average_pool()
    }))
}

/// A perceptron that drops half of its features in training.
fn dropping() -> Arc<dyn Network> {
    Arc::new(Layered::new("dropping", [SIDE, SIDE, 3], 10, |layers, images| {
        let x = layers.linear("fc", &images.flatten(), 32).relu();
        layers.dropout(&x, 0.5)
    }))
}

/// An energy without classes.
fn energy() -> Arc<dyn Network> {
    Arc::new(Layered::new("energy", [SIDE, SIDE, 3], 1, |layers, images| {
        let x = layers.conv2d("conv1", images, 16, 3, 2, 1).silu();
        layers.linear("fc", &x.flatten(), 32).silu()
    }))
}

fn residual() -> Arc<dyn Network> {
    Arc::new(ResNet::cifar(20, 10, 3))
}

fn recipe(family: Family) -> Recipe {
    let small = small::recipe();
    Recipe {
        batch: small.batch,
        labelled_batch: 0,
        steps: small.steps,
        buffer: small.buffer,
        reinitialise: small.reinitialise,
        warmup: 4,
        iterations: 6,
        pad: 0,
        validation: 16,
        evaluate_every: 2,
        sample_every: 3,
        checkpoint_every: 2,
        keep: 3,
        // The recipe's own network has no norm; a network with one must be recognised by its parameters.
        norm: jem::nn::ingredients::Norm::None,
        init: Init::HeNormal,
        ..family.recipe(Preset::Tiny)
    }
}

/// The recipe for an energy alone.
fn density() -> Recipe {
    Recipe { p_y_given_x: 0.0, ..recipe(Family::Jem) }
}

/// Trains in `out`, interrupted after iteration `stop_at`.
fn train(
    device: &Device,
    network: &Arc<dyn Network>,
    recipe: &Recipe,
    out: &Path,
    resume: bool,
    stop_at: Option<u64>,
) -> jem::Result<Outcome> {
    let stop = AtomicBool::new(false);
    let mut visit = |trainer: &mut Trainer| {
        stop.store(stop_at.is_some_and(|at| trainer.iteration() >= at), Ordering::Relaxed);
        Ok(())
    };
    let options = RunOptions {
        network: Some(network.clone()),
        start: None,
        out: out.to_owned(),
        resume,
        progress: None,
        stop: &stop,
        source: None,
        reopen: None,
        visit: Some(&mut visit),
    };
    run(device, recipe, &pictures(48, SIDE), &pictures(16, SIDE), options)
}

#[test]
fn any_network_trains_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a directory");
    for (device_name, device) in devices() {
        for (name, network, recipe) in [
            ("perceptron by jem", perceptron(), recipe(Family::Jem)),
            ("perceptron by jem++", perceptron(), recipe(Family::JemPlusPlus)),
            ("dropout by jem", dropping(), recipe(Family::Jem)),
            ("convolutional by jem++", convolutional(), recipe(Family::JemPlusPlus)),
            ("resnet by jem", residual(), recipe(Family::Jem)),
            ("resnet by jem++", residual(), recipe(Family::JemPlusPlus)),
            ("energy", energy(), density()),
        ] {
            let at = |what: &str| folder.path().join(format!("{device_name} {name} {what}"));
            let whole = train(&device, &network, &recipe, &at("whole"), false, None).expect(name);
            let stopped = train(&device, &network, &recipe, &at("cut"), false, Some(3)).expect(name);
            assert!(stopped.interrupted && stopped.iterations == 3, "{name}");
            train(&device, &network, &recipe, &at("cut"), true, None).expect(name);
            assert_same_run(&at("cut"), &at("whole"));
            let lost = run_files::events(&at("cut")).iter().any(|event| event["event"] == "best_model_lost");
            assert!(!lost, "{name}");
            let figures = whole.test.expect("test images");
            assert_eq!(figures.accuracy.is_nan(), network.classes() == 1, "{name}: {figures:?}");
            assert!(figures.energy.is_finite(), "{name}: {figures:?}");
            score_and_sample(&device, &network, &whole.best.expect("a model"));
        }
    }
}

/// Scores images and draws samples with the model in `path`.
fn score_and_sample(device: &Device, network: &Arc<dyn Network>, path: &Path) {
    let name = network.name();
    let model = Model::open_with(path, network.clone()).expect("a model");
    assert_eq!(model.image_shape(), [SIDE, SIDE, 3], "{name}");
    let images: Vec<f32> = (0..2 * SIDE * SIDE * 3).map(|i| ((i * 37) % 101) as f32 / 50.5 - 1.0).collect();
    let settings = ScoreSettings { input_gradient: true, ..ScoreSettings::default() };
    let scorer = Scorer::new(device, &model, settings, 2).expect("programs");
    let scores = scorer.score(&images).expect("scores");
    assert_eq!(scores.logits.len(), 2 * network.classes(), "{name}");
    assert!(scores.logits.iter().all(|logit| logit.is_finite()), "{name}");
    assert!(scores.input_gradient.expect("asked for").iter().any(|&g| g != 0.0), "{name}");
    let langevin = model.langevin().expect("it was trained with chains");
    let sampler =
        Sampler::new(device, &model, NormMode::Inference, langevin, 2, false, None).expect("programs");
    sampler.start(&images, &[0, 0], 1, 0).expect("chains");
    let before = sampler.density().expect("log densities");
    for _ in 0..5 {
        sampler.step().expect("a step");
    }
    let (after, chains) = (sampler.density().expect("log densities"), sampler.images().expect("chains"));
    assert!(chains != images && chains.iter().all(|x| x.is_finite()), "{name}");
    assert!(after != before && after.iter().all(|x| x.is_finite()), "{name}: {before:?} {after:?}");
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let folder = tempfile::tempdir().expect("a directory");
    let (device, out) = (Device::cpu(), folder.path().join("run"));
    train(&device, &perceptron(), &recipe(Family::Jem), &out, false, Some(2)).expect("a run");
    let error =
        train(&device, &convolutional(), &recipe(Family::Jem), &out, true, None).expect_err("another");
    let message = error.to_string();
    assert!(message.contains("convolutional") && message.contains("found a perceptron"), "{message}");
    // The settings of the recipe's own network have no effect, and are not recorded.
    let config = std::fs::read_to_string(out.join("config.toml")).expect("the settings");
    assert!(config.contains("# network: perceptron\n") && config.contains("\ninit = "), "{config}");
    assert!(!config.contains("depth = ") && !config.contains("spectral_norm = "), "{config}");
}

#[test]
fn a_network_that_does_not_fit_is_an_error_with_both_sides() {
    let folder = tempfile::tempdir().expect("a directory");
    let fails = |network: Arc<dyn Network>, recipe: &Recipe| {
        let out = folder.path().join("none");
        let error = train(&Device::cpu(), &network, recipe, &out, false, None).expect_err("it does not fit");
        assert!(!out.exists(), "nothing is written");
        error.to_string()
    };
    let jem = recipe(Family::Jem);
    for (label, part) in [(Some(77), "has the label 77"), (None, "has no images to test on")] {
        let mut test = pictures(16, SIDE);
        match label {
            Some(label) => test.labels[3] = label,
            None => test = test.subset(&[]),
        }
        let options = RunOptions::new(folder.path().join("none"));
        let error =
            run(&Device::cpu(), &jem, &pictures(48, SIDE), &test, options).expect_err("no test images");
        assert!(error.to_string().contains(part), "{error}");
    }
    let classes: Arc<dyn Network> =
        Arc::new(Layered::new("seven", [SIDE, SIDE, 3], 7, |_, images| images.flatten()));
    assert!(fails(classes, &jem).contains("seven has 7 classes"));
    let images: Arc<dyn Network> =
        Arc::new(Layered::new("large", [16, 16, 3], 10, |_, images| images.flatten()));
    assert!(fails(images, &jem).contains("large takes 16x16 images with 3 channels, got 8x8"));
    let message = fails(energy(), &jem);
    assert!(message.contains("p_y_given_x") && message.contains("an energy without classes"), "{message}");
    let conditional = Recipe { class_conditional: true, ..density() };
    assert!(fails(energy(), &conditional).contains("class_conditional"));
}
