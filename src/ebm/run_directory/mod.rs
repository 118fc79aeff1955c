//! The run directory is the record of a run.
//!
//! | file | what |
//! |---|---|
//! | `config.toml` | every setting, and the source of the data |
//! | `metrics.csv` | a row per iteration |
//! | `events.jsonl` | starts, evaluations, checkpoints, faults, the end: one JSON object per line |
//! | `tensorboard/` | the same metrics and the sample grids, for TensorBoard |
//! | `samples/` | a PNG grid of the chains at intervals |
//! | `curves.png`, `health.png` | losses, energies, accuracies; gradients and chains |
//! | `report.html` | a self-contained page with all figures and pictures: written at the end, and by `jem report` |
//! | `checkpoints/` | the last checkpoints; earlier best models that they name; snapshots, after an interruption |
//! | `best.safetensors` | the best model on the held-out images, with the chains of its iteration once log p(x) joins |
//!
//! A process may be killed at any moment: a file is complete or absent, or is a log that ends with a complete or
//! partial record; a resumed run removes a partial one. Each checkpoint names the best model at its time, so that a run
//! that resumes from it chooses as the uninterrupted one does. A full disk does not end a run: each failed write is
//! reported once and retried.

mod best;
mod checkpoints;
mod recovery;
mod report;

use super::{Evaluation, FreshEnergies, Metrics, NetworkRecord};
use crate::data::training::DataSource;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::io::checkpoint::Checkpoint;
use crate::io::events::EventWriter;
use crate::io::journal::Journal;
use crate::io::png::{self, Picture};
use crate::report::curves;
use crate::report::metrics::{MetricsLog, MetricsTable};
pub use best::Best;
pub use recovery::Recovered;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The columns of `metrics.csv`.
const COLUMNS: [&str; 21] = [
    "iteration",
    "seconds",
    "images_per_second",
    "learning_rate",
    "loss",
    "energy_data",
    "energy_samples",
    "energy_gap",
    "cross_entropy",
    "accuracy",
    "gradient_norm",
    "input_gradient_norm",
    "displacement",
    "saturated",
    "chain_age",
    "validation_accuracy",
    "validation_cross_entropy",
    "validation_energy",
    "fresh_energy_k",
    "fresh_energy_10k",
    "fresh_energy_100k",
];

/// The settings file.
const CONFIG: &str = "config.toml";
/// The file that a process locks while it writes into the directory.
const LOCK: &str = ".lock";
/// The comment in the settings file with the source of the data, as JSON.
const SOURCE: &str = "# data source: ";
/// The comment in the settings file with the network, as JSON, of a run whose recipe does not describe it.
const NETWORK: &str = "# network of the run: ";
/// The prefix of checkpoint files.
const CHECKPOINT: &str = "checkpoint";
/// The prefix of snapshot files, which a run that is interrupted between two checkpoints leaves beside them.
const SNAPSHOT: &str = "snapshot";
/// The prefix of earlier best models, beside the checkpoints that name them.
const BEST: &str = "best";
/// The metadata of a checkpoint with the best model so far, empty before the first evaluation.
const BEST_SO_FAR: &str = "best";
/// The metadata of a best model with its scores on the held-out images.
const VALIDATION: &str = "validation";
/// The metadata of a checkpoint that was written before the evaluation of its iteration: the row of metrics that lacks
/// the evaluation.
pub(super) const UNSCORED: &str = "unscored";
/// The name of `best.safetensors` in messages.
const BEST_MODEL: &str = "best model";

/// The files of one run.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// Held while this process writes here.
    _lock: File,
    metrics: MetricsLog,
    events: Journal,
    /// Created with the first record.
    tensorboard: Option<EventWriter>,
    best: Option<Best>,
    /// The iteration of the model in `best.safetensors`.
    best_on_disk: Option<u64>,
    /// The best model, if the disk refused it.
    unsaved: Option<Checkpoint>,
    /// The side to which the pictures of the data are scaled; `None` if they are not.
    picture_size: Option<usize>,
    /// The files that could not be written since the last checkpoint; each is reported once.
    failing: BTreeSet<&'static str>,
    warnings: Vec<String>,
}

