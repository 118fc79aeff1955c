//! A training run from its first iteration to its last, with its records.

mod faults;
mod fresh;
mod options;
mod scoring;

use super::run_directory::{Best, Clock, RunDirectory, UNSCORED};
use super::{
    Evaluation, Evaluator, Fault, FreshChains, FreshEnergies, FreshGap, Guard, Healing, Metrics,
    NetworkRecord, Precision, Recipe, Trainer,
};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::nn::network::Network;
use crate::report::progress::{Progress, Silent};
use crate::report::status::{Phase, Status};
use crate::words::{counted, is};
pub use options::{Outcome, RunOptions};
use serde_json::json;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The batch size of evaluations, in images.
const EVALUATION_BATCH: usize = 100;
/// The number of snapshots that a run keeps in memory, in addition to its checkpoints.
const SNAPSHOTS: usize = 3;
/// An iteration that takes longer than this shows its phase.
const SLOW: Duration = Duration::from_secs(1);
/// The shortest time between two displays of progress within an iteration or an evaluation.
const REFRESH: Duration = Duration::from_millis(100);
/// The metadata of a checkpoint with the state of the guard, and with that of the healing.
const GUARD: &str = "guard";
const HEALING: &str = "healing";

struct Run<'a> {
    /// The recipe as the user asked for it; the trainer's recipe also has the remedies in force.
    recipe: Recipe,
    train: Dataset,
    held_out: Dataset,
    trainer: Trainer,
    healing: Healing,
    /// The latest states that a fault can roll back to, the newest last; older states are in checkpoints.
    snapshots: VecDeque<(u64, Checkpoint)>,
    directory: RunDirectory,
    progress: Box<dyn Progress + 'a>,
    validation: Evaluator,
    /// The fresh chains of the last evaluation.
    fresh: Option<FreshChains>,
    guard: Guard,
    title: String,
    shape: [usize; 3],
    images_per_iteration: usize,
    started: Instant,
    /// Seconds that earlier sessions of the run took.
    earlier: f64,
    /// Iterations that this session has run, including those that were rolled back.
    iterations_run: u64,
    /// Time spent on evaluations, pictures and checkpoints.
    aside: Duration,
    last: Option<Metrics>,
    /// The last row of metrics, if its evaluation was stopped.
    unscored: Option<(Metrics, Clock)>,
    /// The figures of the last iteration.
    status: Status,
    /// The checkpoint that the run resumes from.
    resumed: Option<PathBuf>,
    options: RunOptions<'a>,
}

