//! A run that is killed repeatedly at random moments ends as the run that was not killed.

#[path = "common/run_files.rs"]
mod run_files;
#[path = "common/train_cifar.rs"]
mod train_cifar;

use jem::io::checkpoint::Checkpoint;
use run_files::{assert_same_run, checkpoints, events};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use train_cifar::train_cifar_on;

const KILLS: u64 = 20;
const CHECKPOINT_EVERY: u64 = 3;

/// Starts or resumes a small run in `out`; its output goes to `log`.
fn start(out: &Path, log: &Path) -> Child {
    let mut command: Command = train_cifar_on("cpu");
    command.arg("--synthetic");
    if out.join("config.toml").exists() {
        command.arg("--resume").arg(out);
    } else {
        command.args([
            "--preset",
            "tiny",
            "--batch",
            "4",
            "--steps",
            "1",
            "--buffer",
            "40",
            "--iterations",
            "60",
        ]);
        command.args(["--validation", "100", "--evaluate-every", "4", "--sample-every", "5"]);
        command.args(["--checkpoint-every", &CHECKPOINT_EVERY.to_string(), "--out"]).arg(out);
    }
    command.stdout(Stdio::null()).stderr(File::create(log).expect("a log"));
    command.spawn().expect("the example starts")
}

/// The number of complete rows of metrics, without the header.
fn rows(out: &Path) -> u64 {
    let text = fs::read_to_string(out.join("metrics.csv")).unwrap_or_default();
    (text.matches('\n').count() as u64).saturating_sub(1)
}

#[test]
fn a_run_killed_at_random_moments_is_the_uninterrupted_one() {
    let folder = tempfile::tempdir().expect("a directory");
    let [out, whole, log, whole_log] =
        ["killed", "whole", "log", "whole log"].map(|name| folder.path().join(name));
    let mut uninterrupted = start(&whole, &whole_log);
    // Knuth's MMIX generator: its upper half is random enough.
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for kill in 0..KILLS {
        let before = rows(&out);
        let mut child = start(&out, &log);
        if random(2) == 0 {
            // While it starts.
            std::thread::sleep(Duration::from_millis(random(1200)));
        } else {
            // While it trains: some rows later, during an iteration, an evaluation or a write.
            let more = random(6);
            let began = Instant::now();
            while rows(&out) < before + more && child.try_wait().expect("its state").is_none() {
                assert!(began.elapsed() < Duration::from_secs(120), "it does not train: {}", said(&log));
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(random(50)));
        }
        child.kill().expect("it can be killed, or has ended");
        let status = child.wait().expect("its state");
        assert!(matches!(status.code(), None | Some(0 | 130)), "kill {kill}: {}", said(&log));
        // Only work since the last checkpoint is lost.
        let (rows, newest) = (rows(&out), out.join("checkpoints").exists().then(|| checkpoints(&out)));
        let newest = newest.and_then(|mut all| all.pop());
        let done = newest.as_ref().map_or(0, |(done, _)| *done);
        assert!(
            done + CHECKPOINT_EVERY >= rows,
            "kill {kill}: {rows} rows, the last checkpoint is of {done}"
        );
        if let Some((_, path)) = newest {
            Checkpoint::load(&path).expect("a whole checkpoint");
        }
        println!("kill {kill}: after {rows} rows, {done} iterations in a checkpoint");
    }
    let finished = start(&out, &log).wait().expect("it ends");
    assert!(finished.success(), "{}", said(&log));
    assert!(uninterrupted.wait().expect("it ends").success(), "{}", said(&whole_log));
    assert_same_run(&out, &whole);
    let left =
        run_files::files(&out).into_keys().find(|path| path.extension().is_some_and(|end| end == "tmp"));
    assert_eq!(left, None);
    assert!(events(&out).iter().any(|event| event["event"] == "resume"), "it was killed in training");
}

fn said(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}