/// The time stamp of a row of metrics, and the speed so far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Seconds that the run has taken, in all its sessions.
    pub seconds: f64,
    /// Training images per second, at `batch` an iteration. Evaluations, pictures and checkpoints do not count.
    pub images_per_second: f64,
}

/// The scores of a run's models on the test images.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Tested {
    /// The scores of the best model; `None` if the run was interrupted.
    pub test: Option<Evaluation>,
    /// The scores of the model that the run started from; `None` without one, if its last layer began at random, or if
    /// the run was interrupted.
    pub start: Option<Evaluation>,
}

/// The JSON behind `prefix` in a line of the settings file `config`.
fn recorded<T: serde::de::DeserializeOwned>(config: &Path, prefix: &str) -> Result<Option<T>> {
    let text = std::fs::read_to_string(config).map_err(Error::io(config))?;
    let Some(line) = text.lines().find_map(|line| line.strip_prefix(prefix)) else { return Ok(None) };
    let wrong = |error| Error::file(config, format!("{prefix}{line}: {error}"));
    serde_json::from_str(line).map(Some).map_err(wrong)
}

impl RunDirectory {
    /// Creates the directory and its files, or continues after the state in `recovered`. Without `config` the settings
    /// file is not changed.
    ///
    /// # Errors
    /// [`Error::File`] if the directory holds another run; [`Error::Io`] if it cannot be written.
    pub fn open(path: &Path, config: Option<&str>, recovered: Option<&Recovered>) -> Result<Self> {
        let config_path = path.join(CONFIG);
        if recovered.is_none() {
            Self::check_free(path)?;
        }
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        let lock = lock(path)?;
        for directory in [path.to_owned(), path.join("samples"), path.join("checkpoints")] {
            std::fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
            let parent = atomic::directory_of(&directory);
            atomic::sync_directory(parent).map_err(Error::io(parent))?;
            atomic::remove_temporary(&directory)?;
        }
        if let Some(config) = config {
            atomic::write(&config_path, |file| file.write_all(config.as_bytes()))?;
        }
        let rows = recovered.map_or(0, Recovered::rows);
        let metrics_path = path.join("metrics.csv");
        let metrics = match rows.checked_sub(1) {
            Some(last) => MetricsLog::resume(&metrics_path, &COLUMNS, last)?,
            None => MetricsLog::create(&metrics_path, &COLUMNS)?,
        };
        let mut directory = Self {
            metrics,
            events: Journal::lines(&path.join("events.jsonl"))?,
            tensorboard: None,
            path: path.to_owned(),
            _lock: lock,
            best: None,
            best_on_disk: None,
            unsaved: None,
            picture_size: Self::source_in(&config_path)?.and_then(|source| source.read.size),
            failing: BTreeSet::new(),
            warnings: Vec::new(),
        };
        if let Some(recovered) = recovered {
            directory.go_on(recovered)?;
        }
        Ok(directory)
    }

    /// Checks that a new run can start in `path`.
    ///
    /// # Errors
    /// [`Error::File`] if it holds another run.
    pub fn check_free(path: &Path) -> Result<()> {
        if !path.join(CONFIG).exists() {
            return Ok(());
        }
        Err(Error::file(path, "holds another run"))
    }

    /// The settings file of the run in `path`.
    ///
    /// # Errors
    /// [`Error::File`] if there is no run.
    pub fn config(path: &Path) -> Result<PathBuf> {
        let config = path.join(CONFIG);
        if config.exists() {
            return Ok(config);
        }
        Err(Error::file(path, "holds no run: there is no config.toml"))
    }

    /// The line of the settings file with the source of the data.
    pub fn source_line(source: &DataSource) -> String {
        format!("{SOURCE}{}\n", json!(source))
    }

    /// The line of the settings file with the network of a run whose recipe does not describe it.
    pub fn network_line(network: &NetworkRecord) -> String {
        format!("{NETWORK}{}\n", json!(network))
    }

