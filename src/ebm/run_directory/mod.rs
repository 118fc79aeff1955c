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
//! | `best.safetensors` | the best model on the held-out images |
//!
//! A process may be killed at any moment: a file is complete or absent, or is a log that ends with a complete or
//! partial record; a resumed run removes a partial one. Each checkpoint names the best model at its time, so that a run
//! that resumes from it chooses as the uninterrupted one does. A full disk does not end a run: each failed write is
//! reported once and retried.

mod best;
mod checkpoints;
mod recovery;
mod report;

use super::{Evaluation, Metrics};
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
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The columns of `metrics.csv`.
const COLUMNS: [&str; 17] = [
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
];

/// The settings file.
const CONFIG: &str = "config.toml";
/// The file that a process locks while it writes into the directory.
const LOCK: &str = ".lock";
/// The comment in the settings file with the source of the data, as JSON.
const SOURCE: &str = "# data source: ";
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
    /// The files that could not be written since the last checkpoint; each is reported once.
    failing: BTreeSet<&'static str>,
    warnings: Vec<String>,
}

/// The time stamp of a row of metrics, and the speed so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// Seconds since the run started or was resumed.
    pub seconds: f64,
    /// Training images per second, at `batch` an iteration. Evaluations, pictures and checkpoints do not count.
    pub images_per_second: f64,
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
        let done = recovered.map_or(0, Recovered::iteration);
        let metrics_path = path.join("metrics.csv");
        let metrics = match done.checked_sub(1) {
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

    /// The source of the data of the run in `path`; `None` if it was not recorded.
    ///
    /// # Errors
    /// [`Error::File`] if there is no run, or if the line cannot be read; [`Error::Io`].
    pub fn source(path: &Path) -> Result<Option<DataSource>> {
        let config = Self::config(path)?;
        let text = std::fs::read_to_string(&config).map_err(Error::io(&config))?;
        let Some(line) = text.lines().find_map(|line| line.strip_prefix(SOURCE)) else { return Ok(None) };
        let wrong = |error| Error::file(&config, format!("{SOURCE}{line}: {error}"));
        serde_json::from_str(line).map(Some).map_err(wrong)
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

    /// Appends the row of an iteration, with the evaluation after it.
    pub fn record(&mut self, metrics: &Metrics, clock: Clock, evaluation: Option<&Evaluation>) {
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
        ];
        let present: Vec<Option<f64>> = values.iter().map(|&v| (!v.is_nan()).then_some(v)).collect();
        let result = self.metrics.append(&present);
        self.attempt("metrics", metrics.iteration, result);
        let named = COLUMNS.iter().zip(&present).skip(1);
        let scalars: Vec<(&str, f32)> =
            named.filter_map(|(&name, v)| Some((name, v.as_ref().copied()? as f32))).collect();
        let result = self.tensorboard().and_then(|file| file.scalars(metrics.iteration, &scalars));
        self.attempt("TensorBoard", metrics.iteration, result);
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

    /// Whether the last event is the end of a run of `iteration` iterations that was not interrupted.
    pub fn has_ended(&self, iteration: u64) -> bool {
        let text = std::fs::read_to_string(self.events.path()).unwrap_or_default();
        let last: Option<Value> = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
        last.is_some_and(|last| {
            last["event"] == "end"
                && last["iteration"] == iteration
                && last["details"]["interrupted"] == false
        })
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
        let path = self.path.join(format!("samples/samples-{iteration:08}.png"));
        let written = picture.write_png(&path);
        let written = self.attempt("samples", iteration, written);
        let result = self.tensorboard().and_then(|file| {
            file.image(iteration, "samples", &picture)?;
            file.flush()
        });
        self.attempt("TensorBoard", iteration, result);
        Ok(written.map(|()| path))
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
mod tests {
    use super::best::read_best;
    use super::*;
    use crate::io::checkpoint;
    use std::fs;

    fn model(iteration: u64) -> Checkpoint {
        let mut model = Checkpoint::default();
        model.push_f32("weight", &[2], vec![iteration as f32, 0.5]);
        model.metadata.insert("iteration".into(), iteration.to_string());
        model
    }

    fn evaluation(accuracy: f64) -> Evaluation {
        Evaluation { accuracy, cross_entropy: 1.0 / 3.0, energy: -2.0 / 7.0 }
    }

    fn resume(path: &Path) -> RunDirectory {
        let recovered = RunDirectory::recover(path).unwrap();
        RunDirectory::open(path, None, Some(&recovered)).unwrap()
    }

    fn names(path: &Path, prefix: &str) -> Vec<u64> {
        let found = checkpoint::list_numbered(&path.join("checkpoints"), prefix).unwrap();
        found.into_iter().map(|(iteration, _)| iteration).collect()
    }

    #[test]
    fn the_best_model_is_that_of_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut run = RunDirectory::open(path, Some("settings"), None).unwrap();
        run.checkpoint(1, &mut model(1), 3).unwrap();
        // Values whose last digits an imprecise parser would lose.
        let second = Best { iteration: 2, evaluation: evaluation(0.1 + 0.2) };
        run.keep_best(2, second.evaluation, model(2));
        run.checkpoint(3, &mut model(3), 3).unwrap();
        run.keep_best(4, evaluation(0.5), model(4));
        run.keep_best(6, evaluation(0.6), model(6));
        assert_eq!(names(path, BEST), [2, 4]);
        // Killed; the model after iteration 3 is not yet evaluated.
        drop(run);
        let mut run = resume(path);
        assert_eq!(run.best(), Some(&second));
        assert_eq!(read_best(&run.best_path()).unwrap(), second);
        assert_eq!(names(path, BEST), [0; 0]);
        // With other settings, a later model beats the second.
        run.keep_best(4, evaluation(0.4), model(4));
        assert_eq!(names(path, BEST), [2]);
        run.checkpoint(5, &mut model(5), 3).unwrap();
        // The checkpoint of iteration 5 is damaged, so that of 3 is used, then that of 1.
        fs::write(checkpoint::numbered(&path.join("checkpoints"), CHECKPOINT, 5), "").unwrap();
        drop(run);
        let mut run = resume(path);
        assert_eq!((run.best().copied(), run.warnings().len()), (Some(second), 1));
        fs::write(checkpoint::numbered(&path.join("checkpoints"), CHECKPOINT, 3), "").unwrap();
        drop(run);
        let mut run = resume(path);
        assert_eq!(run.best(), None);
        // No remaining checkpoint names the earlier models.
        run.keep_best(2, second.evaluation, model(2));
        run.keep_best(4, evaluation(0.5), model(4));
        run.checkpoint(4, &mut model(4), 2).unwrap();
        assert_eq!(names(path, BEST), [2]);
        run.checkpoint(6, &mut model(6), 2).unwrap();
        assert_eq!((names(path, BEST), names(path, CHECKPOINT)), (vec![], vec![4, 6]));
    }

    #[test]
    fn a_run_is_one_processs() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = RunDirectory::open(folder.path(), Some("settings"), None).unwrap();
        run.checkpoint(1, &mut model(1), 3).unwrap();
        let recovered = RunDirectory::recover(folder.path()).unwrap();
        let second = || RunDirectory::open(folder.path(), None, Some(&recovered));
        let message = second().unwrap_err().to_string();
        assert!(message.contains("another process") && message.lines().count() == 1, "{message}");
        drop(run);
        second().unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_said_once_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut run = RunDirectory::open(path, Some("settings"), None).unwrap();
        run.checkpoint(1, &mut model(1), 1).unwrap();
        // Directories with the names of files; each holds a file, so that no write can replace it.
        let blocked = [
            "checkpoints/checkpoint-00000002.safetensors",
            "best.safetensors",
            "samples/samples-00000002.png",
        ]
        .map(|name| path.join(name));
        for path in &blocked {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "").unwrap();
        }
        run.keep_best(2, evaluation(0.5), model(2));
        assert_eq!(run.samples(2, &[0.0; 12], [2, 2, 3], None).unwrap(), None);
        for _ in 0..2 {
            assert_eq!(run.checkpoint(2, &mut model(2), 1), None);
        }
        let warnings = run.warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(
            warnings.iter().all(|line| line.contains("training continues") && line.lines().count() == 1),
            "{warnings:?}"
        );
        let events = fs::read_to_string(path.join("events.jsonl")).unwrap();
        assert_eq!(events.matches("write_failed").count(), 3, "{events}");
        for (result, name) in [
            (run.last_checkpoint(2, &mut model(2), 1).map(drop), "checkpoint-00000002"),
            (run.last_best(), "best.safetensors"),
        ] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("make room"), "{message}");
        }
        // The previous checkpoint is kept, and no partial file is left.
        assert_eq!(
            Checkpoint::load(&checkpoint::numbered(&path.join("checkpoints"), CHECKPOINT, 1))
                .unwrap()
                .tensors,
            model(1).tensors
        );
        let left = |folder: &str| fs::read_dir(path.join(folder)).unwrap().count();
        assert_eq!([left("checkpoints"), left("samples")], [2, 1]);

        blocked.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
        run.checkpoint(2, &mut model(2), 1).unwrap();
        assert_eq!(read_best(&run.best_path()).unwrap().iteration, 2);
        assert_eq!(names(path, CHECKPOINT), [2]);
        assert!(run.warnings().is_empty());
    }
}
