//! Complete runs: steps crash, hang and flood the log, and the run itself is killed.

use crate::children::gone;
use crate::fake_driver::cargo::cargo;
use crate::measure::plan::steps;
use crate::measure::{journal, summary};
use jem::device::Device;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The time limit of a run, in seconds.
const SECONDS: u64 = 60;

/// Locked during a run: two runs at once would distort each other's times.
static ONE: Mutex<()> = Mutex::new(());

/// The bench, which `cargo test` does not build: `$JEM_BENCH`, or else built here.
pub fn bench() -> &'static Path {
    static BENCH: OnceLock<PathBuf> = OnceLock::new();
    BENCH.get_or_init(|| {
        if let Some(path) = std::env::var_os("JEM_BENCH") {
            return path.into();
        }
        let arguments = ["bench", "--offline", "--bench", "gpu", "--no-run", "--message-format=json"];
        let output = cargo().args(arguments).output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let paths = messages.filter(|message| message["target"]["name"] == "gpu");
        let path = paths.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next();
        path.unwrap_or_else(|| panic!("no bench: {}", String::from_utf8_lossy(&output.stderr)))
    })
}

/// Starts a quick run into `out`, on the first adapter.
fn start(out: &Path, more: &[&str]) -> Child {
    let adapters = Device::adapters();
    let adapter = adapters.first().expect("an adapter: ./test installs one");
    let mut command = Command::new(bench());
    command.args([
        "measure",
        "--quick",
        "--seconds",
        &SECONDS.to_string(),
        "--jem",
        env!("CARGO_BIN_EXE_jem"),
    ]);
    command.args(["--device", &format!("gpu:{}", adapter.name), "--out"]).arg(out).args(more);
    command.stdout(Stdio::null()).spawn().expect("the bench starts")
}

/// Waits for the end of `child`, at most `seconds`.
fn end(mut child: Child, seconds: u64) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return status.code();
        }
        if began.elapsed() > Duration::from_secs(seconds) {
            child.kill().expect("it can be killed");
            panic!("it has not ended after {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The lines in `out`, every step once and in order.
fn lines(out: &Path) -> Vec<Value> {
    let lines = journal::read(out).expect("lines of JSON");
    let names: Vec<&str> = lines.iter().skip(1).map(|line| line["step"].as_str().expect("a name")).collect();
    let planned: Vec<&str> = steps(true, SECONDS as f64).iter().map(|step| step.name).collect();
    assert_eq!(names, planned);
    lines
}

fn of<'a>(lines: &'a [Value], step: &str) -> &'a Value {
    lines.iter().find(|line| line["step"] == step).expect("a line of it")
}

/// Asserts that `out` holds at most eight files, all small, and nothing else.
fn small(out: &Path) {
    let entries: Vec<_> = out.read_dir().unwrap().map(Result::unwrap).collect();
    let names: BTreeSet<String> =
        entries.iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.len() <= 8, "{names:?}");
    for entry in &entries {
        let metadata = entry.metadata().unwrap();
        assert!(
            metadata.is_file() && metadata.len() < 4 << 20,
            "{:?}: {} bytes",
            entry.path(),
            metadata.len()
        );
    }
    for file in ["results.jsonl", "summary.md", "logs.tar.gz"] {
        assert!(names.contains(file), "{file} is not among {names:?}");
    }
}

