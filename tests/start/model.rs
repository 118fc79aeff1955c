//! Runs from the weights of a trained model, and from initial ones.

use crate::run_files::assert_same_run;
use crate::small::pictures;
use crate::when_scoring::WhenScoring;
use crate::{SIDE, recipe};
use jem::data::Dataset;
use jem::device::Device;
use jem::ebm::{
    Family, ImportOptions, InputNormalisation, Model, Preset, Recipe, RunDirectory, RunOptions,
    ScoreSettings, Scorer, Start, Trainer, run,
};
use jem::nn::frozen::NormStatistics;
use jem::nn::init::Init;
use jem::nn::network::Network;
use jem::nn::resnet::{ResNet, Shortcut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A run that is stopped after `stop_at` iterations, if that is asked for.
fn session(
    recipe: &Recipe,
    start: &Start,
    out: &Path,
    resume: bool,
    stop_at: Option<u64>,
) -> jem::ebm::Outcome {
    let stop = AtomicBool::new(false);
    let mut visit = |trainer: &mut Trainer| {
        stop.store(stop_at.is_some_and(|at| trainer.iteration() >= at), Ordering::Relaxed);
        Ok(())
    };
    let options = RunOptions {
        start: Some(start),
        resume,
        stop: &stop,
        visit: Some(&mut visit),
        ..RunOptions::new(out)
    };
    run(&Device::cpu(), recipe, &pictures(48, SIDE), &pictures(20, SIDE), options).expect("a run")
}

/// A small ResNet with random weights as a file of PyTorch's names, with classes called `names`.
fn model(folder: &Path, names: Option<&[&str]>) -> Model {
    let network = ResNet { width: 4, shortcut: Shortcut::Projected, ..ResNet::cifar(8, 10, 3) };
    let layout = network.layout();
    let mut file = jem::io::checkpoint::Checkpoint::default();
    let flat = layout.initialise(Init::HeNormal, 0.0, 3);
    for (parameter, mut values) in layout.scatter(&flat) {
        // Statistics that are not those of initial weights.
        if parameter.name.contains("running") {
            values.iter_mut().enumerate().for_each(|(i, value)| *value += 0.1 + 0.01 * i as f32);
        }
        file.push_f32(parameter.name.replace("linear", "fc"), &parameter.file_shape(), values);
    }
    let path = folder.join("resnet.safetensors");
    file.save(&path).expect("a file");
    let options = ImportOptions {
        class_names: names.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        normalisation: Some(InputNormalisation { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.3, 0.4] }),
        image_size: Some([SIDE, SIDE]),
        ..ImportOptions::default()
    };
    let model = Model::import(&path, options).expect("a model");
    let saved = folder.join("model.safetensors");
    model.save(&saved).expect("a file");
    Model::open(&saved).expect("a model")
}

fn names() -> Vec<String> {
    pictures(1, SIDE).class_names
}

fn logits(model: &Model, data: &Dataset) -> Vec<f32> {
    let images: Vec<f32> = data
        .images
        .iter()
        .map(|&byte| jem::data::images::from_byte(byte))
        .take(4 * SIDE * SIDE * 3)
        .collect();
    let scorer = Scorer::new(&Device::cpu(), model, ScoreSettings::default(), 4).expect("programs");
    scorer.score(&images).expect("scores").logits
}

#[test]
fn a_run_begins_with_the_models_weights_and_is_compared_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path(), None);
    let recipe = Recipe { norm_statistics: NormStatistics::Frozen, lr: 0.0, ..recipe() };
    let start = Start::new(&model, &recipe, &names()).expect("a start");
    assert!(!start.renews() && start.notes[0].contains("does not name its 10 classes"), "{:?}", start.notes);
    let out = folder.path().join("run");
    let outcome = session(&recipe, &start, &out, false, None);
    // Nothing was learnt, so the result is the start.
    let best = Model::open(&out).expect("the best model");
    assert_eq!(logits(&best, &pictures(48, SIDE)), logits(&model, &pictures(48, SIDE)));
    assert_eq!(best.normalisation(), model.normalisation());
    assert_eq!(best.class_names().map(<[String]>::to_vec), Some(names()));
    let (test, origin) = (outcome.test.expect("figures"), outcome.start.expect("figures"));
    assert_eq!(test, origin);
    assert!((0.0..=1.0).contains(&test.calibration_error) && test.calibration_error > 0.0, "{test:?}");
    // The settings file records the network, from which a resumed run makes it again.
    let record = RunDirectory::network_in(&out.join("config.toml")).expect("a line").expect("a network");
    assert_eq!(record.from.as_deref(), Some(model.path()));
    let network = record.network().expect("a network");
    assert_eq!((network.settings(), network.layout()), (start.network.settings(), start.network.layout()));
}