/// Trains `recipe` on `train` without the `validation` images that it holds out; scores the best model on `test`.
///
/// # Errors
/// An invalid setting, data set or directory, before anything starts; [`crate::Error::Diverged`] when a run diverges
/// and is given up (the last checkpoint is kept); an error of the device or the disk.
pub fn run(
    device: &Device,
    recipe: &Recipe,
    train: &Dataset,
    test: &Dataset,
    mut options: RunOptions<'_>,
) -> Result<Outcome> {
    check_test(train, test)?;
    let (train_part, held_out) = train.split(recipe.validation, u64::from(recipe.seed))?;
    let recovered = options.resume.then(|| RunDirectory::recover(&options.out)).transpose()?;
    let start = recovered.as_ref().and_then(|recovered| recovered.checkpoint.as_ref());
    let healing: Healing = start.map(|(_, checkpoint)| memory(checkpoint, HEALING)).unwrap_or_default();
    let guard = start.map(|(_, checkpoint)| memory(checkpoint, GUARD)).unwrap_or_default();
    let own = || -> Arc<dyn Network> { Arc::new(recipe.network(train.classes(), train.channels)) };
    let of_start = || options.start.map(|start| start.network.clone());
    let recorded = options.network.clone().or_else(of_start);
    let network = recorded.clone().unwrap_or_else(own);
    let mut trainer = Trainer::with_network(device, &healing.treat(recipe), network, &train_part)?;
    let mut snapshots = VecDeque::new();
    if let (Some(from), None) = (options.start, start) {
        trainer.set_parameters(&from.parameters(&trainer.network().layout(), &trainer.parameters()?)?)?;
    }
    if let Some((path, checkpoint)) = start {
        trainer.restore(checkpoint, path)?;
        for (iteration, path) in RunDirectory::snapshots(&options.out)? {
            // Skip a damaged snapshot: it is one rollback target less, and the checkpoint is enough to resume.
            let snapshot = Checkpoint::load(&path).ok().filter(|_| iteration <= trainer.iteration());
            snapshots.extend(snapshot.map(|snapshot| (iteration, snapshot)));
        }
    }
    let resumed = start.map(|(path, _)| path.clone());
    let total = recipe.total_iterations(train_part.len());
    let kernels = device.kernels();
    let mut source = options.source.map(RunDirectory::source_line).unwrap_or_default();
    if let Some(network) = &recorded {
        let from = options.start.map(|start| start.model.path());
        let mut from = from.map(|path| std::path::absolute(path).map_err(Error::io(path))).transpose()?;
        if options.resume {
            // The model that the run started from may be gone.
            let before = RunDirectory::network_in(&RunDirectory::config(&options.out)?)?;
            from = before.and_then(|record| record.from).or(from);
        }
        source += &RunDirectory::network_line(&NetworkRecord::of(&**network, from.as_deref()));
    }
    let config = format!(
        "# data: {}\n{source}# network: {}\n# device: {}\n# kernels of convolutions: {kernels}\n{}",
        train.name,
        trainer.network().name(),
        device.name(),
        recipe.to_toml_of(&**trainer.network())
    );
    let unscored = start.and_then(|(_, checkpoint)| memory::<Option<(Metrics, Clock)>>(checkpoint, UNSCORED));
    let complete = trainer.iteration() >= total && unscored.is_none();
    let config = (!complete).then_some(config.as_str());
    // Whatever the device refuses, it refuses before there is a directory.
    let validation = trainer.evaluator(&held_out, EVALUATION_BATCH)?;
    let mut directory = RunDirectory::open(&options.out, config, recovered.as_ref())?;
    drop(recovered);
    if !complete {
        let details = json!({"device": device.name(), "kernels": kernels, "data": train.name, "synthetic": train.synthetic, "iterations": total, "precision": trainer.precision(), "checkpoint": resumed});
        directory.event(if options.resume { "resume" } else { "start" }, trainer.iteration(), details);
    }
    let mut progress = options.progress.take().unwrap_or_else(|| Box::new(Silent));
    let history = directory.metrics().ok();
    let seconds = history.as_ref().map(|table| table.points("seconds"));
    let earlier = seconds.and_then(|points| points.last().copied()).map_or(0.0, |(_, seconds)| seconds);
    let earlier = unscored.map_or(earlier, |(_, clock)| clock.seconds);
    progress.begin(trainer.iteration(), total, history.as_ref());
    let title = format!("{} on {}", trainer.network().name(), train.name);
    let mut run = Run {
        validation,
        fresh: None,
        progress,
        guard,
        healing,
        snapshots,
        recipe: recipe.clone(),
        title,
        shape: [train.height, train.width, train.channels],
        images_per_iteration: recipe.batch,
        started: Instant::now(),
        earlier,
        iterations_run: 0,
        aside: Duration::ZERO,
        last: None,
        unscored,
        status: Status::default(),
        resumed,
        trainer,
        directory,
        options,
        train: train_part,
        held_out,
    };
    if recipe.precision != Precision::F32 {
        run.progress.note(&format!("numbers: {}", run.trainer.precision()));
    }
    run.warn();
    run.train(total, test)
}

/// Checks that a model of `train` can be scored on `test`, before hours of training.
fn check_test(train: &Dataset, test: &Dataset) -> Result<()> {
    let (name, classes) = (&test.name, train.classes());
    let message = match test.labels.iter().max() {
        None => format!("{name} has no images to test on"),
        Some(&label) if label as usize >= classes => {
            format!("{name} has the label {label}, but {} has {}", train.name, counted(classes, "class"))
        }
        Some(_) => return Ok(()),
    };
    Err(Error::Shape { operation: "test images", message })
}

