//! The run directory is the record of a run.
//!
//! | file | what |
//! |---|---|
//! | `config.toml` | every setting |
//! | `metrics.csv` | a row an iteration |
//! | `events.jsonl` | starts, evaluations, checkpoints, the end: one JSON object a line |
//! | `tensorboard/` | the same numbers and the sample grids, for TensorBoard |
//! | `samples/` | a PNG grid of the chains at intervals |
//! | `curves.png` | losses, energies, accuracies |
//! | `checkpoints/` | the last few, with all that a run needs to go on; after an interruption also what a fault may go back to |
//! | `best.safetensors` | the model that was best on the held-out images |

use super::{Evaluation, Metrics};
use crate::error::{Error, Result};
use crate::io::checkpoint::{self, Checkpoint};
use crate::io::events::EventWriter;
use crate::io::png::{self, Picture};
use crate::report::curves;
use crate::report::metrics::{MetricsLog, Table};
use serde_json::{Value, json};
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

/// The prefix of checkpoint files.
const CHECKPOINT: &str = "checkpoint";
/// The prefix of the files of snapshots, which a run that is interrupted between two checkpoints leaves beside them.
const SNAPSHOT: &str = "snapshot";

/// The files of one run.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    metrics: MetricsLog,
    events: std::fs::File,
    tensorboard: EventWriter,
}

/// The time of a row of metrics, and the speed so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// Seconds since the run (or its resumption) began.
    pub seconds: f64,
    /// Labelled images trained on a second, evaluations not counted.
    pub images_per_second: f64,
}

impl RunDirectory {
    /// Makes the directory and its files; with `resume_after`, goes on behind that iteration.
    ///
    /// # Errors
    /// [`Error::File`] if it holds another run; [`Error::Io`] if it cannot be written.
    pub fn open(path: &Path, config: &str, resume_after: Option<u64>) -> Result<Self> {
        let config_path = path.join("config.toml");
        if resume_after.is_none() && config_path.exists() {
            let message = "holds another run; choose another --out, or go on with --resume";
            return Err(Error::file(path, message));
        }
        for directory in [path.to_owned(), path.join("samples"), path.join("checkpoints")] {
            std::fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
        }
        crate::io::atomic::write(&config_path, |file| file.write_all(config.as_bytes()))?;
        let metrics_path = path.join("metrics.csv");
        let metrics = match resume_after {
            Some(last) => MetricsLog::resume(&metrics_path, &COLUMNS, last)?,
            None => MetricsLog::create(&metrics_path, &COLUMNS)?,
        };
        let events_path = path.join("events.jsonl");
        let events = std::fs::File::options().create(true).append(true).open(&events_path);
        Ok(Self {
            metrics,
            events: events.map_err(Error::io(&events_path))?,
            tensorboard: EventWriter::create(&path.join("tensorboard"))?,
            path: path.to_owned(),
        })
    }

    /// The newest checkpoint in run directory `path`.
    ///
    /// # Errors
    /// [`Error::File`] if there is none.
    pub fn newest_checkpoint(path: &Path) -> Result<PathBuf> {
        let directory = path.join("checkpoints");
        let newest = checkpoint::list_numbered(&directory, CHECKPOINT)?.pop();
        newest.map(|(_, path)| path).ok_or_else(|| Error::file(directory, "no checkpoint to resume from"))
    }