#[test]
fn frozen_statistics_stay_and_batches_statistics_move() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path(), None);
    for (statistics, moves) in [(NormStatistics::Frozen, false), (NormStatistics::Batch, true)] {
        let recipe = Recipe { norm_statistics: statistics, ..recipe() };
        let start = Start::new(&model, &recipe, &names()).expect("a start");
        let out = folder.path().join(statistics.name());
        session(&recipe, &start, &out, false, None);
        let best = Model::open(&out).expect("the best model");
        let [before, after] = [&model, &best].map(|model| {
            let layout = model.network().layout();
            let flat = model.parameters(&layout).expect("parameters");
            let values = |part: &str| -> Vec<f32> {
                let of = layout.parameters().iter().filter(|p| p.name.contains(part));
                of.flat_map(|p| flat[p.offset..][..p.elements()].to_vec()).collect()
            };
            (values("running"), values("conv"), values("bn1.weight"))
        });
        assert_eq!(before.0 != after.0, moves, "{statistics}: running statistics");
        assert!(before.1 != after.1 && before.2 != after.2, "{statistics}: weights are trained");
    }
}

#[test]
fn the_last_layer_follows_the_names_of_the_classes_or_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (names, recipe) = (names(), Recipe { lr: 0.0, norm_statistics: NormStatistics::Frozen, ..recipe() });
    let mut other = names.clone();
    other.rotate_left(3);
    let rotated: Vec<&str> = other.iter().map(String::as_str).collect();
    let model_of = |names: Option<&[&str]>| model(folder.path(), names);
    let model = model_of(Some(&rotated));
    let start = Start::new(&model, &recipe, &names).expect("a start");
    assert!(!start.renews() && start.notes[0].contains("another order"), "{:?}", start.notes);
    let out = folder.path().join("rotated");
    session(&recipe, &start, &out, false, None);
    let (had, has) = (
        logits(&model, &pictures(48, SIDE)),
        logits(&Model::open(&out).expect("a model"), &pictures(48, SIDE)),
    );
    for (had, has) in had.chunks(10).zip(has.chunks(10)) {
        for (class, name) in names.iter().enumerate() {
            let there = other.iter().position(|other| other == name).expect("the same names");
            assert_eq!(has[class], had[there], "{name}");
        }
    }

    // Other classes of equal number, another number, and none: the last layer alone begins anew.
    let foreign = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let unconditional = Family::Unconditional.recipe(Preset::Tiny);
    let nine = &names[..9];
    for (had, recipe, names) in
        [(Some(&foreign[..]), &recipe, &names[..]), (None, &recipe, nine), (None, &unconditional, &names[..])]
    {
        let model = model_of(had);
        let start = Start::new(&model, recipe, names).expect("a start");
        assert!(start.renews() && start.notes[0].contains("begins anew"), "{:?}", start.notes);
        let fitted = start.notes[0].contains("fitted to the training images");
        assert_eq!(fitted, !recipe.unconditional, "{:?}", start.notes);
        let count = if recipe.unconditional { 1 } else { names.len() };
        assert_eq!(start.network.classes(), count);
        if count == 10 {
            let out = folder.path().join("foreign");
            let outcome = session(recipe, &start, &out, false, None);
            assert_eq!(outcome.start, outcome.test, "the fitted layer is compared with itself");
            // Nothing was trained: the last layer was fitted to features of random weights.
            let accuracy = outcome.test.expect("scores").accuracy;
            assert!(accuracy > 0.3, "{accuracy}");
            let best = Model::open(&out).expect("a model");
            let [before, after] = [&model, &best].map(|model| {
                let layout = model.network().layout();
                (layout.clone(), model.parameters(&layout).expect("parameters"))
            });
            for (old, new) in before.0.parameters().iter().zip(after.0.parameters()) {
                let same =
                    before.1[old.offset..][..old.elements()] == after.1[new.offset..][..new.elements()];
                assert_eq!(same, !old.name.starts_with("linear"), "{}", old.name);
            }
        }
    }
}

