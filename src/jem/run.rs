//! A training run from its first iteration to its last, with its record.

use super::run_directory::{Clock, RunDirectory};
use super::{Evaluation, Evaluator, Guard, Metrics, Precision, Recipe, Trainer};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::report::progress::{Progress, Status};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Images of one evaluation batch.
const EVALUATION_BATCH: usize = 100;
/// The metadata of a best model: its figures on the held-out images.
const VALIDATION: &str = "validation";

/// What a run needs besides its recipe and data.
#[derive(Debug)]
pub struct RunOptions<'a> {
    /// The run directory.
    pub out: PathBuf,
    /// Go on from the newest checkpoint in it.
    pub resume: bool,
    /// No progress on the terminal.
    pub quiet: bool,
    /// Set (by Ctrl-C) to end the run after the current iteration, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// How a run ended, and what it left.
#[derive(Debug)]
pub struct Outcome {
    /// Iterations done.
    pub iterations: u64,
    /// Whether it was stopped before its last iteration.
    pub interrupted: bool,
    /// The last row of metrics.
    pub last: Option<Metrics>,
    /// The best model's figures on the held-out images.
    pub validation: Option<Evaluation>,
    /// The best model's figures on the test images; `None` if interrupted.
    pub test: Option<Evaluation>,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The best model; `None` if the run was interrupted before the first evaluation.
    pub best: Option<PathBuf>,
    /// The last sample grid; `None` without sampling.
    pub samples: Option<PathBuf>,
    /// The curves.
    pub curves: PathBuf,
}

/// The figures of the best model of the run that is resumed. Without a readable one, the next evaluation's
/// model is the best.
fn best_so_far(out: &Path) -> Option<Evaluation> {
    let path = RunDirectory::best_in(out);
    let model = Checkpoint::load(&path).ok()?;
    serde_json::from_str(model.text(&path, VALIDATION).ok()?).ok()
}

struct Run<'a> {
    trainer: Trainer,
    directory: RunDirectory,
    progress: Progress,
    validation: Evaluator,
    guard: Guard,
    title: String,
    shape: [usize; 3],
    images_per_iteration: usize,
    started: Instant,
    first_iteration: u64,
    /// Time spent on evaluations, pictures and checkpoints.
    aside: Duration,
    best: Option<Evaluation>,
    last: Option<Metrics>,
    options: RunOptions<'a>,
}

/// Trains `recipe` on `train`, of which its `validation` images are held out; scores the best model on `test`.
///
/// # Errors
/// A bad setting, data or directory before anything starts; [`Error::Diverged`] when the numbers cannot be
/// trained on (the last checkpoint stays); what the device or the disk refuses.
pub fn run(
    device: &Device,
    recipe: &Recipe,
    train: &Dataset,
    test: &Dataset,
    options: RunOptions<'_>,
) -> Result<Outcome> {
    let (train_part, held_out) = train.split(recipe.validation, u64::from(recipe.seed))?;
    let mut trainer = Trainer::new(device, recipe, &train_part)?;
    let (mut resumed, mut best) = (None, None);
    if options.resume {
        let path = RunDirectory::newest_checkpoint(&options.out)?;
        trainer.restore(&Checkpoint::load(&path)?, &path)?;
        resumed = Some(trainer.iteration().saturating_sub(1));
        best = best_so_far(&options.out);
    }
    let total = recipe.total_iterations(train_part.len());
    let kernels = device.choices().summary();
    let config = format!(
        "# data: {}\n# device: {}\n# kernels of convolutions: {kernels}\n{}",
        train.name,
        device.name(),
        recipe.to_toml()
    );
    let mut directory = RunDirectory::open(&options.out, &config, resumed)?;
    let details = json!({"device": device.name(), "kernels": kernels, "data": train.name, "synthetic": train.synthetic, "iterations": total, "precision": trainer.precision()});
    directory.event(if options.resume { "resume" } else { "start" }, trainer.iteration(), details)?;
    let network = trainer.network();
    let title = format!("WRN-{}-{} on {}", network.depth, network.width, train.name);
    let mut run = Run {
        validation: trainer.evaluator(&held_out, EVALUATION_BATCH)?,
        progress: Progress::new(trainer.iteration(), total, options.quiet),
        guard: Guard::new(recipe),
        title,
        shape: [train.height, train.width, train.channels],
        images_per_iteration: recipe.batch,
        started: Instant::now(),
        first_iteration: trainer.iteration(),
        aside: Duration::ZERO,
        best,
        last: None,
        trainer,
        directory,
        options,
    };
    if recipe.precision != Precision::F32 {
        run.progress.note(&format!("numbers: {}", run.trainer.precision()));
    }
    run.train(total, test)
}

