//! Training as a whole: reproducible, resumable, equal on every device, for every objective.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/every_recipe.rs"]
mod every_recipe;
#[path = "common/small.rs"]
mod small;

use devices::devices;
use every_recipe::family;
use jem::data::Dataset;
use jem::device::Device;
use jem::ebm::{ClassificationLoss, Guard, Metrics, OptimizerKind, Precision, Recipe, Trainer};
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use jem::io::pack;
use jem::nn::ingredients::Norm;
use jem::report::status::Phase;
use small::{pictures, recipe};
use std::path::Path;

/// Queues `iterations` iterations and waits for their metrics.
pub fn train(trainer: &mut Trainer, iterations: usize) -> Vec<Metrics> {
    let mut metrics = Vec::new();
    for _ in 0..iterations {
        trainer.step().expect("an iteration");
        metrics.extend(trainer.metrics().expect("metrics"));
    }
    metrics.extend(trainer.finish_metrics().expect("metrics"));
    metrics
}

/// The bytes of the checkpoint file that the trainer writes.
fn checkpoint_bytes(trainer: &Trainer, folder: &Path) -> Vec<u8> {
    let path = folder.join("checkpoint.safetensors");
    trainer.checkpoint().expect("a checkpoint").save(&path).expect("a file");
    std::fs::read(path).expect("the file")
}

/// Reports where two files differ instead of printing them.
fn assert_same_bytes(a: &[u8], b: &[u8], context: &str) {
    assert_eq!(a.len(), b.len(), "{context}: file sizes");
    let different = a.iter().zip(b).filter(|(a, b)| a != b).count();
    assert_eq!(different, 0, "{context}: {different} of {} bytes differ", a.len());
}

fn assert_finite(metrics: &Metrics, [samples, labelled]: [bool; 2], context: &str) {
    let mut numbers = vec![metrics.loss, metrics.energy_data, metrics.gradient_norm];
    if labelled {
        numbers.extend([metrics.cross_entropy, metrics.accuracy]);
    } else {
        assert!(metrics.cross_entropy.is_nan() && metrics.accuracy.is_nan(), "{context}: {metrics:?}");
    }
    if samples {
        numbers.extend([metrics.energy_samples, metrics.input_gradient_norm]);
    }
    assert!(numbers.iter().all(|v| v.is_finite()), "{context}: {metrics:?}");
    assert!(metrics.gradient_norm > 0.0, "{context}: {metrics:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let data = pictures(64, 32);
    let recipe = Recipe { batch: 8, steps: 3, iterations: 20, pad: 4, ..recipe() };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, device) in devices() {
        let run = |seed| {
            let recipe = Recipe { seed, ..recipe.clone() };
            let mut trainer = Trainer::new(&device, &recipe, &data).expect("a trainer");
            let metrics = train(&mut trainer, 20);
            assert_eq!(metrics.len(), 20);
            metrics.iter().for_each(|metrics| assert_finite(metrics, [true, true], name));
            checkpoint_bytes(&trainer, folder.path())
        };
        assert_same_bytes(&run(7), &run(7), name);
    }
}

#[test]
fn another_seed_gives_another_run() {
    let data = pictures(32, 8);
    let run = |seed| {
        let recipe = Recipe { seed, ..recipe() };
        let mut trainer = Trainer::new(&Device::cpu(), &recipe, &data).expect("a trainer");
        train(&mut trainer, 1)[0].loss
    };
    assert_ne!(run(7), run(8));
}

/// |a - b| <= 1e-3 max(1, |b|) for every loss, energy and norm.
#[test]
fn devices_agree_on_the_first_iterations() {
    let data = pictures(64, 32);
    let recipe = Recipe { batch: 8, steps: 3, pad: 4, ..recipe() };
    let [cpu, gpu] = devices().map(|(_, device)| {
        let mut trainer = Trainer::new(&device, &recipe, &data).expect("a trainer");
        train(&mut trainer, 3)
    });
    for (a, b) in gpu.iter().zip(&cpu) {
        let numbers = |m: &Metrics| {
            [m.loss, m.energy_data, m.energy_samples, m.cross_entropy, m.gradient_norm, m.input_gradient_norm]
        };
        for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
            assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{a} and {b}: {gpu:?}\n{cpu:?}");
        }
        println!("iteration {}: loss {:.7} on gpu, {:.7} on cpu", a.iteration, a.loss, b.loss);
    }
}

