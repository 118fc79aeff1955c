//! A training run from its first iteration to its last, with its record.

use super::run_directory::{Clock, RunDirectory};
use super::{Evaluation, Evaluator, Guard, Metrics, Precision, Recipe, Trainer};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::report::progress::{Progress, Status};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Images of one evaluation batch.
const EVALUATION_BATCH: usize = 100;

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
    last: Option<Metrics>,
    /// The checkpoint that the run goes on from.
    resumed: Option<PathBuf>,
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
    let recovered = options.resume.then(|| RunDirectory::recover(&options.out)).transpose()?;
    let checkpoint = recovered.as_ref().and_then(|recovered| recovered.checkpoint.as_ref());
    if let Some((path, checkpoint)) = checkpoint {
        trainer.restore(checkpoint, path)?;
    }
    let resumed = checkpoint.map(|(path, _)| path.clone());
    let total = recipe.total_iterations(train_part.len());
    let kernels = device.choices().summary();
    let config = format!(
        "# data: {}\n# device: {}\n# kernels of convolutions: {kernels}\n{}",
        train.name,
        device.name(),
        recipe.to_toml()
    );
    let complete = trainer.iteration() >= total;
    let config = (!complete).then_some(config.as_str());
    let mut directory = RunDirectory::open(&options.out, config, recovered.as_ref())?;
    drop(recovered);
    if !complete {
        let details = json!({"device": device.name(), "kernels": kernels, "data": train.name, "synthetic": train.synthetic, "iterations": total, "precision": trainer.precision(), "checkpoint": resumed});
        directory.event(if options.resume { "resume" } else { "start" }, trainer.iteration(), details);
    }
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
        last: None,
        resumed,
        trainer,
        directory,
        options,
    };
    if recipe.precision != Precision::F32 {
        run.progress.note(&format!("numbers: {}", run.trainer.precision()));
    }
    run.warn();
    run.train(total, test)
}

impl Run<'_> {
    fn train(mut self, total: u64, test: &Dataset) -> Result<Outcome> {
        let (evaluate, sample, checkpoint) = {
            let recipe = self.trainer.recipe();
            (recipe.evaluate_every, recipe.sample_every, recipe.checkpoint_every)
        };
        let mut samples = None;
        let complete = self.trainer.iteration() >= total;
        if complete {
            let (done, out) = (self.trainer.iteration(), self.options.out.display());
            self.progress.note(&format!("{out} is complete: {done} of {total} iterations are done"));
        }
        let mut last_checkpoint = self.resumed.take().filter(|_| complete);
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
            // Also if interrupted: the resumed run goes on behind it.
            let evaluation = if done.is_multiple_of(evaluate) || done == total {
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
                last_checkpoint = self.checkpoint()?;
            }
            self.aside += aside.elapsed();
        }
        self.warn();
        self.progress.finish();
        let iteration = self.trainer.iteration();
        let checkpoint = match last_checkpoint {
            Some(path) => path,
            None => self.last_checkpoint()?,
        };
        // Lost with the disk, or refused by it.
        if self.directory.best().is_none() && !interrupted {
            self.evaluate()?;
        }
        self.directory.last_best()?;
        let ended = complete && self.directory.has_ended(iteration);
        let test = if interrupted { None } else { Some(self.score_best(test)?) };
        if !ended {
            self.directory.curves(iteration, &self.title);
            let test_accuracy = test.as_ref().map(|test| test.accuracy);
            let details = json!({"interrupted": interrupted, "test_accuracy": test_accuracy});
            self.directory.event("end", iteration, details);
        }
        self.warn();
        let best = self.directory.best();
        Ok(Outcome {
            iterations: iteration,
            interrupted,
            last: self.last,
            validation: best.map(|best| best.evaluation),
            test,
            checkpoint,
            best: best.map(|_| self.directory.best_path()),
            samples,
            curves: self.directory.curves_path(),
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
            self.directory.event("diverged", iteration, json!({"message": message}));
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
            self.directory.record(metrics, clock, evaluation);
            self.last = Some(*metrics);
        }
        self.warn();
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
        self.directory.event("validation", iteration, details);
        let accuracy = 100.0 * evaluation.accuracy;
        self.progress.note(&format!("iteration {iteration}: validation accuracy {accuracy:.1}%"));
        if self.directory.best().is_none_or(|best| evaluation.accuracy > best.evaluation.accuracy) {
            self.directory.keep_best(iteration, evaluation, self.trainer.model()?);
        }
        Ok(evaluation)
    }

    fn picture(&mut self) -> Result<Option<PathBuf>> {
        let images = self.trainer.samples()?;
        if images.is_empty() {
            return Ok(None);
        }
        self.directory.samples(self.trainer.iteration(), &images, self.shape)
    }

    /// `None` if the disk refused it: training goes on.
    fn checkpoint(&mut self) -> Result<Option<PathBuf>> {
        let (iteration, keep) = (self.trainer.iteration(), self.trainer.recipe().keep);
        let mut checkpoint = self.trainer.checkpoint()?;
        self.directory.curves(iteration, &self.title);
        Ok(self.directory.checkpoint(iteration, &mut checkpoint, keep))
    }

    /// The checkpoint of the end, which must be written.
    fn last_checkpoint(&mut self) -> Result<PathBuf> {
        let (iteration, keep) = (self.trainer.iteration(), self.trainer.recipe().keep);
        self.directory.last_checkpoint(iteration, &mut self.trainer.checkpoint()?, keep)
    }

    /// Says what the disk has refused.
    fn warn(&mut self) {
        self.directory.warnings().iter().for_each(|warning| self.progress.warn(warning));
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
