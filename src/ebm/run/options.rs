//! The options of a run, and its outcome.

use crate::data::training::DataSource;
use crate::device::Device;
use crate::ebm::{Evaluation, FreshGap, Metrics, Start, Trainer};
use crate::error::Result;
use crate::nn::network::Network;
use crate::report::progress::Progress;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Called with the trainer before each iteration.
pub type Visit<'a> = &'a mut dyn FnMut(&mut Trainer) -> Result<()>;

/// The options of a run besides its recipe and data.
pub struct RunOptions<'a> {
    /// The run directory.
    pub out: PathBuf,
    /// Whether to resume from the newest checkpoint in `out`.
    pub resume: bool,
    /// The network; `None`: that of [`RunOptions::start`], else the recipe's own.
    pub network: Option<Arc<dyn Network>>,
    /// The trained model that a new run starts from; `None`: initial weights. A resumed run does not read its weights.
    pub start: Option<&'a Start>,
    /// The source of the data, which the run directory records.
    pub source: Option<&'a DataSource>,
    /// Receives the progress, such as `report::terminal::Terminal`; `None`: [`crate::report::progress::Silent`].
    pub progress: Option<Box<dyn Progress + 'a>>,
    /// Set (by Ctrl-C) to end the run with a checkpoint, within seconds. An evaluation in progress is discarded, and so
    /// is an iteration unless its optimizer step has begun. A resumed run begins either of them again.
    pub stop: &'a AtomicBool,
    /// Reopens a device that was lost, for example to a driver reset; `None`: a loss ends the run.
    pub reopen: Option<&'a dyn Fn() -> Result<Device>>,
    /// Called with the trainer before each iteration, for example for a schedule or to inspect the weights.
    pub visit: Option<Visit<'a>>,
}

impl std::fmt::Debug for RunOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { out, resume, network, source, .. } = self;
        f.debug_struct("RunOptions")
            .field("out", out)
            .field("resume", resume)
            .field("network", network)
            .field("source", source)
            .finish_non_exhaustive()
    }
}

/// A stop flag that is never set.
static NEVER: AtomicBool = AtomicBool::new(false);

impl RunOptions<'_> {
    /// A new run in the directory `out`: with the recipe's own network, without progress output, until its end.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            out: out.into(),
            resume: false,
            network: None,
            start: None,
            source: None,
            progress: None,
            stop: &NEVER,
            reopen: None,
            visit: None,
        }
    }
}

/// The results of a run, and the paths of its files.
#[derive(Debug)]
pub struct Outcome {
    /// Iterations done.
    pub iterations: u64,
    /// Whether the run was stopped before its last iteration.
    pub interrupted: bool,
    /// Faults that were healed.
    pub trips: u32,
    /// The last row of metrics.
    pub last: Option<Metrics>,
    /// The best model's figures on the held-out images.
    pub validation: Option<Evaluation>,
    /// The best model's figures on the test images; `None` if interrupted.
    pub test: Option<Evaluation>,
    /// The figures on the test images of the model that the run started from; `None` without one, if its last
    /// layer began at random, or if interrupted.
    pub start: Option<Evaluation>,
    /// The last evaluation with fresh chains of 100 × K steps, or of 10 × K steps if none had longer ones; `None`
    /// without either.
    pub fresh: Option<FreshGap>,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The best model; `None` if the run was interrupted before the first evaluation.
    pub best: Option<PathBuf>,
    /// The last sample grid; `None` without sampling.
    pub samples: Option<PathBuf>,
    /// The curves.
    pub curves: PathBuf,
    /// The report: a page with all figures and pictures.
    pub report: PathBuf,
}
