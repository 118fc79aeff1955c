//! Runs with injected faults: each completes by itself, with results as good as without the fault.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/disturbed.rs"]
mod disturbed;

use devices::devices;
use disturbed::{alter, drawings, events, iterations, recipe, train};
use jem::Result;
use jem::device::Device;
use jem::ebm::{Outcome, Recipe, RunOptions, Trainer, run};
use jem::io::checkpoint::Checkpoint;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of seeds whose runs are compared, undisturbed and healed.
const SEEDS: u32 = 8;

type Disturbance = fn(&mut Trainer) -> Result<()>;

const DISTURBANCES: [(&str, Disturbance); 6] = [
    ("a weight is NaN", |trainer| alter(trainer, "conv1.weight", |values| values[3] = f32::NAN)),
    ("samples are NaN", |trainer| alter(trainer, "replay_buffer", |values| values.fill(f32::NAN))),
    // Bytes cannot be NaN: noise beyond the largest number makes the images NaN.
    ("batches are NaN", |trainer| {
        let recipe = trainer.recipe().clone();
        trainer.adopt(&Recipe { input_noise: 3e38, ..recipe })
    }),
    ("samples are far out", |trainer| alter(trainer, "replay_buffer", |values| values.fill(1e6))),
    ("step size x100", |trainer| {
        let recipe = trainer.recipe().clone();
        trainer.adopt(&Recipe {
            step_size: 100.0 * recipe.step_size,
            clamp_x: false,
            clamp_gradient: 0.0,
            ..recipe
        })
    }),
    ("learning rate x100", |trainer| {
        let recipe = trainer.recipe().clone();
        trainer.adopt(&Recipe { lr: 100.0 * recipe.lr, clip_norm: 0.0, ..recipe })
    }),
];

/// Disturbs a run once, before iteration 70.
fn disturbed(device: &Device, recipe: &Recipe, out: &Path, disturb: Disturbance) -> Result<Outcome> {
    let mut done = false;
    train(device, recipe, out, |trainer| {
        if trainer.iteration() == 70 && !std::mem::replace(&mut done, true) {
            disturb(trainer)?;
        }
        Ok(())
    })
}

/// A run without a fault that continues from iteration 40 like a run after its first healing: with twice the SGLD steps
/// and other random numbers.
fn remedied(device: &Device, recipe: &Recipe, out: &Path) -> Result<Outcome> {
    train(device, recipe, out, |trainer| {
        if trainer.iteration() == 40 {
            trainer.adopt(&Recipe { steps: 2 * recipe.steps, ..recipe.clone() })?;
            trainer.set_random_stream(1);
        }
        Ok(())
    })
}

fn accuracy(outcome: &Outcome) -> f64 {
    outcome.test.expect("test figures").accuracy
}

#[test]
fn nothing_of_a_fault_is_left_in_a_healed_run() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, device) in devices() {
        // The host has time for every fault, the software GPU for three.
        let disturbances = if device.is_cpu() { &DISTURBANCES[..] } else { &DISTURBANCES[..3] };
        let calm = folder.path().join(format!("{name}-calm"));
        let expected = remedied(&device, &recipe(), &calm).expect("a run");
        assert_eq!((expected.trips, events(&calm, "healed").len()), (0, 0), "{name}");
        for (index, (what, disturb)) in disturbances.iter().enumerate() {
            let out = folder.path().join(format!("{name}-{index}"));
            let outcome = disturbed(&device, &recipe(), &out, *disturb);
            let outcome = outcome.unwrap_or_else(|error| panic!("{name}, {what}: {error}"));
            let healed = events(&out, "healed");
            assert!(outcome.trips == 1 && healed.len() == 1, "{name}, {what}: {healed:?}");
            let first = &healed[0];
            assert!(matches!(first["iteration"].as_u64(), Some(70 | 71)), "{what}: {first}");
            assert_eq!(first["details"]["back_to"].as_u64(), Some(40), "{what}: {first}");
            assert_eq!(first["details"]["remedy"], "twice the SGLD steps", "{what}: {first}");
            assert!(first["details"]["fault"].is_string(), "{what}: {first}");
            assert_eq!(iterations(&out), (0..160).collect::<Vec<_>>(), "{what}: every iteration has one row");
            let last =
                |outcome: &Outcome| Checkpoint::load(&outcome.checkpoint).expect("a checkpoint").tensors;
            assert!(last(&outcome) == last(&expected), "{name}, {what}: another state");
            assert_eq!((outcome.validation, outcome.test), (expected.validation, expected.test), "{what}");
        }
    }
}

/// The means over several seeds are within three standard errors of their difference, estimated from the spread of the
/// runs of each kind, which includes the error of the test set. Only on the host and with one fault: the other faults
/// and devices give the same, as `nothing_of_a_fault_is_left_in_a_healed_run` shows.
///
/// Measured with 56 seeds: 55.3% undisturbed and 52.3% healed, both with a standard deviation of 5.8%; for these eight,
/// 55.1% and 50.6%, with a standard error of 2.7%.
#[test]
fn a_healed_run_is_as_good_as_an_undisturbed_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, device), _] = devices();
    // The fault that is the hardest to detect.
    let (what, disturb) = DISTURBANCES[4];
    let [mut undisturbed, mut healed] = [Vec::new(), Vec::new()];
    for seed in 1..=SEEDS {
        let recipe = Recipe { seed, ..recipe() };
        let out = |kind: &str| folder.path().join(format!("{kind}-{seed}"));
        let outcome = train(&device, &recipe, &out("undisturbed"), |_| Ok(())).expect("a run");
        assert_eq!(outcome.trips, 0, "seed {seed}");
        undisturbed.push(accuracy(&outcome));
        let outcome = disturbed(&device, &recipe, &out("healed"), disturb).expect("a run");
        assert_eq!(outcome.trips, 1, "seed {seed}, {what}");
        healed.push(accuracy(&outcome));
    }
    println!("undisturbed {undisturbed:.3?}, healed {healed:.3?}");
    let [(expected, spread), (found, found_spread)] = [&undisturbed, &healed].map(|all| mean_and_spread(all));
    assert!(expected > 0.4, "nothing to lose: {undisturbed:.3?}");
    let error = ((spread.powi(2) + found_spread.powi(2)) / f64::from(SEEDS)).sqrt();
    assert!(
        found > expected - 3.0 * error,
        "{healed:.3?}, on average {found:.3}, is less than {undisturbed:.3?}, {expected:.3}, by more than 3 x {error:.3}"
    );
}

