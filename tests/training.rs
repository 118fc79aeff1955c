//! Training as a whole: reproducible, resumable, the same on every device, and its settings checked.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/small.rs"]
mod small;

use devices::devices;
use jem::data::Dataset;
use jem::device::{Device, Program, ProgramBuilder, SlotKind};
use jem::io::checkpoint::Checkpoint;
use jem::io::pack;
use jem::jem::programs::BatchLayout;
use jem::jem::{Family, Guard, Metrics, Precision, Preset, Recipe, Trainer, sgld_program};
use jem::kernels::Access;
use jem::kernels::choice::Choices;
use jem::kernels::functional::Functional;
use jem::nn::wide_resnet::{Activation, Norm};
use small::{pictures, recipe};
use std::collections::BTreeSet;
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

/// Says where two files differ rather than printing them.
fn assert_same_bytes(a: &[u8], b: &[u8], context: &str) {
    assert_eq!(a.len(), b.len(), "{context}: file sizes");
    let different = a.iter().zip(b).filter(|(a, b)| a != b).count();
    assert_eq!(different, 0, "{context}: {different} of {} bytes differ", a.len());
}

fn assert_finite(metrics: &Metrics, samples: bool, context: &str) {
    let mut numbers = vec![
        metrics.loss,
        metrics.energy_data,
        metrics.cross_entropy,
        metrics.accuracy,
        metrics.gradient_norm,
    ];
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
            metrics.iter().for_each(|metrics| assert_finite(metrics, true, name));
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

/// Iterations before and after the interruption, in variants of the recipe on every device.
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
            // As text: what was not measured is NaN.
            assert_eq!(format!("{:?}", train(&mut resumed, after)), format!("{metrics:?}"), "{context}");
            let [a, b] = [&uninterrupted, &resumed].map(|t| checkpoint_bytes(t, folder.path()));
            assert_same_bytes(&a, &b, &context);
        }
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let adam = recipe();
    let sgd = Recipe { optimizer: "sgd".into(), ..recipe() };
    resumes(&pictures(32, 16), [7, 5], &[("adam", adam.clone()), ("sgd", sgd)]);
    // Past the ends of warm-up and of several epochs.
    resumes(&pictures(32, 8), [37, 3], &[("iteration 37", Recipe { iterations: 40, ..adam })]);
}

#[test]
fn a_resumed_run_of_every_objective_and_precision_is_the_uninterrupted_one() {
    let classifier = Recipe { p_x: 0.0, ..recipe() };
    let class_conditional = Recipe { class_conditional: true, ..recipe() };
    let joint = Recipe { p_x: 0.0, p_xy: 1.0, optimizer: "sgd".into(), ..class_conditional.clone() };
    let half = Recipe { precision: Precision::F16, ..recipe() };
    let variants = [
        ("classifier", classifier),
        ("class-conditional", class_conditional),
        ("p(x, y)", joint),
        ("f16", half),
    ];
    resumes(&pictures(32, 8), [3, 2], &variants);
}

/// Every recipe of the family, and one with the ingredients that none of them has.
fn family() -> Vec<(&'static str, Recipe)> {
    let small = |family: Family| {
        let Recipe { batch, steps, buffer, reinitialise, warmup, decay_at, pad, input_noise, .. } = recipe();
        let labels_per_class = if family == Family::SemiSupervised { 1 } else { 0 };
        let recipe = family.recipe(Preset::Tiny);
        // Of the semi-supervised one more than there are labels.
        let labelled_batch = match family {
            Family::SemiSupervised => 12,
            _ if recipe.labelled_batch > 0 => 2 * batch,
            _ => 0,
        };
        Recipe {
            batch,
            labelled_batch,
            labels_per_class,
            steps,
            buffer,
            reinitialise,
            warmup,
            decay_at,
            pad,
            input_noise,
            iterations: 40,
            ..recipe
        }
    };
    let mut all: Vec<_> = Family::ALL.map(|family| (family.name(), small(family))).to_vec();
    let everything = Recipe {
        norm: Norm::Group,
        activation: Activation::Softplus,
        spectral_norm: true,
        reservoir: true,
        inner_steps: 3,
        gradient_penalty: 0.01,
        optimizer: "adamw".into(),
        weight_decay: 0.01,
        sam: 0.05,
        ema: 0.9,
        ..small(Family::Jem)
    };
    let halves = |recipe: &Recipe| Recipe { precision: Precision::F16, ..recipe.clone() };
    all.push(("everything else in f16", halves(&everything)));
    all.push(("everything else", everything));
    all.push(("jem++ in f16", halves(&small(Family::JemPlusPlus))));
    all
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
            assert_finite(metrics, recipe.samples(), name);
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
        assert_eq!(names, ["gather", "prepare", "sgld", "scatter", "update"], "{name}");
        // Four chains of each of ten classes, in the order of the buffer.
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
        for functional in Functional::all(1.0, 1.0) {
            let labelled_loss = functional.name().to_owned();
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
            metrics.iter().for_each(|metrics| assert_finite(metrics, false, functional.name()));
            let mean = |some: &[Metrics]| some.iter().map(|m| m.loss).sum::<f64>() / some.len() as f64;
            let (first, last) = (mean(&metrics[..4]), mean(&metrics[20..]));
            println!("{functional:?} on {name}: {first:.4} to {last:.4}");
            assert!(last < first - 0.02 * first.abs(), "{functional:?} on {name}: {first} to {last}");
        }
    }
}

