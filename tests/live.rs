//! The live view on a pseudo-terminal, which `script` of util-linux provides.
#![cfg(target_os = "linux")]

#[path = "common/run_files.rs"]
mod run_files;
#[path = "common/train_cifar.rs"]
mod train_cifar;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A run in a terminal of 80x24 characters after the shell command `before`.
struct Run {
    script: Child,
    out: PathBuf,
    _directory: tempfile::TempDir,
}

impl Run {
    fn new(before: &str, steps: &str, iterations: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().join("run");
        let mut run: Command = train_cifar::train_cifar_on("cpu");
        run.args(["--synthetic", "--preset", "tiny", "--batch", "4", "--buffer", "40", "--live"]);
        run.args(["--validation", "200", "--evaluate-every", "4", "--checkpoint-every", "1000000"]);
        run.args(["--steps", steps, "--iterations", iterations, "--out"]).arg(&out);
        let words = std::iter::once(run.get_program()).chain(run.get_args());
        let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
        let line = format!("stty rows 24 cols 80; {before}; exec {}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
        Self { script, out, _directory: directory }
    }

    /// Waits until a file of the run satisfies `ready`.
    fn wait(&self, file: &str, ready: impl Fn(&str) -> bool) {
        for _ in 0..1200 {
            if std::fs::read_to_string(self.out.join(file)).is_ok_and(|text| ready(&text)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{file} does not become ready");
    }

    fn interrupt(&mut self) {
        self.script.stdin.as_mut().expect("piped").write_all(b"\x03").expect("the terminal takes it");
    }

    /// The exit code, and the output to the terminal while the view was shown and afterwards.
    fn end(self) -> (Option<i32>, String, String) {
        let output = self.script.wait_with_output().expect("script ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((text.matches(ENTER).count(), text.matches(LEAVE).count()), (1, 1), "{text:?}");
        let (_, rest) = text.split_once(ENTER).expect("it is entered");
        let (view, after) = rest.split_once(LEAVE).expect("it is left");
        // The view must not query the terminal, because the shell would read the answer.
        assert!(!text.contains("\x1b[6n") && !text.contains("\x1b[?25l"), "{text:?}");
        (output.status.code(), view.to_owned(), after.to_owned())
    }
}

fn rows(text: &str) -> usize {
    text.lines().count().saturating_sub(1)
}

#[test]
fn a_run_draws_curves_and_leaves_the_terminal_as_it_was() {
    let (code, view, after) = Run::new("true", "2", "8").end();
    assert_eq!(code, Some(0), "{after}");
    assert!(view.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{view:?}");
    for part in ["energy gap", "accuracy", "loss", "0/8"] {
        assert!(view.contains(part), "{part:?} is not in {view:?}");
    }
    for part in ["8/8  loss ", "  took ", "test accuracy (SYNTHETIC data)"] {
        assert!(after.contains(part), "{part:?} is not in {after:?}");
    }
}

#[test]
fn the_view_takes_the_size_of_the_terminal() {
    // The cursor rests on the last row.
    let rest = |rows: u16| format!("\x1b[{rows};1H");
    let mut run = Run::new("(sleep 3; stty rows 40 cols 120 </dev/tty) & true", "2", "100000");
    std::thread::sleep(Duration::from_secs(5));
    run.wait("metrics.csv", |text| rows(text) > 2);
    run.interrupt();
    let (code, view, after) = run.end();
    assert_eq!(code, Some(130), "{after}");
    assert!(view.contains(&rest(24)) && view.contains(&rest(40)), "{view:?}");
    assert!(after.contains("stopped at iteration") && after.contains("--resume"), "{after:?}");
}

#[test]
fn a_second_interrupt_leaves_the_terminal_as_it_was() {
    // An iteration that does not end. The shell writes its process ID, which the run keeps.
    let folder = tempfile::tempdir().expect("a directory");
    let number = folder.path().join("pid");
    let run = Run::new(&format!("echo $$ > '{}'", number.display()), "1000000000", "8");
    run.wait("events.jsonl", |text| text.contains("\"start\""));
    std::thread::sleep(Duration::from_secs(3));
    // One shell sends both signals, so that the second arrives before the first has ended the run.
    let number = std::fs::read_to_string(number).expect("a number");
    let kill = format!("kill -INT {0} && kill -TERM {0}", number.trim());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    let (code, view, after) = run.end();
    // ratatui skips the cells between words.
    for part in ["SGLD", "/1000000000", "–", "left"] {
        assert!(view.contains(part), "{part:?} is not in {view:?}");
    }
    assert_eq!(code, Some(130), "{after:?}");
    assert!(view.contains("Ctrl-C again stops at once"), "{view:?}");
}

#[test]
fn an_interrupt_ends_an_iteration_that_does_not_end_by_itself() {
    let mut run = Run::new("true", "1000000000", "8");
    run.wait("events.jsonl", |text| text.contains("\"start\""));
    std::thread::sleep(Duration::from_secs(3));
    run.interrupt();
    let (code, view, after) = run.end();
    assert_eq!(code, Some(130), "{after}");
    assert!(view.contains("SGLD"), "{view:?}");
    assert!(after.contains("stopped at iteration 0; resume with"), "{after:?}");
}

#[test]
fn a_run_outlives_a_terminal_that_is_closed() {
    let mut run = Run::new("trap '' HUP", "2", "60");
    run.wait("metrics.csv", |text| rows(text) > 2);
    run.script.kill().and_then(|()| run.script.wait()).expect("script can be ended");
    run.wait("events.jsonl", |text| text.contains("\"end\""));
    assert!(Path::new(&run.out).join("best.safetensors").exists());
    assert_eq!(run_files::checkpoints(&run.out).last().map(|(done, _)| *done), Some(60));
}