#[test]
fn a_run_survives_steps_that_crash_hang_and_flood() {
    bench();
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let (out, scratch) = (folder.path().join("out"), folder.path().join("scratch"));
    let began = Instant::now();
    let sabotage = "gate-patched=crash,launch=hang,registers=flood";
    let child = start(&out, &["--sabotage", sabotage, "--scratch", scratch.to_str().unwrap()]);
    assert_eq!(end(child, SECONDS + 20), Some(0));
    let time = began.elapsed().as_secs_f64();
    assert!(time < SECONDS as f64 + 8.0, "{time} s");

    let lines = lines(&out);
    let gate = of(&lines, "gate-patched");
    assert_eq!((&gate["status"], &gate["signal"]), (&"died".into(), &11.into()), "{gate}");
    assert_eq!(gate["last_words"][0], "this process was told to crash");
    for step in ["launch", "registers"] {
        let line = of(&lines, step);
        assert_eq!((&line["status"], &line["signal"]), (&"timed out".into(), &9.into()), "{line}");
        assert!(line["seconds"].as_f64() >= line["limit"].as_f64(), "{line}");
    }
    let words = of(&lines, "launch")["last_words"][1].as_str().unwrap();
    gone(words.strip_prefix("with ").expect("the process that it started"));
    // Nothing else failed. On a busy machine a step may not have completed.
    for step in ["host", "devices"] {
        assert_eq!(of(&lines, step)["status"], "ok", "{}", of(&lines, step));
    }
    for line in lines.iter().filter(|line| !sabotage.contains(line["step"].as_str().unwrap())) {
        let status = line["status"].as_str().unwrap();
        assert!(["ok", "timed out", "skipped"].contains(&status), "{line}");
    }

    let page = std::fs::read_to_string(out.join(summary::FILE)).unwrap();
    let parts =
        ["**gate-patched** was killed by SIGSEGV", "**launch** was killed at its limit", "**registers** was"];
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
    assert_eq!(page, summary::page(&lines), "the page is of the lines alone");
    small(&out);
    assert!(!scratch.exists(), "{scratch:?} is left behind");
}

/// Waits for the line of a hanging step in the log `name` of the run in `scratch`, and returns the process that the
/// step started.
fn said(scratch: &Path, name: &str, began: Instant) -> String {
    loop {
        let runs = scratch.read_dir().into_iter().flatten().flatten();
        let logs = runs.map(|run| run.path().join("logs").join(name));
        let texts = logs.filter_map(|log| std::fs::read_to_string(log).ok());
        let lines = texts.filter_map(|text| Some(text.split_once("with ")?.1.split_once('\n')?.0.to_owned()));
        if let Some(id) = lines.into_iter().next() {
            return id;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no step hangs yet");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The parent of the process `id`.
#[cfg(target_os = "linux")]
fn parent(id: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    text.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn a_step_ends_with_a_run_that_is_killed() {
    bench();
    let folder = tempfile::tempdir().unwrap();
    let (out, scratch) = (folder.path().join("out"), folder.path().join("scratch"));
    let mut child = start(&out, &["--sabotage", "host=hang", "--scratch", scratch.to_str().unwrap()]);
    let started = said(&scratch, "01-host.log", Instant::now());
    let step = parent(&started);
    child.kill().unwrap();
    child.wait().unwrap();
    gone(&step);
    // A process that the step started in its own group is not ended by this run.
    Command::new("kill").arg(&started).status().unwrap();
}

#[cfg(unix)]
#[test]
fn a_run_that_is_ended_leaves_a_summary() {
    bench();
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let (out, scratch) = (folder.path().join("out"), folder.path().join("scratch"));
    let child = start(&out, &["--sabotage", "selftest-f32=hang", "--scratch", scratch.to_str().unwrap()]);
    let began = Instant::now();
    said(&scratch, "05-selftest-f32.log", began);
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(end(child, 20), Some(130));
    let lines = lines(&out);
    let stopped: Vec<&Value> = lines.iter().filter(|line| line["status"] == "stopped").collect();
    assert_eq!((stopped.len(), stopped[0]["step"].as_str()), (1, Some("selftest-f32")));
    assert_eq!(of(&lines, "clocks")["reason"], "the run was stopped");
    let page = std::fs::read_to_string(out.join(summary::FILE)).unwrap();
    assert!(page.contains("**selftest-f32** was stopped with the run"), "{page}");
    assert!(page.contains(": the run was stopped."), "{page}");
    small(&out);
}
