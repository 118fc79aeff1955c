//! Training in f16: close to f32, resumable, with half the bytes, and selected by name.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/small.rs"]
mod small;

use devices::devices;
use jem::compute::cooperative::Method;
use jem::device::{Device, ProgramBuilder, Summary};
use jem::ebm::programs::BatchLayout;
use jem::ebm::{Metrics, Overrides, Precision, Preset, Recipe, Trainer, sgld_program};
use jem::io::checkpoint::Checkpoint;
use jem::nn::network::Network as _;
use jem::policy::convolution::ConvolutionPolicy;
use small::{pictures, recipe};

fn in_f16() -> Recipe {
    Recipe { precision: Precision::F16, ..recipe() }
}

fn train(trainer: &mut Trainer, iterations: usize) -> Vec<Metrics> {
    for _ in 0..iterations {
        trainer.step().expect("an iteration");
    }
    trainer.finish_metrics().expect("metrics")
}

/// The first iterations, before rounding has moved chains elsewhere.
#[test]
fn the_first_iterations_are_those_of_f32() {
    let data = pictures(64, 32);
    for (name, device) in devices() {
        let [single, half] = [recipe(), in_f16()].map(|recipe| {
            let recipe = Recipe { batch: 8, steps: 3, pad: 4, ..recipe };
            train(&mut Trainer::new(&device, &recipe, &data).expect("a trainer"), 2)
        });
        for (a, b) in half.iter().zip(&single) {
            let numbers = |m: &Metrics| {
                [
                    m.loss,
                    m.energy_data,
                    m.energy_samples,
                    m.cross_entropy,
                    m.gradient_norm,
                    m.input_gradient_norm,
                ]
            };
            let mut differ = false;
            for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
                assert!(
                    (a - b).abs() <= 2e-2 * b.abs().max(0.1),
                    "{name}: {a} and {b}: {half:?}\n{single:?}"
                );
                differ |= a != b;
            }
            assert!(differ, "{name}: not a bit was rounded");
        }
    }
}

#[test]
fn a_resumed_run_in_f16_is_the_uninterrupted_one() {
    let data = pictures(32, 16);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("third.safetensors");
    for (name, device) in devices() {
        let trainer = || Trainer::new(&device, &in_f16(), &data).expect("a trainer");
        let mut uninterrupted = trainer();
        train(&mut uninterrupted, 3);
        uninterrupted.checkpoint().expect("a checkpoint").save(&path).expect("a file");
        let rest = train(&mut uninterrupted, 3);
        let mut resumed = trainer();
        resumed.restore(&Checkpoint::load(&path).expect("the file"), &path).expect("its state");
        assert_eq!(train(&mut resumed, 3), rest, "{name}");
        let bytes = |trainer: &Trainer| {
            let path = folder.path().join("end.safetensors");
            trainer.checkpoint().expect("a checkpoint").save(&path).expect("a file");
            std::fs::read(path).expect("the file")
        };
        assert!(bytes(&uninterrupted) == bytes(&resumed), "{name}: the checkpoints differ");
    }
}

#[test]
fn what_a_device_came_to_is_said() {
    let data = pictures(32, 16);
    for (_, device) in devices() {
        let trainer = Trainer::new(&device, &in_f16(), &data).expect("a trainer");
        assert!(trainer.precision().starts_with("f16, multiplied "), "{}", trainer.precision());
        let trainer = Trainer::new(&device, &recipe(), &data).expect("a trainer");
        assert_eq!(trainer.precision(), "f32");
    }
}

/// A config.toml of an earlier version, without the setting.
#[test]
fn a_recipe_without_precision_is_f32() {
    let text = in_f16().to_toml();
    let old: String =
        text.lines().filter(|line| !line.starts_with("precision")).map(|l| format!("{l}\n")).collect();
    assert_ne!(text, old);
    let read = Recipe::parse(&old).expect("a recipe");
    assert_eq!(read.precision, Precision::F32);
    let overrides = Overrides::parse("precision = \"f16\"").expect("a setting");
    assert_eq!(overrides.precision, Some(Precision::F16));
    let error = Overrides::parse("precision = \"f64\"").unwrap_err();
    assert!(error.contains("f64") && error.contains("f16"), "{error}");
}

/// One SGLD step of the published network, built but not run.
fn published(policy: &ConvolutionPolicy) -> Summary {
    let recipe = Preset::Paper.recipe();
    let network = recipe.network(10, 3);
    let batch = BatchLayout::new(&recipe, 32, 32, 3);
    let mut prepare = ProgramBuilder::new("prepare");
    let step = sgld_program(&recipe, &network, &network.layout(), batch, policy, &mut prepare);
    step.expect("a program").summary()
}

#[test]
fn a_step_of_the_published_network_moves_half_the_bytes() {
    let policy = ConvolutionPolicy::default();
    let [single, half, separate] =
        [policy.clone(), policy.clone().in_f16(Method::Scalar), policy.unfused()].each_ref().map(published);
    println!("WRN-28-10, batch 64, one SGLD step\n  f32: {single}\n  f16: {half}\n  unfused: {separate}");
    assert_eq!(half.dispatches, single.dispatches);
    assert_eq!(half.flops, single.flops);
    // All tensors except images and sign masks.
    let ratio = half.bytes_moved as f64 / single.bytes_moved as f64;
    assert!((0.5..0.52).contains(&ratio), "{ratio}");
    assert!(half.transient_bytes as f64 <= 0.55 * single.transient_bytes as f64, "{half}");
    // The unfused program has 25 activations and 25 gradients, 12 sums and 12 of gradients, the update, and 6 for 1 of
    // the head.
    assert_eq!(separate.dispatches, single.dispatches + 2 * 25 + 2 * 12 + 1 + 5, "{separate}");
    // Predicted for blocks without their weights: 24 tensors instead of 11 and their masks.
    let ratio = separate.bytes_moved as f64 / single.bytes_moved as f64;
    assert!((1.9..2.2).contains(&ratio), "{ratio}");
}

#[test]
fn the_host_has_no_matrices() {
    let (policy, _) = Precision::F16.policy(&Device::cpu());
    assert_eq!(policy.method(), Method::Scalar);
}