    /// The checkpoints in run directory `path` with their iterations, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
        checkpoint::list_numbered(&path.join("checkpoints"), CHECKPOINT)
    }

    /// The snapshots that an interrupted run in `path` left, with their iterations, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn snapshots(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
        checkpoint::list_numbered(&path.join("checkpoints"), SNAPSHOT)
    }

    /// Writes snapshots in place of those that there are.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_snapshots<'a>(&self, all: impl IntoIterator<Item = &'a (u64, Checkpoint)>) -> Result<()> {
        for (_, path) in Self::snapshots(&self.path)? {
            std::fs::remove_file(&path).map_err(Error::io(path))?;
        }
        let directory = self.path.join("checkpoints");
        all.into_iter().try_for_each(|(iteration, snapshot)| {
            snapshot.save(&checkpoint::numbered(&directory, SNAPSHOT, *iteration))
        })
    }

    /// Removes what was recorded of iterations from `iteration` on (from 0): rows of metrics, and checkpoints of more.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn go_back(&mut self, iteration: u64) -> Result<()> {
        let path = self.path.join("metrics.csv");
        self.metrics = match iteration.checked_sub(1) {
            Some(last) => MetricsLog::resume(&path, &COLUMNS, last)?,
            None => MetricsLog::create(&path, &COLUMNS)?,
        };
        for (_, path) in Self::checkpoints(&self.path)?.into_iter().filter(|(number, _)| *number > iteration)
        {
            std::fs::remove_file(&path).map_err(Error::io(path))?;
        }
        Ok(())
    }

    /// A free directory `BASE/NAME-1`, `BASE/NAME-2`, …
    pub fn fresh(base: &Path, name: &str) -> PathBuf {
        let path = |number: u32| base.join(format!("{name}-{number}"));
        (1..).map(path).find(|path| !path.exists()).expect("numbers have no end")
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an iteration's row, with the evaluation made after it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record(&mut self, metrics: &Metrics, clock: Clock, evaluation: Option<&Evaluation>) -> Result<()> {
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
        self.metrics.append(&present)?;
        let named = COLUMNS.iter().zip(&present).skip(1);
        let scalars: Vec<(&str, f32)> =
            named.filter_map(|(&name, v)| Some((name, v.as_ref().copied()? as f32))).collect();
        self.tensorboard.scalars(metrics.iteration, &scalars)
    }

    /// Appends a line to `events.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn event(&mut self, kind: &str, iteration: u64, details: Value) -> Result<()> {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let line =
            json!({"time": time.as_secs_f64(), "event": kind, "iteration": iteration, "details": details});
        writeln!(self.events, "{line}").map_err(Error::io(self.path.join("events.jsonl")))
    }

    /// Writes the chains as a grid; returns the picture's path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn samples(&mut self, iteration: u64, images: &[f32], shape: [usize; 3]) -> Result<PathBuf> {
        let [h, w, c] = shape;
        let n = images.len() / (h * w * c);
        // The squarest grid without an empty cell.
        let columns = (1..=n).find(|c| c * c >= n && n.is_multiple_of(*c)).unwrap_or(1);
        let picture: Picture = png::grid(images, n, h, w, c, columns, 2)?;
        let path = self.path.join(format!("samples/samples-{iteration:08}.png"));
        picture.write_png(&path)?;
        self.tensorboard.image(iteration, "samples", &picture)?;
        self.tensorboard.flush()?;
        Ok(path)
    }

    /// Writes a checkpoint and removes all but the last `keep`; returns its path.
    ///
    /// # Errors
    /// [`Error::Io`], such as a full disk; what was written before stays.
    pub fn checkpoint(&mut self, iteration: u64, checkpoint: &Checkpoint, keep: usize) -> Result<PathBuf> {
        let directory = self.path.join("checkpoints");
        let path = checkpoint::numbered(&directory, CHECKPOINT, iteration);
        checkpoint.save(&path)?;
        checkpoint::rotate(&directory, CHECKPOINT, keep)?;
        self.event("checkpoint", iteration, json!({"path": path}))?;
        Ok(path)
    }

    /// Writes the best model so far; returns its path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn best(&mut self, model: &Checkpoint) -> Result<PathBuf> {
        let path = self.best_path();
        model.save(&path)?;
        Ok(path)
    }

    /// Where the best model is.
    pub fn best_path(&self) -> PathBuf {
        Self::best_in(&self.path)
    }

    /// Where run directory `path` has its best model.
    pub fn best_in(path: &Path) -> PathBuf {
        path.join("best.safetensors")
    }

    /// Draws `curves.png` from `metrics.csv`; returns its path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn curves(&mut self, title: &str) -> Result<PathBuf> {
        self.tensorboard.flush()?;
        let path = self.path.join("curves.png");
        curves::plot(&path, &Table::read(&self.path.join("metrics.csv"))?, title)?;
        Ok(path)
    }
}