/// The state that a checkpoint has under `key`; the default if an earlier version wrote the checkpoint.
fn memory<T: Default + serde::de::DeserializeOwned>(checkpoint: &Checkpoint, key: &str) -> T {
    checkpoint.metadata.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The results of an iteration.
#[derive(Default)]
struct Left {
    /// Whether the run should stop.
    interrupted: bool,
    samples: Option<PathBuf>,
    /// The checkpoint of the state as it is now; `None` if there is none yet.
    checkpoint: Option<PathBuf>,
}

impl Run<'_> {
    fn train(mut self, total: u64, test_images: &Dataset) -> Result<Outcome> {
        let mut left = Left { checkpoint: self.resumed.take(), ..Left::default() };
        let complete = self.trainer.iteration() >= total && self.unscored.is_none();
        if complete {
            let (done, out) = (self.trainer.iteration(), self.options.out.display());
            let asked = if done > total { format!(", {total} were asked for") } else { String::new() };
            let all = if done == 1 { "its iteration".to_owned() } else { format!("all {done} iterations") };
            self.progress.note(&format!("{out} is complete: {all} {} done{asked}", is(done as usize)));
        }
        let mut interrupted = false;
        let mut losses = 0;
        while (self.trainer.iteration() < total || self.unscored.is_some()) && !interrupted {
            let advanced = match self.advance(total, &mut left) {
                Ok(None) => {
                    interrupted = left.interrupted;
                    Ok(())
                }
                Ok(Some(fault)) => {
                    left.checkpoint = None;
                    self.heal(fault, &mut losses)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = advanced {
                left.checkpoint = None;
                let (device, message) = self.lost(error, &mut losses)?;
                self.reopen(&device, message)?;
            }
        }
        self.warn();
        self.progress.finish();
        let iteration = self.trainer.iteration();
        let checkpoint = match left.checkpoint {
            Some(path) => path,
            None => self.last_checkpoint()?,
        };
        // No best model: the disk lost or refused it.
        if self.directory.best().is_none() && !interrupted {
            match self.validate()? {
                Some(evaluation) => self.keep_best(evaluation)?,
                None => interrupted = true,
            }
        }
        self.directory.last_best()?;
        let ended = complete && self.directory.has_ended(iteration);
        let test = match interrupted {
            true => None,
            false => self.score_best(test_images, &mut losses)?,
        };
        let origin = match (&test, &self.options.start) {
            (Some(_), Some(start)) if !start.renews() => self.score_start(start, test_images, &mut losses)?,
            _ => None,
        };
        // Also true if all iterations are done: the resumed run then scores the test images.
        let interrupted = test.is_none();
        if !ended {
            self.directory.curves(iteration, &self.title);
            let test_accuracy = test.as_ref().map(|test| test.accuracy).filter(|accuracy| !accuracy.is_nan());
            let details = json!({
                "interrupted": interrupted, "test_accuracy": test_accuracy, "test": test, "start": origin
            });
            self.directory.event("end", iteration, details);
            self.directory.write_report(iteration);
        }
        self.warn();
        let best = self.directory.best();
        Ok(Outcome {
            iterations: iteration,
            interrupted,
            trips: self.healing.trips,
            last: self.last,
            validation: best.map(|best| best.evaluation),
            test,
            start: origin,
            fresh: self.directory.metrics().ok().as_ref().and_then(FreshGap::last),
            checkpoint,
            best: best.map(|_| self.directory.best_path()),
            samples: left.samples,
            curves: self.directory.curves_path(),
            report: self.directory.report_path(),
        })
    }

    /// Runs one iteration and the tasks that are due after it, or only the tasks, if an earlier session was stopped in
    /// them.
    fn advance(&mut self, total: u64, left: &mut Left) -> Result<Option<Fault>> {
        let unscored = self.unscored.take();
        if unscored.is_none() {
            if let Some(visit) = &mut self.options.visit {
                visit(&mut self.trainer)?;
            }
            if !self.iterate()? {
                return self.stop(left);
            }
            self.iterations_run += 1;
        }
        left.checkpoint = None;
        let done = self.trainer.iteration();
        let due = |every: u64| done.is_multiple_of(every) || done == total;
        let Recipe { evaluate_every, sample_every, checkpoint_every, snapshot_every, .. } = self.recipe;
        if ![evaluate_every, sample_every, checkpoint_every, snapshot_every].into_iter().any(due) {
            if let Some((row, clock)) = unscored {
                self.record(&[row], None, None, clock);
                return Ok(None);
            }
            if self.progress.wants_samples() {
                let aside = Instant::now();
                self.look()?;
                self.aside += aside.elapsed();
            }
            let arrived = self.trainer.metrics()?;
            self.record(&arrived, None, None, self.clock());
            return Ok(self.check(&arrived));
        }
        // Only a healthy state may be saved or evaluated: check all metrics first. An earlier session has checked the row
        // whose evaluation was stopped.
        let resumed = unscored.is_some();
        let (arrived, clock) = match unscored {
            Some((row, clock)) => (vec![row], clock),
            // The time of the evaluation is not the iteration's.
            None => (self.trainer.finish_metrics()?, self.clock()),
        };
        let fault = if resumed { None } else { self.check(&arrived) };
        let aside = Instant::now();
        let (mut evaluation, mut fresh) = (None, None);
        if due(evaluate_every) {
            if fault.is_some() {
                return Ok(fault);
            }
            let Some(scored) = self.validate()? else { return self.leave_unscored(&arrived, clock, left) };
            let classes = self.trainer.network().classes();
            // An energy without classes has no accuracy to lose.
            if classes > 1
                && let Err(fault) = self.guard.check_validation(&self.recipe, classes, done, &scored)
            {
                return Ok(Some(fault));
            }
            if let Some(longest) = self.recipe.fresh_chains_due(done, total) {
                fresh = self.follow_fresh_chains(longest)?;
                if fresh.is_none() {
                    return self.leave_unscored(&arrived, clock, left);
                }
            }
            self.keep_best(scored)?;
            evaluation = Some(scored);
        }
        self.record(&arrived, evaluation.as_ref(), fresh.as_ref(), clock);
        if fault.is_some() {
            return Ok(fault);
        }
        if due(sample_every) {
            // The session that was stopped may have drawn them.
            let drawn = Some(self.directory.samples_path(done)).filter(|path| resumed && path.exists());
            left.samples = if drawn.is_some() { drawn } else { self.picture()? };
        }
        self.ease()?;
        if due(checkpoint_every) {
            if done.is_multiple_of(checkpoint_every) {
                // A run that resumes from this checkpoint has no earlier snapshots, so this run drops them too.
                self.snapshots.clear();
            }
            left.checkpoint = self.checkpoint()?;
        } else if due(snapshot_every) {
            self.snapshots.push_back((done, self.state()?));
            if self.snapshots.len() > SNAPSHOTS {
                self.snapshots.pop_front();
            }
        }
        self.aside += aside.elapsed();
        Ok(None)
    }

    /// Runs one iteration; returns false if it was stopped, in which case nothing of it counts.
    fn iterate(&mut self) -> Result<bool> {
        let (iteration, stop) = (self.trainer.iteration(), self.options.stop);
        let mut due = Instant::now() + SLOW;
        let goes_on = |phase: Phase| {
            let now = Instant::now();
            if now >= due {
                due = now + REFRESH;
                self.progress.phase(iteration, &Status { phase: Some(phase), ..self.status });
            }
            !stop.load(Ordering::Relaxed)
        };
        self.trainer.step_while(goes_on)
    }

    /// Ends the session in an evaluation: the last of the `arrived` rows waits for the next session, which repeats the
    /// evaluation.
    fn leave_unscored(
        &mut self,
        arrived: &[Metrics],
        clock: Clock,
        left: &mut Left,
    ) -> Result<Option<Fault>> {
        let (last, before) = arrived.split_last().expect("the metrics of this iteration");
        self.record(before, None, None, clock);
        self.unscored = Some((*last, clock));
        self.stop(left)
    }

    /// Ends the session after the iterations that are done: records their metrics, draws the last samples and writes a
    /// checkpoint. Returns a fault that these metrics show, in which case the session does not end.
    fn stop(&mut self, left: &mut Left) -> Result<Option<Fault>> {
        let arrived = self.trainer.finish_metrics()?;
        self.record(&arrived, None, None, self.clock());
        if let Some(fault) = self.check(&arrived) {
            return Ok(Some(fault));
        }
        let done = self.trainer.iteration();
        let drawn = done.is_multiple_of(self.recipe.sample_every) && self.unscored.is_none();
        if self.iterations_run > 0 && !drawn {
            left.samples = self.picture()?;
        }
        if left.checkpoint.is_none() {
            left.checkpoint = self.checkpoint()?;
        }
        left.interrupted = true;
        Ok(None)
    }

    fn clock(&self) -> Clock {
        let elapsed = self.started.elapsed();
        let training = elapsed.saturating_sub(self.aside).as_secs_f64();
        let images = self.iterations_run as f64 * self.images_per_iteration as f64;
        Clock {
            seconds: self.earlier + elapsed.as_secs_f64(),
            images_per_second: images / training.max(1e-9),
        }
    }

    /// The first fault that the metrics show.
    fn check(&mut self, arrived: &[Metrics]) -> Option<Fault> {
        arrived.iter().find_map(|metrics| self.guard.check(self.trainer.recipe(), metrics).err())
    }

    /// The complete state of this run, to resume from.
    fn state(&self) -> Result<Checkpoint> {
        let mut checkpoint = self.trainer.checkpoint()?;
        checkpoint.metadata.insert("recipe".into(), self.recipe.to_toml_of(&**self.trainer.network()));
        for (key, memory) in
            [(GUARD, serde_json::to_string(&self.guard)), (HEALING, serde_json::to_string(&self.healing))]
        {
            checkpoint.metadata.insert(key.into(), memory.expect("plain numbers"));
        }
        if let Some(row) = &self.unscored {
            checkpoint.metadata.insert(UNSCORED.into(), serde_json::to_string(row).expect("plain numbers"));
        }
        self.directory.name_best(&mut checkpoint);
        Ok(checkpoint)
    }

    /// Appends rows of metrics with the time `clock`; `evaluation` and `fresh` belong to the last.
    fn record(
        &mut self,
        arrived: &[Metrics],
        evaluation: Option<&Evaluation>,
        fresh: Option<&FreshEnergies>,
        clock: Clock,
    ) {
        for (index, metrics) in arrived.iter().enumerate() {
            let is_last = index + 1 == arrived.len();
            self.directory.record(metrics, clock, evaluation.filter(|_| is_last), fresh.filter(|_| is_last));
            self.last = Some(*metrics);
            let present = |value: f64| (!value.is_nan()).then_some(value);
            self.status = Status {
                phase: None,
                loss: present(metrics.loss),
                energy_gap: present(metrics.energy_gap()),
                accuracy: present(metrics.accuracy),
                images_per_second: present(clock.images_per_second),
            };
            self.progress.update(metrics.iteration + 1, &self.status);
        }
        self.warn();
    }

    /// Records the evaluation on the held-out images; keeps the model if it is the best so far.
    fn keep_best(&mut self, evaluation: Evaluation) -> Result<()> {
        let iteration = self.trainer.iteration();
        let details = json!({"accuracy": evaluation.accuracy, "cross_entropy": evaluation.cross_entropy});
        self.directory.event("validation", iteration, details);
        if !evaluation.accuracy.is_nan() {
            self.progress.validation(iteration, evaluation.accuracy);
        }
        // For an energy without classes the latest model is kept: no metric here ranks models of a density.
        // A model from before log p(x) has its full weight gives way to any later one.
        let complete = self.recipe.p_x_complete();
        let is_best = |best: &Best| {
            evaluation.accuracy.is_nan()
                || evaluation.accuracy > best.evaluation.accuracy
                || best.iteration < complete
        };
        if self.directory.best().is_none_or(is_best) {
            self.directory.keep_best(iteration, evaluation, self.trainer.model_with_chains()?);
        }
        Ok(())
    }

    /// Reads the gallery, and passes it to the progress.
    fn look(&mut self) -> Result<(Vec<f32>, Option<usize>)> {
        let began = Instant::now();
        let (images, columns) = self.trainer.gallery()?;
        let iteration = self.trainer.iteration();
        self.progress.samples(iteration, &images, self.shape, columns, began.elapsed());
        Ok((images, columns))
    }

    fn picture(&mut self) -> Result<Option<PathBuf>> {
        let (images, columns) = self.look()?;
        if images.is_empty() {
            return Ok(None);
        }
        self.directory.samples(self.trainer.iteration(), &images, self.shape, columns)
    }

    /// Writes a checkpoint; `None` if the disk refused it, in which case training continues.
    fn checkpoint(&mut self) -> Result<Option<PathBuf>> {
        let (iteration, keep) = (self.trainer.iteration(), self.recipe.keep);
        let mut checkpoint = self.state()?;
        self.directory.curves(iteration, &self.title);
        self.directory.keep_snapshots(iteration, &self.snapshots);
        Ok(self.directory.checkpoint(iteration, &mut checkpoint, keep))
    }

    /// Writes the final checkpoint, which must succeed.
    fn last_checkpoint(&mut self) -> Result<PathBuf> {
        let (iteration, keep) = (self.trainer.iteration(), self.recipe.keep);
        let mut checkpoint = self.state()?;
        self.directory.last_checkpoint(iteration, &mut checkpoint, keep)
    }

    /// Reports failed writes.
    fn warn(&mut self) {
        self.directory.warnings().iter().for_each(|warning| self.progress.warn(warning));
    }
}