/// The reported loss has every term: with β = 1, NLL is the cross-entropy.
#[test]
fn the_loss_of_a_joint_model_holds_the_functional() {
    let recipe =
        Recipe { labelled_loss: "nll".into(), p_x: 0.5, p_y_given_x: 0.75, energy_l2: 0.0, ..recipe() };
    trains(recipe, |_, metrics, _, name| {
        for m in metrics {
            let expected = 0.5 * (m.energy_data - m.energy_samples) + 0.75 * m.cross_entropy;
            assert!((m.loss - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{name}: {expected} {m:?}");
        }
    });
}

#[test]
fn a_config_without_a_labelled_loss_has_the_cross_entropy() {
    let text = recipe().to_toml();
    let older: String = text
        .lines()
        .filter(|line| !["labelled_loss", "margin", "beta "].iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(text.lines().count(), older.lines().count() + 3);
    assert_eq!(Recipe::parse(&older).expect("an older recipe"), recipe());
    let overrides = jem::jem::Overrides::parse(&older).expect("an older config.toml");
    assert_eq!((overrides.labelled_loss, overrides.margin, overrides.beta), (None, None, None));
}

#[test]
fn sgd_keeps_a_velocity() {
    trains(Recipe { optimizer: "sgd".into(), lr: 0.01, ..recipe() }, |trainer, _, _, name| {
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
        optimizer: "sgd".into(),
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
        // Three steps of length lr * clip, at most in one direction.
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

/// A setting that is wrong, and the key that the message must name.
type BadSetting = (&'static str, fn(&mut Recipe));

#[test]
fn bad_settings_are_refused_by_name() {
    let cases: &[BadSetting] = &[
        ("batch", |r| r.batch = 0),
        ("batch", |r| r.batch = 101),
        ("buffer", |r| r.buffer = 0),
        ("buffer", |r| r.buffer = r.batch - 1),
        ("buffer", |r| (r.class_conditional, r.buffer) = (true, r.batch * 10 - 1)),
        ("keep", |r| r.keep = 0),
        ("evaluate_every", |r| r.evaluate_every = 0),
        ("sample_every", |r| r.sample_every = 0),
        ("checkpoint_every", |r| r.checkpoint_every = 0),
        ("steps", |r| r.steps = 0),
        ("step_size", |r| r.step_size = f32::NAN),
        ("step_size", |r| r.step_size = -1.0),
        ("noise", |r| r.noise = f32::INFINITY),
        ("clamp_gradient", |r| r.clamp_gradient = -1.0),
        ("reinitialise", |r| r.reinitialise = 1.5),
        ("reinitialise", |r| r.reinitialise = f32::NAN),
        ("p_x", |r| r.p_x = -1.0),
        ("p_y_given_x", |r| r.p_y_given_x = f32::NAN),
        ("p_y_given_x", |r| (r.p_x, r.p_y_given_x, r.p_xy) = (0.0, 0.0, 0.0)),
        ("p_xy", |r| r.p_xy = 1.0),
        ("p_xy", |r| r.p_xy = -1.0),
        ("energy_l2", |r| r.energy_l2 = -0.1),
        ("inner_steps", |r| r.inner_steps = 0),
        ("norm_momentum", |r| r.norm_momentum = 0.0),
        ("norm_momentum", |r| r.norm_momentum = f32::NAN),
        ("reservoir", |r| (r.class_conditional, r.reservoir) = (true, true)),
        ("gradient_penalty", |r| r.gradient_penalty = -1.0),
        ("gradient_penalty", |r| (r.p_x, r.gradient_penalty) = (0.0, 1.0)),
        ("sam", |r| r.sam = f32::INFINITY),
        ("ema", |r| r.ema = 1.0),
        ("labelled_loss", |r| r.labelled_loss = "Hinge".into()),
        ("margin", |r| r.margin = 0.0),
        ("margin", |r| r.margin = f32::NAN),
        ("beta", |r| r.beta = -1.0),
        ("beta", |r| r.beta = f32::INFINITY),
        ("optimizer", |r| r.optimizer = "lion".into()),
        ("lr", |r| r.lr = f64::NAN),
        ("beta1", |r| r.beta1 = 1.0),
        ("beta2", |r| r.beta2 = -0.1),
        ("epsilon", |r| r.epsilon = -1e-8),
        ("momentum", |r| r.momentum = 1.0),
        ("weight_decay", |r| r.weight_decay = f32::NAN),
        ("clip_norm", |r| r.clip_norm = -1.0),
        ("decay_at", |r| r.decay_at = vec![1.0, f64::NAN]),
        ("decay_at", |r| r.decay_at = vec![-1.0]),
        ("decay_factor", |r| r.decay_factor = f64::INFINITY),
        ("epochs", |r| r.epochs = -1.0),
        ("epochs", |r| (r.epochs, r.iterations) = (0.0, 0)),
        ("input_noise", |r| r.input_noise = -0.03),
        ("diverged_above", |r| r.diverged_above = 0.0),
        ("diverged_above", |r| r.diverged_above = f64::NAN),
    ];
    let good = recipe();
    good.check(100, 10).expect("the recipe that the cases spoil");
    for (key, spoil) in cases {
        let mut bad = good.clone();
        spoil(&mut bad);
        one_line_for(key, bad.check(100, 10).expect_err(key));
    }
}

#[test]
fn settings_that_do_not_fit_network_or_images_are_refused_by_name() {
    let cases: &[BadSetting] = &[
        ("depth", |r| r.depth = 12),
        ("depth", |r| r.depth = 4),
        ("width", |r| r.width = 0),
        ("batch", |r| r.batch = 33),
        ("batch", |r| r.batch = 3),
        ("pad", |r| r.pad = 4),
        ("labels_per_class", |r| r.labels_per_class = 9),
    ];
    // 4 x 4 pixels of 3 channels: 48 words, so that parts of 4 images, not 3, start at multiples of 64.
    let data = pictures(32, 4);
    Trainer::new(&Device::cpu(), &recipe(), &data).expect("the recipe that the cases spoil");
    for (key, spoil) in cases {
        let mut bad = recipe();
        spoil(&mut bad);
        one_line_for(key, Trainer::new(&Device::cpu(), &bad, &data).expect_err(key));
    }
}

fn one_line_for(key: &str, error: jem::Error) {
    let message = error.to_string();
    assert!(message.starts_with(&format!("{key}: ")), "{key}: {message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// One SGLD step of WRN-28-10 at batch 64, as published: built, not run.
fn published_step(choices: Choices) -> Program {
    let recipe = Preset::Paper.recipe();
    let network = recipe.network(10, 3);
    let batch = BatchLayout::new(&recipe, 32, 32, 3);
    assert_eq!(recipe.batch, 64);
    let mut prepare = ProgramBuilder::new("prepare");
    let program = sgld_program(&recipe, &network, &network.layout(), batch, choices, &mut prepare);
    let program = program.expect("a program");
    println!("WRN-28-10, batch {}, one SGLD step: {}", recipe.batch, program.summary());
    program
}

#[test]
fn an_sgld_step_of_the_published_network_fits() {
    let program = published_step(Choices::default());
    let summary = program.summary();
    assert!(summary.dispatches <= 70, "{program}");
    assert!(summary.peak_bytes <= 1 << 30, "{program}");
    keeps_masks_alone(&program);
}

#[test]
fn an_sgld_step_of_the_published_network_by_winograd_fits() {
    let [implicit, winograd] =
        [Choices::default(), Choices::fastest(2 << 30, Choices::HARDWARE)].map(published_step);
    let ratio = winograd.summary().flops as f64 / implicit.summary().flops as f64;
    println!("{ratio:.3} of the implicit product's arithmetic");
    // A quarter for all but the first convolutions, the strides and the shortcuts.
    assert!(ratio < 0.45, "{winograd}");
    // Half of it are the transformed weights of both directions, four times the weights each.
    assert!(winograd.summary().peak_bytes <= 9 << 28, "{winograd}");
    keeps_masks_alone(&winograd);
}

/// Asserts that of the forward pass, the backward pass of a step reads the sign masks and nothing else.
fn keeps_masks_alone(program: &Program) {
    let heads: Vec<usize> = (0..program.dispatches.len())
        .filter(|&step| program.dispatches[step].kernel.name() == "head")
        .collect();
    let [head] = heads[..] else { panic!("not one head: {program}") };
    let (mut written_before, mut read_after) = (BTreeSet::new(), BTreeSet::new());
    // The slots that any dispatch binds as something else than a sign mask.
    let mut not_masks = BTreeSet::new();
    for (step, dispatch) in program.dispatches.iter().enumerate() {
        for (binding, view) in dispatch.kernel.bindings().iter().zip(&dispatch.views) {
            let slot = view.slot.0;
            if step < head && binding.access != Access::Read {
                written_before.insert(slot);
            }
            if step > head && binding.access != Access::Write {
                read_after.insert(slot);
            }
            if binding.name != "mask" {
                not_masks.insert(slot);
            }
        }
    }
    let kept: BTreeSet<usize> = written_before.intersection(&read_after).copied().collect();
    let floats: Vec<&str> =
        kept.intersection(&not_masks).map(|&slot| program.slots[slot].name.as_str()).collect();
    assert!(floats.is_empty(), "kept for the backward pass: {floats:?}\n{program}");
    assert!(kept.iter().all(|&slot| program.slots[slot].kind == SlotKind::Transient));
    let bytes: u64 = kept.iter().map(|&slot| program.slots[slot].bytes).sum();
    // Two leaky ReLUs a block; the last one's mask ends in the head.
    assert_eq!(kept.len(), 24, "{program}");
    let mib = bytes as f64 / f64::from(1 << 20);
    println!("kept for the backward pass: {} masks, {mib:.1} MiB", kept.len());
}