impl Run<'_> {
    fn train(mut self, total: u64, test: &Dataset) -> Result<Outcome> {
        let (evaluate, sample, checkpoint) = {
            let recipe = self.trainer.recipe();
            (recipe.evaluate_every, recipe.sample_every, recipe.checkpoint_every)
        };
        let mut samples = None;
        let mut last_checkpoint = None;
        let mut interrupted = false;
        while self.trainer.iteration() < total && !interrupted {
            self.trainer.step()?;
            interrupted = self.options.stop.load(Ordering::Relaxed);
            let done = self.trainer.iteration();
            let due = |every: u64| done.is_multiple_of(every) || done == total || interrupted;
            if !(due(evaluate) || due(sample) || due(checkpoint)) {
                let arrived = self.trainer.metrics()?;
                self.record(&arrived, None)?;
                continue;
            }
            // What is written or scored here must come from a healthy state: all metrics first.
            let arrived = self.trainer.finish_metrics()?;
            let aside = Instant::now();
            let evaluation = if due(evaluate) && !interrupted {
                self.check(&arrived)?;
                Some(self.evaluate()?)
            } else {
                None
            };
            self.record(&arrived, evaluation.as_ref())?;
            if due(sample) {
                samples = self.picture()?;
            }
            if due(checkpoint) {
                last_checkpoint = Some(self.checkpoint()?);
            }
            self.aside += aside.elapsed();
        }
        self.progress.finish();
        // A resumed run that was already complete has made no checkpoint of its own.
        let checkpoint = match last_checkpoint {
            Some(path) => path,
            None => self.checkpoint()?,
        };
        let curves = self.directory.curves(&self.title)?;
        let test = if interrupted { None } else { Some(self.score_best(test)?) };
        let details =
            json!({"interrupted": interrupted, "test_accuracy": test.as_ref().map(|test| test.accuracy)});
        self.directory.event("end", self.trainer.iteration(), details)?;
        Ok(Outcome {
            iterations: self.trainer.iteration(),
            interrupted,
            last: self.last,
            validation: self.best,
            test,
            checkpoint,
            best: self.best.map(|_| self.directory.best_path()),
            samples,
            curves,
        })
    }

    fn clock(&self) -> Clock {
        let elapsed = self.started.elapsed();
        let training = elapsed.saturating_sub(self.aside).as_secs_f64();
        let iterations = self.trainer.iteration() - self.first_iteration;
        let images = iterations as f64 * self.images_per_iteration as f64;
        Clock { seconds: elapsed.as_secs_f64(), images_per_second: images / training.max(1e-9) }
    }

    /// Ends a diverged run: the checkpoints that are there were written in a healthy state.
    fn check(&mut self, arrived: &[Metrics]) -> Result<()> {
        for metrics in arrived {
            let Err(error) = self.guard.check(metrics) else { continue };
            let good = RunDirectory::newest_checkpoint(self.directory.path());
            let advice = "try more --steps, a smaller --lr, --clamp-gradient 1, --clamp-x true or a larger --energy-l2";
            let good = good.map_or("there is no checkpoint yet".into(), |path| {
                format!("the last good checkpoint is {}", path.display())
            });
            let Error::Diverged { iteration, message } = error else { return Err(error) };
            self.directory.event("diverged", iteration, json!({"message": message}))?;
            self.progress.finish();
            return Err(Error::Diverged { iteration, message: format!("{message}; {good}; {advice}") });
        }
        Ok(())
    }

    /// Appends rows; `evaluation` belongs to the last.
    fn record(&mut self, arrived: &[Metrics], evaluation: Option<&Evaluation>) -> Result<()> {
        let clock = self.clock();
        for (index, metrics) in arrived.iter().enumerate() {
            let evaluation = evaluation.filter(|_| index + 1 == arrived.len());
            self.directory.record(metrics, clock, evaluation)?;
            self.last = Some(*metrics);
        }
        self.check(arrived)?;
        if let Some(metrics) = arrived.last() {
            let present = |value: f64| (!value.is_nan()).then_some(value);
            let status = Status {
                loss: present(metrics.loss),
                energy_gap: present(metrics.energy_gap()),
                accuracy: present(metrics.accuracy),
                images_per_second: present(clock.images_per_second),
            };
            self.progress.update(metrics.iteration + 1, &status);
        }
        Ok(())
    }

    /// Scores the held-out images; keeps the model if it is the best so far.
    fn evaluate(&mut self) -> Result<Evaluation> {
        let evaluation = self.validation.evaluate(|_| ())?;
        let iteration = self.trainer.iteration();
        let details = json!({"accuracy": evaluation.accuracy, "cross_entropy": evaluation.cross_entropy});
        self.directory.event("validation", iteration, details)?;
        let accuracy = 100.0 * evaluation.accuracy;
        self.progress.note(&format!("iteration {iteration}: validation accuracy {accuracy:.1}%"));
        if self.best.is_none_or(|best| evaluation.accuracy > best.accuracy) {
            let mut model = self.trainer.model()?;
            model
                .metadata
                .insert(VALIDATION.into(), serde_json::to_string(&evaluation).expect("plain numbers"));
            self.directory.best(&model)?;
            self.best = Some(evaluation);
        }
        Ok(evaluation)
    }

    fn picture(&mut self) -> Result<Option<PathBuf>> {
        let images = self.trainer.samples()?;
        if images.is_empty() {
            return Ok(None);
        }
        self.directory.samples(self.trainer.iteration(), &images, self.shape).map(Some)
    }

    fn checkpoint(&mut self) -> Result<PathBuf> {
        let checkpoint = self.trainer.checkpoint()?;
        let keep = self.trainer.recipe().keep;
        self.directory.curves(&self.title)?;
        self.directory.checkpoint(self.trainer.iteration(), &checkpoint, keep)
    }

    /// The figures of the best model on `test`.
    fn score_best(&mut self, test: &Dataset) -> Result<Evaluation> {
        let path = self.directory.best_path();
        let model = Checkpoint::load(&path)?;
        let layout = self.trainer.network().layout();
        let flat = layout.gather(|parameter| model.f32(&path, &parameter.name, &parameter.file_shape()))?;
        self.trainer.set_parameters(&flat)?;
        self.trainer.evaluator(test, EVALUATION_BATCH)?.evaluate(|_| ())
    }
}
