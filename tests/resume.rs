//! Runs that end in any way and are resumed: after Ctrl-C, a kill, a damaged file, a full disk. The result must equal
//! the uninterrupted run, bit for bit.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/every_recipe.rs"]
mod every_recipe;
#[path = "common/run_files.rs"]
mod run_files;
#[path = "common/small.rs"]
mod small;
#[path = "common/when_scoring.rs"]
mod when_scoring;

use devices::devices;
use every_recipe::family;
use jem::data::Dataset;
use jem::device::Device;
use jem::ebm::{Outcome, Precision, Recipe, RunOptions, Trainer};
use jem::io::checkpoint::Checkpoint;
use run_files::{assert_same_run, checkpoints, copy, events, files, truncate};
use small::pictures;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use when_scoring::WhenScoring;

/// Evaluations, pictures and checkpoints occur together and separately.
fn recipe() -> Recipe {
    Recipe {
        validation: 16,
        evaluate_every: 2,
        sample_every: 4,
        checkpoint_every: 3,
        keep: 3,
        ..small::recipe()
    }
}

fn data() -> (Dataset, Dataset) {
    (pictures(48, 8), pictures(16, 8))
}

/// A run of `recipe`, stopped as by Ctrl-C in the iteration after the first `stop_at`; with 0, before it begins.
fn session(
    device: &Device,
    recipe: &Recipe,
    out: &Path,
    resume: bool,
    stop_at: Option<u64>,
) -> jem::Result<Outcome> {
    let stop = AtomicBool::new(stop_at == Some(0));
    let mut visit = |trainer: &mut Trainer| {
        stop.store(stop_at.is_some_and(|at| trainer.iteration() >= at), Ordering::Relaxed);
        Ok(())
    };
    let options = RunOptions {
        network: None,
        start: None,
        out: out.to_owned(),
        resume,
        progress: None,
        stop: &stop,
        source: None,
        reopen: None,
        visit: Some(&mut visit),
    };
    let (train, test) = data();
    jem::ebm::run(device, recipe, &train, &test, options)
}

fn run(out: &Path, resume: bool, stop: bool) -> jem::Result<Outcome> {
    session(&Device::cpu(), &recipe(), out, resume, stop.then_some(0))
}

#[test]
fn a_stop_ends_the_scoring_of_the_test_images_and_the_next_run_scores_them() {
    let (_folder, out) = uninterrupted();
    forget_the_end(&out);
    let stopped = run(&out, true, true).expect("a run without iterations");
    assert_eq!((stopped.iterations, stopped.interrupted, stopped.test), (12, true, None));
    let scored = run(&out, true, false).expect("a run without iterations");
    assert!(!scored.interrupted && scored.test.is_some());
    // A complete run has its scores on record.
    let before = files(&out);
    let recorded = run(&out, true, true).expect("nothing to do");
    assert_eq!((recorded.interrupted, recorded.test), (false, scored.test));
    assert!(files(&out) == before, "a complete run stays as it was");
}

/// Removes the last event: the run was killed between its last checkpoint and its end.
fn forget_the_end(out: &Path) {
    let path = out.join("events.jsonl");
    let events = fs::read_to_string(&path).expect("events");
    let end = events.trim_end().rfind('\n').expect("several events") + 1;
    fs::write(path, &events[..end]).expect("a file");
}

/// A complete run, with checkpoints at iterations 6, 9 and 12.
fn uninterrupted() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    let out = folder.path().join("whole");
    run(&out, false, false).expect("a run");
    assert_eq!(checkpoints(&out).len(), 3);
    (folder, out)
}

/// A copy of the directory of a complete run, as if killed when its last checkpoint was that of `iteration`.
fn killed_after(iteration: u64, whole: &Path) -> PathBuf {
    let out = whole.with_file_name(format!("killed-{iteration}"));
    let _ = fs::remove_dir_all(&out);
    copy(whole, &out);
    for (number, path) in checkpoints(&out) {
        if number > iteration {
            fs::remove_file(path).expect("a checkpoint");
        }
    }
    out
}

#[test]
fn a_run_that_is_interrupted_after_every_iteration_is_the_uninterrupted_one() {
    let (folder, whole) = uninterrupted();
    let out = folder.path().join("interrupted");
    for done in 0..12 {
        let outcome = session(&Device::cpu(), &recipe(), &out, done > 0, Some(done)).expect("an iteration");
        assert_eq!((outcome.iterations, outcome.interrupted), (done, true));
        assert_eq!(checkpoints(&out).last().expect("a checkpoint").0, done);
        // Stop again before anything is done.
        let outcome = session(&Device::cpu(), &recipe(), &out, true, Some(done)).expect("no iteration");
        assert_eq!((outcome.iterations, outcome.interrupted), (done, true));
    }
    let outcome = run(&out, true, false).expect("the last iteration");
    assert!(!outcome.interrupted && outcome.test.is_some(), "{outcome:?}");
    assert_same_run(&out, &whole);
    assert_eq!(checkpoints(&out).len(), 3);
}