#[test]
fn a_new_last_layer_is_fitted_to_labelled_images_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let model = model(folder.path(), Some(&foreign));
    for (labels_per_class, expected) in [(0, 36), (1, 10)] {
        let recipe = Recipe { labels_per_class, ..recipe() };
        let start = Start::new(&model, &recipe, &names()).expect("a start");
        let mut fitted = 0;
        let out = folder.path().join(labels_per_class.to_string());
        let count = |part: &str, done: usize| {
            if part == "fitting the last layer" {
                fitted = fitted.max(done);
            }
        };
        let options = RunOptions {
            start: Some(&start),
            progress: Some(Box::new(WhenScoring(count))),
            ..RunOptions::new(&out)
        };
        run(&Device::cpu(), &recipe, &pictures(48, SIDE), &pictures(20, SIDE), options).expect("a run");
        assert_eq!(fitted, expected, "{labels_per_class} labels of each class");
    }
}

#[test]
fn a_fault_before_the_first_snapshot_goes_back_to_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = Recipe { max_gap: 1e-30, max_trips: 2, snapshot_every: 100, ..recipe() };
    let foreign = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for names_of_model in [None, Some(&foreign[..])] {
        let model = model(folder.path(), names_of_model);
        let start = Start::new(&model, &recipe, &names()).expect("a start");
        let mut beginnings = Vec::new();
        let mut visit = |trainer: &mut Trainer| {
            if trainer.iteration() == 0 {
                beginnings.push(trainer.parameters()?);
            }
            Ok(())
        };
        let out = folder.path().join(format!("{}", start.renews()));
        let options = RunOptions { start: Some(&start), visit: Some(&mut visit), ..RunOptions::new(&out) };
        let ended = run(&Device::cpu(), &recipe, &pictures(48, SIDE), &pictures(20, SIDE), options);
        assert!(matches!(ended, Err(jem::Error::Diverged { .. })), "{ended:?}");
        assert!(beginnings.len() == 3 && beginnings.iter().all(|all| *all == beginnings[0]));
    }
}

#[test]
fn a_run_from_a_model_with_stages_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path(), None);
    let recipe = Recipe {
        p_x_after: 4,
        p_x_ramp: 5,
        evaluate_every: 3,
        sample_every: 4,
        checkpoint_every: 3,
        snapshot_every: 2,
        ..recipe()
    };
    let start = Start::new(&model, &recipe, &names()).expect("a start");
    let whole = folder.path().join("whole");
    session(&recipe, &start, &whole, false, None);
    // Before, in and after the first stage.
    for stop_at in [2, 4, 7] {
        let out = folder.path().join(format!("stopped-{stop_at}"));
        assert!(session(&recipe, &start, &out, false, Some(stop_at)).interrupted);
        session(&recipe, &start, &out, true, None);
        assert_same_run(&whole, &out);
    }
}

#[test]
fn a_run_whose_classes_changed_is_not_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let out: PathBuf = folder.path().join("run");
    let stop = AtomicBool::new(true);
    let (mut data, test) = (pictures(48, SIDE), pictures(20, SIDE));
    let session = |data: &Dataset, resume| {
        let options = RunOptions { resume, stop: &stop, ..RunOptions::new(&out) };
        run(&Device::cpu(), &recipe(), data, &test, options)
    };
    session(&data, false).expect("a run");
    data.class_names[3] = "zebra".into();
    let message = session(&data, true).expect_err("other classes").to_string();
    assert!(message.contains("the run has the classes") && message.contains("zebra"), "{message}");
}

#[test]
fn any_family_trains_from_initial_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, network) in [
        Arc::new(ResNet { width: 4, ..ResNet::cifar(8, 10, 3) }) as Arc<dyn Network>,
        Arc::new(ResNet { width: 4, ..ResNet::imagenet(50, Default::default(), 10, 3).expect("a depth") }),
        "wrn-10-1-bn".parse::<jem::nn::architecture::Architecture>().expect("a name").network(),
    ]
    .into_iter()
    .enumerate()
    {
        for family in [Family::Classifier, Family::Jem, Family::JemPlusPlus, Family::SadaJem] {
            let Recipe { batch, steps, buffer, warmup, decay_at, pad, .. } = recipe();
            let recipe = Recipe {
                batch,
                steps,
                buffer,
                warmup,
                decay_at,
                pad,
                iterations: 2,
                validation: 12,
                ..family.recipe(Preset::Tiny)
            };
            let out = folder.path().join(format!("{number}-{family}"));
            let options = RunOptions { network: Some(network.clone()), ..RunOptions::new(&out) };
            let outcome = run(&Device::cpu(), &recipe, &pictures(48, SIDE), &pictures(20, SIDE), options);
            let outcome = outcome.unwrap_or_else(|error| panic!("{} by {family}: {error}", network.name()));
            assert!(outcome.test.is_some_and(|test| test.cross_entropy.is_finite()));
            assert_eq!(Model::open(&out).expect("a model").network().settings(), network.settings());
        }
    }
}
