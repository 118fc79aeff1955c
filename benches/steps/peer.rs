//! The other side: a process that runs one step of the same network for each line it is sent. PyTorch's is
//! `benches/peers/time_pytorch.py`, burn's the executable of `benches/peers/burn`.
//!
//! It begins with a line of JSON that says what it is: `title`, `parameters`, `convolution_flops` of an SGLD step,
//! `modes`, `steps`, and modes that were `skipped`, with a reason. It is then asked for `MODE STEP` and answers
//! `{"milliseconds": 12.3}`, or `{"skipped": "the reason"}` if this mode turns out not to work.

use crate::options::Arguments;
use jem::device::{AdapterKind, Device};
use jem::ebm::Recipe;
use serde::Deserialize;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The time for which a side's threads may busy-wait after a step; the other side's turn begins after it.
const PAUSE: Duration = Duration::from_millis(30);

/// The process. It ends when its input does.
pub struct Peer {
    /// Its name in reports.
    pub name: &'static str,
    /// Its description of itself.
    pub about: About,
    /// The reason that it can no longer be timed.
    failure: Option<String>,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The first line that it prints.
#[derive(Debug, Deserialize)]
pub struct About {
    /// Version and device.
    pub title: String,
    /// Elements of all parameters.
    pub parameters: u64,
    /// Operations of all convolutions of an SGLD step, forward and input gradient; a multiply-add counts 2.
    pub convolution_flops: u64,
    /// The modes in which it runs a step.
    pub modes: Vec<String>,
    /// The steps that it has: `sgld`, `update`, `iteration`.
    pub steps: Vec<String>,
    /// Modes that it does not have here.
    pub skipped: Vec<Skipped>,
}

/// A mode that does not work, and why.
#[derive(Debug, Deserialize)]
pub struct Skipped {
    /// The mode.
    pub mode: String,
    /// Why.
    pub reason: String,
}

/// Its answer about one step.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Milliseconds(f64),
    Skipped(String),
}

/// The part of a recipe that a peer is started with. Recipes with equal tasks share their peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    depth: usize,
    width: usize,
    batch: usize,
    /// SGLD steps of an iteration.
    steps: usize,
}

impl Task {
    /// The task of `recipe`.
    pub fn of(recipe: &Recipe) -> Self {
        Self { depth: recipe.depth, width: recipe.width, batch: recipe.batch, steps: recipe.steps }
    }
}

impl Peer {
    /// Starts the peers that `arguments` ask for, on `task`.
    ///
    /// # Errors
    /// With the flag, if one does not start or ends at once.
    pub fn start(arguments: &Arguments, device: &Device, task: Task) -> io::Result<Vec<Self>> {
        let mut peers = Vec::new();
        if let Some(python) = &arguments.peer {
            let mut command = Command::new(python);
            command.args([
                "-c",
                include_str!("../peers/time_pytorch.py"),
                "--device",
                &arguments.peer_device,
            ]);
            command.args(["--k", &task.steps.to_string()]);
            if !arguments.peer_modes.is_empty() {
                command.args(["--modes", &arguments.peer_modes.join(",")]);
            }
            let hint = "--peer: does this Python have torch?";
            peers.push(Self::spawn("PyTorch", python, command, task, hint)?);
        }
        if let Some(executable) = &arguments.burn {
            let kind = match device.adapter().map(|adapter| adapter.kind) {
                Some(AdapterKind::Discrete) => "discrete",
                Some(AdapterKind::Integrated) => "integrated",
                Some(AdapterKind::Virtual) => "virtual",
                Some(AdapterKind::Software) => "cpu",
                Some(AdapterKind::Other) | None => "best",
            };
            let mut command = Command::new(executable);
            command.args(["--device", kind]);
            let hint =
                "--burn: is this the executable that `cargo build --release` makes in benches/peers/burn?";
            peers.push(Self::spawn("burn", executable, command, task, hint)?);
        }
        Ok(peers)
    }

    fn spawn(
        name: &'static str,
        program: &Path,
        mut command: Command,
        task: Task,
        hint: &str,
    ) -> io::Result<Self> {
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error} ({hint})", program.display()))
        };
        let mut child = command
            .arg("--serve")
            .args(["--depth", &task.depth.to_string()])
            .args(["--width", &task.width.to_string()])
            .args(["--batch", &task.batch.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let requests = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("a piped output"));
        let about = answer(&mut answers).map_err(told)?;
        Ok(Self { name, about, failure: None, child, requests, answers })
    }

    /// The time of a step in `mode`, as the peer measures it.
    ///
    /// # Errors
    /// The reason that this mode does not work. Once the process has ended or sent an unexpected answer, every mode
    /// returns that as its reason, and so does [`Self::failed`].
    pub fn time(&mut self, mode: &str, step: &str) -> Result<Duration, String> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        std::thread::sleep(PAUSE);
        let requests = self.requests.as_mut().expect("open until it is dropped");
        let asked = writeln!(requests, "{mode} {step}").and_then(|()| requests.flush());
        let answered = asked.and_then(|()| answer(&mut self.answers));
        std::thread::sleep(PAUSE);
        match answered {
            Ok(Answer::Milliseconds(time)) => Ok(Duration::from_secs_f64(time / 1e3)),
            Ok(Answer::Skipped(reason)) => Err(reason),
            Err(error) => {
                let failure = format!("{mode} {step}: {error}");
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// The peer's name, mode, step and error if it ended or sent an unexpected answer; `None` if it still works.
    pub fn failed(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| format!("{} {failure}", self.name))
    }
}

/// The next line of a peer.
fn answer<T: for<'a> Deserialize<'a>>(answers: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    match answers.read_line(&mut line)? {
        0 => Err(io::Error::other("the process ended; its messages are above")),
        _ => serde_json::from_str(&line)
            .map_err(|error| io::Error::other(format!("it answered {:?}: {error}", line.trim()))),
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.requests.take());
        // Its time no longer matters, nor does its exit status.
        let _ = self.child.wait();
    }
}
