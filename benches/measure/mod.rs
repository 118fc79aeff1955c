//! `jem-bench measure`: tests and measures a device within a fixed time. It runs a plan of steps, the most important
//! first, each in a process of its own with a time limit of its own.
//!
//! Nothing here touches a device: a driver that crashes or hangs costs only the step that it happens in. After each
//! step a line is appended to `results.jsonl` and synced, and the summary is rewritten.

pub mod check;
pub mod child;
pub mod clocks;
pub mod environment;
pub mod figures;
pub mod host;
pub mod images;
pub mod journal;
pub mod log;
pub mod orders;
pub mod orphans;
pub mod pack;
pub mod plan;
pub mod pretend;
pub mod report;
pub mod results;
pub mod runner;
pub mod scratch;
pub mod sections;
pub mod share;
pub mod state;
pub mod summary;
pub mod words;

use jem::device::DeviceSpec;
use pretend::{Pretence, Sabotage};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The flags of `measure` alone.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The executable of jem [default: the one beside this executable]
    #[arg(long, value_name = "EXECUTABLE")]
    pub jem: Option<PathBuf>,
    /// A Python; if it has torch, PyTorch is timed
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    pub python: PathBuf,
    /// Images to train on: a folder, or the name of a set
    #[arg(long, value_name = "DATA", default_value = "synthetic")]
    pub data: String,
    /// Folder in which the run makes one for logs and caches, which it removes at the end [default: the first of
    /// $TMPDIR, /tmp, /var/tmp and OUT that can be written]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Instead of measuring, write a page for bench-results from the results in this folder
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Folder for the page of --report
    #[arg(long, value_name = "DIR", default_value = "bench-results", requires = "report")]
    pub to: PathBuf,
    /// Write this many of CIFAR-10's images for training, and a fifth of that for testing, as a folder of PNG files
    #[arg(long, hide = true, value_name = "N", requires = "cifar")]
    pub images: Option<usize>,
    /// Directory of CIFAR-10's official files, for --images
    #[arg(long, hide = true, value_name = "DIR")]
    pub cifar: Option<PathBuf>,
    /// Check the arguments, and measure nothing
    #[arg(long, hide = true, conflicts_with_all = ["report", "images", "host"])]
    pub check: bool,
    /// For `run`: its folder of links, jem-measure.NUMBER, which is removed at the end
    #[arg(long, hide = true, value_name = "DIR")]
    pub links: Option<PathBuf>,
    /// Print facts about the machine
    #[arg(long, hide = true)]
    pub host: bool,
    /// For tests: steps that crash, hang or print without end instead, as STEP=crash|hang|flood
    #[arg(long, hide = true, value_delimiter = ',')]
    pub sabotage: Vec<Sabotage>,
    /// For tests: crash, hang or print without end
    #[arg(long, hide = true)]
    pub pretend: Option<Pretence>,
}

/// Settings from the bench's other flags and its build.
#[derive(Debug, Clone)]
pub struct Common {
    /// The folder of results.
    pub out: Option<PathBuf>,
    /// Seconds for everything, the summary included.
    pub seconds: f64,
    /// Small shapes, little time.
    pub quick: bool,
    /// The device.
    pub device: DeviceSpec,
    /// The commit of the executable.
    pub commit: String,
    /// Today, in UTC.
    pub date: String,
}

/// Does what the arguments ask for.
pub fn main(arguments: &Arguments, common: &Common) -> ExitCode {
    if let Some(pretence) = arguments.pretend {
        pretence.begin();
    }
    let done = if arguments.host {
        print(&host::facts(&common.commit, &common.date).to_string());
        Ok(())
    } else if let Some(out) = &arguments.report {
        report::write(out, &arguments.to).map(|path| print(&path.display().to_string()))
    } else {
        match (&common.out, arguments.images, &arguments.cifar) {
            (None, ..) => Err("--out: name a folder for the results".to_owned()),
            (Some(out), Some(n), Some(cifar)) => images::write(cifar, out, n),
            (Some(out), ..) if arguments.check => {
                jem_of(arguments).and_then(|jem| check::check(arguments, common, out, &jem))
            }
            (Some(out), ..) => return runner::run(arguments, common, out),
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. A full or closed output is no reason to panic.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The executable of jem, by the arguments.
fn jem_of(arguments: &Arguments) -> Result<PathBuf, String> {
    match &arguments.jem {
        Some(jem) => Ok(environment::here(jem)),
        None => own().map(|bench| environment::here(jem_beside(&bench))),
    }
}

/// This executable.
fn own() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("the path of this executable: {error}"))
}

/// The executable of jem beside that of the bench, or where cargo puts it.
fn jem_beside(bench: &Path) -> PathBuf {
    let name = format!("jem{}", std::env::consts::EXE_SUFFIX);
    let beside = bench.with_file_name(&name);
    let above = bench.parent().and_then(Path::parent).map(|folder| folder.join(&name));
    above.filter(|above| !beside.is_file() && above.is_file()).unwrap_or(beside)
}
