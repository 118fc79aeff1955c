//! Runs the gate in a child process: a copy of this program, which [`serve`] turns into the test of one variant.

use super::child;
use super::gate::{self, Answer};
use crate::compute::cooperative::Cooperative;
use crate::device::{AdapterInfo, AdapterKind, CooperativeChoice, Device, DeviceOptions, DeviceSpec};
use crate::interrupt;
use crate::user::variable;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The environment variable that makes [`serve`] run the gate.
const REQUEST: &str = "JEM_GATE_REQUEST";

/// The beginning of the line with the answer.
const ANSWER: &str = "answer ";

/// The beginning of the line with the reason why there is no answer. Every other line says what is being tried.
const UNKNOWN: &str = "unknown ";

/// A child that prints nothing for this long is taken to hang. On a GPU a kernel's repeats take far less, and so does
/// compiling it; software adapters do both on a processor that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_OF_SOFTWARE: Duration = Duration::from_secs(300);

/// The environment variable that replaces this time, in seconds.
const PATIENCE_VARIABLE: &str = "JEM_GATE_PATIENCE";

/// Whether this program calls [`serve`].
static SERVES: AtomicBool = AtomicBool::new(false);

/// A question to a child.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// [`AdapterInfo::name`] and [`AdapterInfo::title`].
    name: String,
    title: String,
    matrices: Cooperative,
}

/// Lets this program test a driver in a child process. Call it first in `main`, before any thread is started.
///
/// Cooperative matrices are tried in a copy of the running program, because drivers have crashed on them. In such a
/// copy this function runs the test, prints its result and ends the process; otherwise it returns at once. A program
/// that does not call it never uses cooperative matrices.
///
/// If `XDG_RUNTIME_DIR` is not set, as in containers, this sets it to a directory that does not exist: Mesa's Vulkan
/// layers look for a display there and otherwise complain once for each adapter.
pub fn serve() {
    const RUNTIME: &str = "XDG_RUNTIME_DIR";
    SERVES.store(true, Ordering::Relaxed);
    if cfg!(target_os = "linux") && std::env::var_os(RUNTIME).is_none() {
        // SAFETY: the caller has started no thread yet that could read the environment.
        unsafe { std::env::set_var(RUNTIME, "/nonexistent") };
    }
    let Some(request) = std::env::var_os(REQUEST) else { return };
    child::end_with_parent();
    let answer = match serde_json::from_str(&request.to_string_lossy()) {
        Ok(request) => answer(&request),
        Err(error) => Err(format!("{REQUEST}: {error}")),
    };
    match answer {
        Ok(answer) => {
            let json = serde_json::to_string(&answer).expect("an answer is plain data");
            say(&format!("{ANSWER}{json}"));
        }
        Err(why) => say(&format!("{UNKNOWN}{}", why.replace('\n', " "))),
    }
    std::process::exit(0);
}

/// Whether this program has called [`serve`].
pub(super) fn serves() -> bool {
    SERVES.load(Ordering::Relaxed)
}

/// Prints a line for the parent. If the parent is gone, the line is lost.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Runs the gate.
///
/// # Errors
/// Why it could not be run, which says nothing about the matrices.
fn answer(request: &Request) -> Result<Answer, String> {
    let choice = CooperativeChoice::Only(request.matrices.variant);
    let options = DeviceOptions { cooperative: Some(choice), ..DeviceOptions::default() };
    let device = Device::open(&DeviceSpec::GpuNamed(request.name.clone()), options);
    let device = device.map_err(|error| error.to_string())?;
    if device.name() != request.title {
        return Err(format!("the test opened {} instead of {}", device.name(), request.title));
    }
    if !device.cooperative().contains(&request.matrices) {
        return Err(format!("{} offers no {}", request.title, request.matrices));
    }
    gate::attempt(&device, request.matrices, say)
}

/// The path of this program. If the system does not know it, as without /proc, the path that started the program.
fn own_path() -> std::io::Result<PathBuf> {
    std::env::current_exe().or_else(|error| {
        let started = std::env::args_os().next().map(PathBuf::from);
        started.filter(|path| path.components().count() > 1 && path.is_file()).ok_or(error)
    })
}

/// Tries `matrices` on `adapter` in a child process.
pub(super) fn ask(adapter: &AdapterInfo, matrices: Cooperative) -> Asked {
    if !serves() {
        let why = "not tried, because this program does not call jem::self_test::serve first in main";
        return Asked::unknown(why.into());
    }
    let request = Request { name: adapter.name.clone(), title: adapter.title(), matrices };
    let request = serde_json::to_string(&request).expect("a request is plain data");
    let program = match own_path() {
        Ok(program) => program,
        Err(error) => return Asked::unknown(format!("the path of this program is unknown: {error}")),
    };
    let mut command = Command::new(&program);
    command.env(REQUEST, request);
    let patience = match variable(PATIENCE_VARIABLE).map(|seconds| parse_patience(&seconds)) {
        Some(Ok(patience)) => patience,
        Some(Err(message)) => return Asked::unknown(message),
        None => patience_with(adapter),
    };
    let (mut answer, mut trying) = (None, None);
    let ended = child::run(command, patience, interrupt::is_requested, |line| match read_answer(line) {
        None => trying = Some(line.to_owned()),
        read => answer = read,
    });
    match (ended, answer) {
        (Ok(_), Some(Ok(answer))) => Asked { answer, lasting: true },
        (Ok(_), Some(Err(why))) => Asked::unknown(why),
        (Ok(ended), None) => {
            let place = trying.map_or(String::new(), |what| format!(" at {what}"));
            let impatient = ended.silent && patience < patience_with(adapter);
            let lasting = !ended.was_stopped() && !impatient;
            Asked { answer: Answer::refusal(format!("the driver's test {ended}{place}")), lasting }
        }
        (Err(error), _) => Asked::unknown(format!("{}: {error}", program.display())),
    }
}

/// The answer in a child's line, or why there is none; `None` for a line that says what is being tried.
fn read_answer(line: &str) -> Option<Result<Answer, String>> {
    if let Some(why) = line.strip_prefix(UNKNOWN) {
        return Some(Err(why.to_owned()));
    }
    let answer = serde_json::from_str(line.strip_prefix(ANSWER)?);
    Some(answer.map_err(|error| format!("the test's answer cannot be read: {error}")))
}

fn patience_with(adapter: &AdapterInfo) -> Duration {
    if adapter.kind == AdapterKind::Software { PATIENCE_OF_SOFTWARE } else { PATIENCE }
}

fn parse_patience(seconds: &OsStr) -> Result<Duration, String> {
    let parsed = seconds.to_str().and_then(|seconds| seconds.parse().ok());
    match parsed {
        Some(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "{PATIENCE_VARIABLE}: expected a whole number of seconds, at least 1, got {}",
            seconds.display()
        )),
    }
}

/// An answer, and whether it is worth storing.
pub(super) struct Asked {
    pub answer: Answer,
    /// Whether the answer depends only on the driver and the shaders, and will be the same the next time.
    pub lasting: bool,
}

impl Asked {
    fn unknown(why: String) -> Self {
        Self { answer: Answer::refusal(why), lasting: false }
    }
}