#[test]
fn a_run_that_is_interrupted_in_an_evaluation_is_the_uninterrupted_one() {
    let folder = tempfile::tempdir().expect("a directory");
    // More than one batch of 100.
    let recipe = Recipe { validation: 120, reservoir: true, ..recipe() };
    let (train, test) = (pictures(152, 8), pictures(16, 8));
    let session = |out: &Path, resume: bool, stop_in: Option<(u64, usize)>, stop_at: Option<u64>| {
        let (stop, begun) = (AtomicBool::new(false), Cell::new(0));
        // Stops in the evaluation after `at` iterations, once `images` are scored.
        let (at, images) = stop_in.unwrap_or((u64::MAX, 0));
        let progress = WhenScoring(|part: &str, done: usize| {
            if part == "scoring held-out images" && begun.get() == at && done >= images {
                stop.store(true, Ordering::Relaxed);
            }
        });
        let mut visit = |trainer: &mut Trainer| {
            begun.set(trainer.iteration() + 1);
            stop.store(stop_at.is_some_and(|at| trainer.iteration() >= at), Ordering::Relaxed);
            Ok(())
        };
        let options = RunOptions {
            resume,
            stop: &stop,
            progress: Some(Box::new(progress)),
            visit: Some(&mut visit),
            ..RunOptions::new(out)
        };
        jem::ebm::run(&Device::cpu(), &recipe, &train, &test, options).expect("a run")
    };
    let whole = folder.path().join("whole");
    session(&whole, false, None, None);
    for (at, images) in [(2, 0), (4, 100), (6, 100), (12, 100)] {
        let out = folder.path().join(format!("stopped-{at}"));
        let stopped = session(&out, false, Some((at, images)), None);
        assert_eq!((stopped.iterations, stopped.interrupted, stopped.test), (at, true, None));
        let rows = fs::read_to_string(out.join("metrics.csv")).expect("metrics").lines().count() as u64;
        assert_eq!(rows, at, "a header, and no row for the iteration whose evaluation is not done");
        assert!(!events(&out).iter().any(|event| event["event"] == "validation" && event["iteration"] == at));
        let picture =
            |out: &Path| fs::read(out.join(format!("samples/samples-{at:08}.png"))).expect("samples");
        let drawn = picture(&out);
        // A session that is killed after the evaluation: its work is done again.
        if at < 12 {
            let killed = session(&out, true, None, Some(at + 1));
            assert_eq!((killed.iterations, killed.interrupted), (at + 1, true));
            fs::remove_file(out.join(format!("checkpoints/checkpoint-{:08}.safetensors", at + 1)))
                .expect("it");
        }
        let outcome = session(&out, true, None, None);
        assert!(!outcome.interrupted && outcome.test.is_some() && outcome.samples.is_some(), "{outcome:?}");
        assert_same_run(&out, &whole);
        if at % 4 == 0 {
            assert!(picture(&whole) == drawn && picture(&out) == drawn, "samples of iteration {at}");
        }
    }
}