    /// The network that the settings file `config` records; `None` if it is the recipe's own.
    ///
    /// # Errors
    /// [`Error::File`] if the line cannot be read; [`Error::Io`].
    pub fn network_in(config: &Path) -> Result<Option<NetworkRecord>> {
        recorded(config, NETWORK)
    }

    /// The source of the data of the run in `path`; `None` if it was not recorded.
    ///
    /// # Errors
    /// [`Error::File`] if there is no run, or if the line cannot be read; [`Error::Io`].
    pub fn source(path: &Path) -> Result<Option<DataSource>> {
        Self::source_in(&Self::config(path)?)
    }

    /// The source of the data that the settings file `config` records; `None` if it records none.
    ///
    /// # Errors
    /// [`Error::File`] if the line cannot be read; [`Error::Io`].
    pub fn source_in(config: &Path) -> Result<Option<DataSource>> {
        recorded(config, SOURCE)
    }

    /// Rolls back the records to the first `iteration` iterations: removes later rows of metrics and checkpoints, and
    /// restores the best model of `state` (`None`: the initial state).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`].
    pub fn go_back(&mut self, iteration: u64, state: Option<&Checkpoint>) -> Result<()> {
        let path = self.path.join("metrics.csv");
        let metrics = match iteration.checked_sub(1) {
            Some(last) => MetricsLog::resume(&path, &COLUMNS, last),
            None => MetricsLog::create(&path, &COLUMNS),
        };
        if let Some(metrics) = self.attempt("metrics", iteration, metrics) {
            self.metrics = metrics;
        }
        for (number, path) in Self::list_checkpoints(&self.path)? {
            if number > iteration {
                std::fs::remove_file(&path).map_err(Error::io(path))?;
            }
        }
        self.unsaved = None;
        self.choose_best(iteration, state)
    }

    /// The first unused directory of `BASE/NAME-1`, `BASE/NAME-2`, …
    pub fn fresh(base: &Path, name: &str) -> PathBuf {
        let path = |number: u32| base.join(format!("{name}-{number}"));
        (1..).map(path).find(|path| !path.exists()).expect("numbers have no end")
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the warnings for the terminal since the last call.
    pub fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Appends the row of an iteration, with the evaluation and the fresh chains after it.
    pub fn record(
        &mut self,
        metrics: &Metrics,
        clock: Clock,
        evaluation: Option<&Evaluation>,
        fresh: Option<&FreshEnergies>,
    ) {
        let [k, k10, k100] = fresh.map_or([f64::NAN; 3], |fresh| fresh.0);
        let values = [
            metrics.iteration as f64,
            clock.seconds,
            clock.images_per_second,
            metrics.learning_rate,
            metrics.loss,
            metrics.energy_data,
            metrics.energy_samples,
            metrics.energy_gap(),
            metrics.cross_entropy,
            metrics.accuracy,
            metrics.gradient_norm,
            metrics.input_gradient_norm,
            metrics.displacement,
            metrics.saturated,
            metrics.chain_age,
            evaluation.map_or(f64::NAN, |e| e.accuracy),
            evaluation.map_or(f64::NAN, |e| e.cross_entropy),
            evaluation.map_or(f64::NAN, |e| e.energy),
            k,
            k10,
            k100,
        ];
        let present: Vec<Option<f64>> = values.iter().map(|&v| (!v.is_nan()).then_some(v)).collect();
        let result = self.metrics.append(&present);
        self.attempt("metrics", metrics.iteration, result);
        self.scalars(metrics.iteration, COLUMNS.iter().zip(present).skip(1));
    }

    /// Writes named values to the file for TensorBoard.
    fn scalars<'a>(&mut self, iteration: u64, named: impl Iterator<Item = (&'a &'a str, Option<f64>)>) {
        let scalars: Vec<(&str, f32)> = named.filter_map(|(&name, v)| Some((name, v? as f32))).collect();
        let result = self.tensorboard().and_then(|file| file.scalars(iteration, &scalars));
        self.attempt("TensorBoard", iteration, result);
    }

    /// Appends a line to `events.jsonl`.
    pub fn event(&mut self, kind: &str, iteration: u64, details: Value) {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let line =
            json!({"time": time.as_secs_f64(), "event": kind, "iteration": iteration, "details": details});
        self.events.append(format!("{line}\n").as_bytes());
        let result = self.events.flush();
        self.attempt("events", iteration, result);
    }