/// Resumes variants of the recipe on every device, with these numbers of iterations before and after the interruption.
fn resumes(data: &Dataset, [before, after]: [usize; 2], variants: &[(&str, Recipe)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("interrupted.safetensors");
    for (name, device) in devices() {
        for (variant, recipe) in variants {
            let context = format!("{name}, {variant}");
            let trainer = || Trainer::new(&device, recipe, data).expect("a trainer");
            let mut uninterrupted = trainer();
            train(&mut uninterrupted, before);
            uninterrupted.checkpoint().expect("a checkpoint").save(&path).expect("a file");
            let metrics = train(&mut uninterrupted, after);
            let mut resumed = trainer();
            resumed.restore(&Checkpoint::load(&path).expect("the file"), &path).expect("the same network");
            assert_eq!(resumed.iteration(), before as u64, "{context}");
            // Compare as text, because metrics that were not measured are NaN.
            assert_eq!(format!("{:?}", train(&mut resumed, after)), format!("{metrics:?}"), "{context}");
            let [a, b] = [&uninterrupted, &resumed].map(|t| checkpoint_bytes(t, folder.path()));
            assert_same_bytes(&a, &b, &context);
        }
    }
}

/// The numbers of calls after which an iteration with `calls` calls is stopped: the first, the last, and some between.
fn places(calls: usize) -> impl Iterator<Item = usize> {
    let step = calls.div_ceil(10);
    (0..calls).filter(move |call| call % step == 0 || call + 4 > calls)
}

#[test]
fn an_iteration_that_is_stopped_anywhere_leaves_no_trace() {
    let data = pictures(64, 8);
    let folder = tempfile::tempdir().expect("a folder");
    let stages = Recipe { p_x_after: 3, sam: 0.05, norm: Norm::Batch, ..recipe() };
    let variants = family().into_iter().chain([("an early stage with SAM and batch norm", stages)]);
    for (variant, recipe) in variants {
        for (name, device) in devices() {
            let context = format!("{name}, {variant}");
            let trainer = || Trainer::new(&device, &recipe, &data).expect("a trainer");
            let (mut whole, mut stopped) = (trainer(), trainer());
            train(&mut whole, 2);
            train(&mut stopped, 2);
            let mut phases = Vec::new();
            let went_on = whole.step_while(|phase| {
                phases.push(phase.to_string());
                true
            });
            assert!(went_on.expect("an iteration"), "{context}");
            let expected = format!("{:?}", whole.finish_metrics().expect("metrics"));
            let before = checkpoint_bytes(&stopped, folder.path());
            for place in places(phases.len()) {
                let mut calls = 0;
                let goes_on = stopped.step_while(|_| {
                    calls += 1;
                    calls <= place
                });
                assert!(!goes_on.expect("a part of an iteration"), "{context}: {place}");
                assert_eq!(calls, place + 1, "{context}: it stops at once");
                let at = format!("{context}, stopped at {} ({place})", phases[place]);
                assert_same_bytes(&checkpoint_bytes(&stopped, folder.path()), &before, &at);
                assert!(stopped.finish_metrics().expect("none").is_empty(), "{at}");
            }
            assert_eq!(stopped.iteration(), 2);
            stopped.step().expect("an iteration");
            let found = format!("{:?}", stopped.finish_metrics().expect("metrics"));
            assert_eq!(found, expected, "{context}");
            let [a, b] = [&whole, &stopped].map(|t| checkpoint_bytes(t, folder.path()));
            assert_same_bytes(&a, &b, &context);
            phases.dedup();
            let begins = |start: &str| phases.iter().position(|phase| phase.starts_with(start));
            let steps = format!("SGLD {}/{}", recipe.steps - 1, recipe.steps);
            let order = [begins("data"), begins("SGLD 0/"), begins(&steps), begins("update")];
            let order: Vec<usize> = match recipe.samples() && recipe.p_x_after == 0 {
                true => order.into_iter().map(|at| at.expect("a phase")).collect(),
                false => [order[0], order[3]].map(|at| at.expect("a phase")).into(),
            };
            assert!(order.is_sorted(), "{context}: {phases:?}");
            assert_eq!(begins("perturbation").is_some(), recipe.sam > 0.0, "{context}: {phases:?}");
        }
    }
}

#[test]
fn samples_of_a_stopped_iteration_are_not_shown() {
    let data = pictures(64, 8);
    for (name, device) in devices() {
        let mut trainer = Trainer::new(&device, &recipe(), &data).expect("a trainer");
        train(&mut trainer, 2);
        let before = trainer.samples().expect("samples");
        let mut calls = 0;
        let goes_on = |phase| {
            calls += usize::from(matches!(phase, Phase::Update { .. }));
            calls == 0
        };
        assert!(!trainer.step_while(goes_on).expect("a part of an iteration"), "{name}");
        assert!(trainer.samples().expect("samples") == before, "{name}");
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let adam = recipe();
    let sgd = Recipe { optimizer: OptimizerKind::Sgd, ..recipe() };
    resumes(&pictures(32, 16), [7, 5], &[("adam", adam.clone()), ("sgd", sgd)]);
    // After the end of warm-up and of several epochs.
    resumes(&pictures(32, 8), [37, 3], &[("iteration 37", Recipe { iterations: 40, ..adam })]);
}

#[test]
fn a_resumed_run_of_every_objective_and_precision_is_the_uninterrupted_one() {
    let classifier = Recipe { p_x: 0.0, ..recipe() };
    let class_conditional = Recipe { class_conditional: true, ..recipe() };
    let joint = Recipe { p_x: 0.0, p_xy: 1.0, optimizer: OptimizerKind::Sgd, ..class_conditional.clone() };
    let half = Recipe { precision: Precision::F16, ..recipe() };
    let variants = [
        ("classifier", classifier),
        ("class-conditional", class_conditional),
        ("p(x, y)", joint),
        ("f16", half),
    ];
    resumes(&pictures(32, 8), [3, 2], &variants);
}

#[test]
fn a_resumed_run_of_every_recipe_is_the_uninterrupted_one() {
    resumes(&pictures(32, 8), [37, 3], &family());
}

#[test]
fn every_recipe_trains() {
    for (_, recipe) in family() {
        trains(recipe, |_, _, _, _| {});
    }
}

/// The running statistics of batch norm follow the labelled images, or the data if there are none, never the chains.
#[test]
fn running_statistics_do_not_depend_on_the_chains() {
    let data = pictures(32, 8);
    let jem = Recipe { norm: Norm::Batch, lr: 0.0, ..recipe() };
    let density = Recipe { unconditional: true, p_y_given_x: 0.0, ..jem.clone() };
    for (name, recipe) in [("labelled", jem), ("unconditional", density)] {
        let statistics = |chain: f32| {
            let mut trainer = Trainer::new(&Device::cpu(), &recipe, &data).expect("a trainer");
            let mut checkpoint = trainer.checkpoint().expect("a checkpoint");
            let is_buffer = |tensor: &&mut (String, Vec<usize>, Elements)| tensor.0 == "replay_buffer";
            let buffer = checkpoint.tensors.iter_mut().find(is_buffer).expect("chains");
            let Elements::F32(images) = &mut buffer.2 else { panic!("images are floats") };
            images.fill(chain);
            trainer.restore(&checkpoint, Path::new("the same")).expect("the same network");
            train(&mut trainer, 2);
            let mut tensors = trainer.checkpoint().expect("a checkpoint").tensors;
            tensors.retain(|(name, ..)| name.starts_with("f.") && name.contains(".running_"));
            tensors
        };
        let [dark, bright] = [-0.5, 0.5].map(statistics);
        assert!(!dark.is_empty() && dark == bright, "{name}");
        let start = Trainer::new(&Device::cpu(), &recipe, &data).expect("a trainer").checkpoint();
        let start = start.expect("a checkpoint").tensors;
        let same: Vec<&str> = dark.iter().filter(|s| start.contains(s)).map(|s| &*s.0).collect();
        assert!(same.is_empty(), "{name}: {same:?} do not change");
    }
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let data = pictures(32, 8);
    let device = Device::cpu();
    let trainer = |width| {
        let recipe = Recipe { width, ..recipe() };
        Trainer::new(&device, &recipe, &data).expect("a trainer")
    };
    let narrow = trainer(1).checkpoint().expect("a checkpoint");
    let error = trainer(2).restore(&narrow, Path::new("narrow.safetensors")).unwrap_err().to_string();
    assert_eq!(error, "narrow.safetensors: expected a checkpoint of WRN-10-2: expected width = 2, found 1");
    // A checkpoint that names no network is checked by its tensors.
    let mut nameless = narrow;
    nameless.metadata.remove("architecture");
    let error = trainer(2).restore(&nameless, Path::new("narrow.safetensors")).unwrap_err().to_string();
    assert!(error.starts_with("narrow.safetensors: tensor f.layer1.0.conv1.weight"), "{error}");
}

/// Three iterations of a variant on every device: finite metrics, and parameters that moved.
fn trains(recipe: Recipe, check: impl Fn(&Trainer, &[Metrics], &[f32], &str)) {
    let data = pictures(32, 8);
    for (name, device) in devices() {
        let mut trainer = Trainer::new(&device, &recipe, &data).expect("a trainer");
        let before = trainer.parameters().expect("parameters");
        let metrics = train(&mut trainer, 3);
        assert_eq!(metrics.len(), 3, "{name}");
        for metrics in &metrics {
            assert_finite(metrics, [recipe.samples(), !recipe.unconditional], name);
            Guard::new().check(&recipe, metrics).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        }
        assert_ne!(trainer.parameters().expect("parameters"), before, "{name}: nothing was learnt");
        check(&trainer, &metrics, &before, name);
    }
}

#[test]
fn a_class_conditional_joint_density_trains() {
    let recipe = Recipe { class_conditional: true, p_x: 0.0, p_xy: 1.0, ..recipe() };
    trains(recipe.clone(), |trainer, _, _, name| {
        let names: Vec<&str> = trainer.programs().iter().map(|program| program.name.as_str()).collect();
        assert_eq!(names, ["gather", "prepare", "sgld", "update", "scatter"], "{name}");
        // Four chains for each of ten classes, in the order of the replay buffer.
        let (gallery, columns) = trainer.gallery().expect("pictures");
        let checkpoint = trainer.checkpoint().expect("a checkpoint");
        let shape = [40, 3, 8, 8];
        let buffer = checkpoint.f32(Path::new("it"), "replay_buffer", &shape).expect("the buffer");
        assert_eq!(
            (columns, &gallery[..]),
            (Some(4), &pack::nchw_to_nhwc(buffer, 40, 3, 8, 8)[..]),
            "{name}"
        );
    });
    trains(Recipe { p_x: 0.5, ..recipe }, |_, _, _, _| {});
}

#[test]
fn a_classifier_alone_trains_without_samples() {
    trains(Recipe { p_x: 0.0, ..recipe() }, |trainer, metrics, _, name| {
        let names: Vec<&str> = trainer.programs().iter().map(|program| program.name.as_str()).collect();
        assert_eq!(names, ["gather", "prepare", "update"], "{name}");
        assert!(metrics.iter().all(|m| m.energy_samples.is_nan()), "{name}: {metrics:?}");
        assert!(trainer.samples().expect("none").is_empty(), "{name}");
        // Without the other terms the loss is the cross-entropy.
        let close = |m: &Metrics| (m.loss - m.cross_entropy).abs() <= 1e-6 * m.loss;
        assert!(metrics.iter().all(close), "{name}: {metrics:?}");
    });
}

#[test]
fn every_functional_of_energies_trains() {
    let data = pictures(32, 8);
    for (name, device) in devices() {
        for labelled_loss in ClassificationLoss::ALL {
            let recipe = Recipe {
                labelled_loss,
                p_x: 0.0,
                batch: 16,
                lr: 1e-3,
                warmup: 0,
                decay_at: vec![],
                pad: 0,
                flip: false,
                input_noise: 0.0,
                ..recipe()
            };
            let mut trainer = Trainer::new(&device, &recipe, &data).expect("a trainer");
            let metrics = train(&mut trainer, 24);
            metrics.iter().for_each(|metrics| assert_finite(metrics, [false, true], labelled_loss.name()));
            let mean = |some: &[Metrics]| some.iter().map(|m| m.loss).sum::<f64>() / some.len() as f64;
            let (first, last) = (mean(&metrics[..4]), mean(&metrics[20..]));
            println!("{labelled_loss} on {name}: {first:.4} to {last:.4}");
            assert!(last < first - 0.02 * first.abs(), "{labelled_loss} on {name}: {first} to {last}");
        }
    }
}

/// The reported loss includes every term: with β = 1, NLL is the cross-entropy.
#[test]
fn the_loss_of_a_joint_model_holds_the_functional() {
    let recipe = Recipe {
        labelled_loss: ClassificationLoss::NegativeLogLikelihood,
        p_x: 0.5,
        p_y_given_x: 0.75,
        energy_l2: 0.0,
        ..recipe()
    };
    trains(recipe, |_, metrics, _, name| {
        for m in metrics {
            let expected = 0.5 * (m.energy_data - m.energy_samples) + 0.75 * m.cross_entropy;
            assert!((m.loss - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{name}: {expected} {m:?}");
        }
    });
}

#[test]
fn sgd_keeps_a_velocity() {
    trains(Recipe { optimizer: OptimizerKind::Sgd, lr: 0.01, ..recipe() }, |trainer, _, _, name| {
        let checkpoint = trainer.checkpoint().expect("a checkpoint");
        let velocity = |(tensor, ..): &&(String, _, _)| tensor.starts_with("momentum.velocity.");
        let count = checkpoint.tensors.iter().filter(velocity).count();
        assert_eq!(count, trainer.network().layout().parameters().len(), "{name}");
    });
}

#[test]
fn clip_norm_bounds_the_step() {
    let clip = 0.01;
    let recipe = Recipe {
        optimizer: OptimizerKind::Sgd,
        momentum: 0.0,
        lr: 0.5,
        warmup: 0,
        decay_at: vec![],
        clip_norm: clip,
        ..recipe()
    };
    trains(recipe.clone(), |trainer, metrics, before, name| {
        assert!(metrics.iter().all(|m| m.gradient_norm > 10.0 * f64::from(clip)), "{name}: {metrics:?}");
        let after = trainer.parameters().expect("parameters");
        let squares = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
        let moved: f64 = after.iter().zip(before).map(squares).sum::<f64>().sqrt();
        // Three steps of length lr * clip, at most, in one direction.
        let longest = 3.0 * recipe.lr * f64::from(clip);
        assert!(moved <= longest * 1.001 && moved > longest / 10.0, "{name}: {moved} of {longest}");
    });
}

#[test]
fn clamps_keep_samples_in_range() {
    // Steps that leave [-1, 1] unless they are clamped.
    let free = Recipe { step_size: 100.0, noise: 0.5, clamp_gradient: 0.0, clamp_x: false, ..recipe() };
    let largest = |trainer: &Trainer| {
        let samples = trainer.samples().expect("samples");
        assert!(!samples.is_empty());
        samples.iter().fold(0.0f32, |largest, v| largest.max(v.abs()))
    };
    trains(free.clone(), |trainer, _, _, name| assert!(largest(trainer) > 1.0, "{name}"));
    let clamped = Recipe { clamp_gradient: 0.01, clamp_x: true, ..free };
    trains(clamped, |trainer, _, _, name| assert!(largest(trainer) <= 1.0, "{name}"));
}