/// `training.rs` tests only the trainer; here the rest of a run takes part, on both sides of the interruption.
#[test]
fn a_run_of_every_recipe_that_is_interrupted_at_iteration_37_is_the_uninterrupted_one() {
    let folder = tempfile::tempdir().expect("a directory");
    let session = |device: &Device, recipe: &Recipe, out: &Path, resume: bool, stop_at: Option<u64>| {
        session(device, recipe, out, resume, stop_at)
            .unwrap_or_else(|error| panic!("{}: {error}", out.display()))
    };
    // A device for each, so that the two runs proceed in parallel.
    for ((name, device), (_, other)) in devices().into_iter().zip(devices()) {
        for (variant, recipe) in family() {
            // The slowest variant on a software GPU; `training.rs` covers it.
            if recipe.precision == Precision::F16 && !device.is_cpu() {
                continue;
            }
            let recipe = Recipe {
                // `training.rs` compares two SGLD steps.
                steps: 1,
                iterations: 40,
                validation: 16,
                // 27, 30, 33, 36 | 39, 40
                evaluate_every: 3,
                // 28, 32, 36 | 40
                sample_every: 4,
                // 13, 26 | 39, 40
                checkpoint_every: 13,
                // 32, 34, 36 | 38
                snapshot_every: 2,
                ..recipe
            };
            let context = format!("{name}, {variant}");
            let [whole, parts] =
                ["whole", "in parts"].map(|part| folder.path().join(format!("{context}, {part}")));
            let (expected, outcome) = std::thread::scope(|scope| {
                let expected = scope.spawn(|| session(&device, &recipe, &whole, false, None));
                let stopped = session(&other, &recipe, &parts, false, Some(37));
                assert_eq!((stopped.iterations, stopped.interrupted), (37, true), "{context}");
                let outcome = session(&other, &recipe, &parts, true, None);
                (expected.join().expect("the uninterrupted run"), outcome)
            });
            assert_eq!((outcome.iterations, outcome.interrupted), (40, false), "{context}");
            assert_same_run(&parts, &whole);
            // Compare as text, because the accuracy of an energy without classes is NaN.
            let figures = |of: &Outcome| format!("{:?}", (of.trips, of.validation, of.test));
            assert_eq!(figures(&outcome), figures(&expected), "{context}");
            assert!(outcome.test.is_some(), "{context}: {outcome:?}");
            for iteration in [28, 32, 36, 40] {
                let picture =
                    |out: &Path| fs::read(out.join(format!("samples/samples-{iteration:08}.png"))).ok();
                assert_eq!(picture(&whole).is_some(), recipe.samples(), "{context}: iteration {iteration}");
                assert!(picture(&parts) == picture(&whole), "{context}: samples of iteration {iteration}");
            }
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let (folder, whole) = uninterrupted();
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("cut", |path| truncate(path, 1)),
        ("half", |path| truncate(path, 500_000)),
        ("empty", |path| fs::write(path, "").expect("a file")),
        ("garbage", |path| fs::write(path, vec![0x5a; 10_000]).expect("a file")),
        ("a bit of a weight", |path| {
            let mut bytes = fs::read(path).expect("a checkpoint");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("a file");
        }),
        ("a directory", |path| {
            fs::remove_file(path).expect("a checkpoint");
            fs::create_dir(path).expect("a directory");
        }),
    ];
    let name = |iteration: u64| format!("checkpoint-{iteration:08}.safetensors");
    for (what, damage) in damages {
        let out = killed_after(12, &whole);
        damage(&out.join("checkpoints").join(name(12)));
        run(&out, true, false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same_run(&out, &whole);
        assert!(out.join("checkpoints").join(name(12) + ".damaged").exists(), "{what}");
        let said = events(&out).into_iter().find(|event| event["event"] == "damaged_checkpoint");
        let said = said.unwrap_or_else(|| panic!("{what}: no event"))["details"].to_string();
        assert!(said.contains(&name(12)) && said.contains(&name(9)), "{what}: {said}");
    }
    // Two of three, then all.
    let out = killed_after(12, &whole);
    for iteration in [12, 9] {
        truncate(&out.join("checkpoints").join(name(iteration)), 10);
    }
    run(&out, true, false).expect("from iteration 6");
    assert_same_run(&out, &whole);
    let out = killed_after(12, &whole);
    for (_, path) in checkpoints(&out) {
        truncate(&path, 10);
    }
    let before = files(&out);
    let message = run(&out, true, false).expect_err("nothing to go on from").to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!([6, 9, 12].iter().all(|&iteration| message.contains(&name(iteration))), "{message}");
    assert!(files(&out) == before, "a refused run is left as it is");
    drop(folder);
}

/// The rows, events and models of iterations after the checkpoint are there, and half of the record in progress.
#[test]
fn what_a_kill_leaves_is_cleared_and_done_again() {
    let (_folder, whole) = uninterrupted();
    for iteration in [6, 9] {
        let out = killed_after(iteration, &whole);
        let append = |name: &str, text: &str| {
            let path = out.join(name);
            fs::write(&path, fs::read_to_string(&path).expect("a file") + text).expect("a file");
        };
        append("metrics.csv", "12,3.5,0.2");
        append("events.jsonl", "{\"details\":{\"accu");
        let left = ["", "samples", "checkpoints"].map(|folder| out.join(folder).join(".some.file.4711.tmp"));
        for path in &left {
            fs::write(path, "half").expect("a file");
        }
        let cut = fs::read_dir(out.join("tensorboard")).expect("event files").next().expect("one");
        let cut = cut.expect("an entry").path();
        truncate(&cut, 5);
        let before = fs::read(&cut).expect("a file");
        run(&out, true, false).expect("the rest of the run");
        assert_same_run(&out, &whole);
        assert!(left.iter().all(|path| !path.exists()), "{left:?}");
        // TensorBoard skips a truncated record and continues with the next file.
        assert!(fs::read(&cut).expect("a file") == before);
        assert_eq!(fs::read_dir(out.join("tensorboard")).expect("event files").count(), 2);
        let resumed = events(&out).into_iter().find(|event| event["event"] == "resume").expect("an event");
        assert_eq!(resumed["iteration"], iteration);
    }
}

#[test]
fn a_run_that_was_killed_before_its_first_checkpoint_starts_from_the_beginning() {
    let (_folder, whole) = uninterrupted();
    for rest in [&["config.toml"][..], &["config.toml", "metrics.csv", "events.jsonl", "best.safetensors"]] {
        let out = killed_after(0, &whole);
        for path in files(&out).into_keys().filter(|path| !rest.iter().any(|rest| path.ends_with(rest))) {
            fs::remove_file(path).expect("a file");
        }
        run(&out, true, false).expect("a run");
        assert_same_run(&out, &whole);
    }
    let out = killed_after(0, &whole);
    fs::remove_file(out.join("config.toml")).expect("settings");
    let message = run(&out, true, false).expect_err("no run").to_string();
    assert!(message.contains("config.toml"), "{message}");
}

#[test]
fn a_lost_best_model_is_chosen_anew() {
    let (_folder, whole) = uninterrupted();
    let out = killed_after(12, &whole);
    for path in files(&out).into_keys().filter(|path| path.to_string_lossy().contains("best")) {
        truncate(&path, 10);
    }
    let outcome = run(&out, true, false).expect("a run");
    assert!(outcome.test.is_some());
    Checkpoint::load(&outcome.best.expect("a best model")).expect("a whole file");
    assert!(events(&out).iter().any(|event| event["event"] == "best_model_lost"));
}

#[test]
fn a_complete_run_is_left_as_it_is() {
    let (_folder, whole) = uninterrupted();
    let before = files(&whole);
    let outcome = run(&whole, true, false).expect("nothing to do");
    assert_eq!((outcome.iterations, outcome.interrupted), (12, false));
    assert!(outcome.test.is_some() && outcome.checkpoint.ends_with("checkpoint-00000012.safetensors"));
    let after = files(&whole);
    for (path, contents) in &after {
        assert!(before.get(path) == Some(contents), "{} has changed", path.display());
    }
    assert_eq!(after.len(), before.len());
    forget_the_end(&whole);
    run(&whole, true, false).expect("nothing but the event");
    let last = events(&whole).pop().expect("an event");
    assert_eq!((last["event"].as_str(), last["iteration"].as_u64()), (Some("end"), Some(12)));
}

/// A file system in memory, which only root can mount; `None` if that fails.
#[cfg(target_os = "linux")]
struct Disk(TempDir);

#[cfg(target_os = "linux")]
impl Disk {
    fn mount(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a directory");
        let options = format!("size={bytes}");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        match mount.output() {
            Ok(output) if output.status.success() => return Some(Self(folder)),
            Ok(output) => println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => println!("skipped: mount: {error}"),
        }
        println!("skipped: a full disk needs a file system of its own, which only root can mount");
        None
    }

    fn resize(&self, bytes: usize) {
        let options = format!("remount,size={bytes}");
        let status = std::process::Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "a larger disk");
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_end_a_run() {
    let (_folder, whole) = uninterrupted();
    let checkpoint = fs::metadata(&checkpoints(&whole)[0].1).expect("a checkpoint").len() as usize;
    // Room for one checkpoint, the best model and the other files, but not for two.
    let Some(disk) = Disk::mount(checkpoint * 2) else { return };
    let out = disk.0.path().join("run");
    let message = run(&out, false, false).expect_err("no room for the last checkpoint").to_string();
    for word in ["checkpoint-00000012.safetensors", "No space left", "make room", "resume the run"] {
        assert!(message.contains(word), "{message}");
    }
    // The run trained to its end.
    let rows = fs::read_to_string(out.join("metrics.csv")).expect("metrics");
    assert_eq!(rows.lines().count(), 13, "{rows}");
    let failed = events(&out).into_iter().filter(|event| event["event"] == "write_failed");
    let failed: Vec<_> = failed.map(|event| event["details"]["what"].clone()).collect();
    assert!(failed.iter().filter(|what| *what == "checkpoint").count() == 1, "{failed:?}");
    let kept = checkpoints(&out);
    assert_eq!(kept.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3]);
    Checkpoint::load(&kept[0].1).expect("a whole checkpoint");
    assert!(files(&out).keys().all(|path| path.extension().is_none_or(|extension| extension != "tmp")));

    disk.resize(8 * checkpoint);
    run(&out, true, false).expect("the rest of the run");
    assert_same_run(&out, &whole);
}