/// The mean and the standard deviation.
fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

#[test]
fn a_healed_run_that_is_interrupted_and_resumed_is_the_same_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, device), _] = devices();
    let out = |name: &str| folder.path().join(name);
    // The recipe causes the fault, so it occurs in both runs.
    let recipe = Recipe {
        step_size: 30.0,
        clamp_gradient: 0.0,
        clamp_x: false,
        energy_l2: 0.0,
        p_x: 1.0,
        checkpoint_every: 20,
        snapshot_every: 10,
        max_gap: 30.0,
        ..recipe()
    };
    let (train_data, test) = drawings();
    let session = |name: &str, resume: bool, stop_before: Option<u64>| {
        let stop = AtomicBool::new(false);
        let mut visit = |trainer: &mut Trainer| {
            stop.store(stop_before.is_some_and(|at| trainer.iteration() >= at), Ordering::Relaxed);
            Ok(())
        };
        let options = RunOptions {
            network: None,
            start: None,
            source: None,
            out: out(name),
            resume,
            progress: None,
            stop: &stop,
            reopen: None,
            visit: Some(&mut visit),
        };
        run(&device, &recipe, &train_data, &test, options).expect("a run")
    };
    let whole = session("whole", false, None);
    assert!(whole.trips > 1, "nothing went wrong");
    let first = events(&out("whole"), "healed")[0]["iteration"].as_u64().expect("a number");
    for (index, stop_before) in [37, first + 3, 133].into_iter().enumerate() {
        let name = format!("parts-{index}");
        assert!(session(&name, false, Some(stop_before)).interrupted);
        let parts = session(&name, true, None);
        assert_eq!((parts.trips, parts.test), (whole.trips, whole.test), "{name}");
        let last = |outcome: &Outcome| Checkpoint::load(&outcome.checkpoint).expect("a checkpoint");
        let (parts, whole) = (last(&parts), last(&whole));
        assert_eq!(parts.metadata, whole.metadata, "{name}");
        assert!(parts.tensors == whole.tensors, "{name}: another state");
        assert_eq!(iterations(&out(&name)), iterations(&out("whole")));
    }
}

#[test]
fn a_run_that_cannot_be_healed_says_why_and_keeps_its_best_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, device), _] = devices();
    let out = folder.path().join("hopeless");
    let recipe = Recipe { max_trips: 3, ..recipe() };
    let error = train(&device, &recipe, &out, |trainer| match trainer.iteration() {
        110 => alter(trainer, "conv1.weight", |values| values.fill(f32::NAN)),
        _ => Ok(()),
    });
    let message = error.expect_err("it cannot").to_string();
    for part in ["after 3 faults", "max_trips", "checkpoint-00000080", "best.safetensors"] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    assert_eq!(message.lines().count(), 1, "{message}");
    assert_eq!((events(&out, "healed").len(), events(&out, "diverged").len()), (3, 1));
    assert!(out.join("best.safetensors").exists());
    // Without the guard the run ends at once.
    let out = folder.path().join("unguarded");
    let recipe = Recipe { guard: false, ..recipe };
    let error = train(&device, &recipe, &out, |trainer| match trainer.iteration() {
        50 => alter(trainer, "conv1.weight", |values| values.fill(f32::NAN)),
        _ => Ok(()),
    });
    let message = error.expect_err("it is not healed").to_string();
    assert!(message.contains("guard is off") && message.contains("iteration 50"), "{message}");
}

#[test]
fn a_damaged_snapshot_keeps_no_run_from_going_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, device), _] = devices();
    let out = folder.path().join("run");
    let recipe = Recipe { iterations: 45, evaluate_every: 45, ..recipe() };
    let (train_data, test) = drawings();
    for (resume, stop) in [(false, AtomicBool::new(false)), (true, AtomicBool::new(false))] {
        let mut visit = |trainer: &mut Trainer| {
            stop.store(!resume && trainer.iteration() == 25, Ordering::Relaxed);
            Ok(())
        };
        let options = RunOptions {
            network: None,
            start: None,
            source: None,
            out: out.clone(),
            resume,
            progress: None,
            stop: &stop,
            reopen: None,
            visit: Some(&mut visit),
        };
        let outcome = run(&device, &recipe, &train_data, &test, options).expect("a run");
        assert_eq!((outcome.iterations, outcome.interrupted), if resume { (45, false) } else { (25, true) });
        let snapshot = out.join("checkpoints/snapshot-00000020.safetensors");
        assert_eq!(snapshot.exists(), !resume);
        if !resume {
            std::fs::write(&snapshot, "damaged").expect("it can be written");
        }
    }
}