    /// The scores on the test images in the last event, if it is the end of a run after `iteration` iterations; `None`
    /// if it is another event, or if the run was interrupted.
    pub fn tested(&self, iteration: u64) -> Option<Tested> {
        let text = std::fs::read_to_string(self.events.path()).ok()?;
        let last: Value = serde_json::from_str(text.lines().last()?).ok()?;
        let details = &last["details"];
        let ended =
            last["event"] == "end" && last["iteration"] == iteration && details["interrupted"] == false;
        let tested = ended.then(|| Tested::deserialize(details).ok())?;
        tested.filter(|tested| tested.test.is_some())
    }

    /// Writes the samples as a grid with `columns` columns, or the squarest grid; returns the picture's path, `None` if
    /// the disk refused it.
    ///
    /// # Errors
    /// [`Error::Shape`] if the images are not of `shape`.
    pub fn samples(
        &mut self,
        iteration: u64,
        images: &[f32],
        shape: [usize; 3],
        columns: Option<usize>,
    ) -> Result<Option<PathBuf>> {
        let [h, w, c] = shape;
        let n = images.len() / (h * w * c);
        // The squarest grid without an empty cell.
        let squarest = || (1..=n).find(|c| c * c >= n && n.is_multiple_of(*c)).unwrap_or(1);
        let columns = columns.unwrap_or_else(squarest);
        let picture: Picture = png::grid(images, n, h, w, c, columns, 2)?;
        let path = self.samples_path(iteration);
        let written = picture.write_png(&path);
        let written = self.attempt("samples", iteration, written);
        let result = self.tensorboard().and_then(|file| {
            file.image(iteration, "samples", &picture)?;
            file.flush()
        });
        self.attempt("TensorBoard", iteration, result);
        Ok(written.map(|()| path))
    }

    /// The path of the samples of `iteration`.
    pub fn samples_path(&self, iteration: u64) -> PathBuf {
        self.path.join(format!("samples/samples-{iteration:08}.png"))
    }

    fn tensorboard(&mut self) -> Result<&mut EventWriter> {
        if self.tensorboard.is_none() {
            self.tensorboard = Some(EventWriter::create(&self.path.join("tensorboard"))?);
        }
        Ok(self.tensorboard.as_mut().expect("it was just made"))
    }

    /// The path of the curves.
    pub fn curves_path(&self) -> PathBuf {
        self.path.join("curves.png")
    }

    /// Draws `curves.png` from `metrics.csv`.
    pub fn curves(&mut self, iteration: u64, title: &str) {
        let result = self.tensorboard.as_mut().map_or(Ok(()), EventWriter::flush);
        self.attempt("TensorBoard", iteration, result);
        let path = self.curves_path();
        let result = self.metrics().and_then(|table| curves::plot(&path, &table, title));
        self.attempt("curves", iteration, result);
    }

    /// The metrics so far.
    pub fn metrics(&self) -> Result<MetricsTable> {
        MetricsTable::read(&self.path.join("metrics.csv"))
    }

    /// Writes `report.html`.
    pub fn write_report(&mut self, iteration: u64) {
        let result = Self::report(&self.path);
        self.attempt("report", iteration, result);
    }

    /// The path of the report.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The value of `result`. A failed write of `what` does not end the run: it is reported once, as a warning and as
    /// an event.
    fn attempt<T>(&mut self, what: &'static str, iteration: u64, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if self.failing.insert(what) {
            self.warnings.push(format!("{error}; training continues and retries the write later"));
            self.event("write_failed", iteration, json!({"what": what, "message": error.to_string()}));
        }
        None
    }
}

/// Keeps other processes from writing into run directory `path`.
fn lock(path: &Path) -> Result<File> {
    let name = path.join(LOCK);
    let file = File::create(&name).map_err(Error::io(&name))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let message = "another process is training in it; wait for its end, or choose another directory";
            Err(Error::file(path, message))
        }
        // Some file systems have no locks: continue without one.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

#[cfg(test)]
mod tests;
