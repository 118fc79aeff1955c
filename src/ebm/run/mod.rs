//! A training run from its first iteration to its last, with its records.

mod begin;
mod end;
mod faults;
mod fresh;
mod options;
mod records;
mod scoring;
mod stopwatch;

use super::run_directory::{Clock, RunDirectory};
use super::{Evaluator, Fault, FreshChains, Guard, Healing, Metrics, Recipe, Trainer};
use crate::data::Dataset;
use crate::error::Result;
use crate::io::checkpoint::Checkpoint;
use crate::report::progress::Progress;
use crate::report::status::{Phase, Status};
use crate::words::is;
pub use begin::run;
pub use options::{Outcome, RunOptions};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use stopwatch::Stopwatch;

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
    stopwatch: Stopwatch,
    last: Option<Metrics>,
    /// The last row of metrics, if its evaluation was stopped.
    unscored: Option<(Metrics, Clock)>,
    /// The figures of the last iteration.
    status: Status,
    /// Whether the session ends before the run does.
    interrupted: bool,
    /// How often this session has lost its device.
    losses: u32,
    /// The path of the last picture of samples.
    samples: Option<PathBuf>,
    /// The checkpoint of the state as it is now; `None` if there is none yet.
    newest: Option<PathBuf>,
    options: RunOptions<'a>,
}

/// The tasks that are due after an iteration.
struct Due {
    evaluation: bool,
    samples: bool,
    checkpoint: bool,
    snapshot: bool,
}

impl Due {
    /// The tasks after `done` of `total` iterations: all of them after the last.
    fn after(done: u64, total: u64, recipe: &Recipe) -> Self {
        let due = |every: u64| done.is_multiple_of(every) || done == total;
        Self {
            evaluation: due(recipe.evaluate_every),
            samples: due(recipe.sample_every),
            checkpoint: due(recipe.checkpoint_every),
            snapshot: due(recipe.snapshot_every),
        }
    }

    fn is_any(&self) -> bool {
        self.evaluation || self.samples || self.checkpoint || self.snapshot
    }
}

impl Run<'_> {
    fn train(mut self, total: u64, test: &Dataset) -> Result<Outcome> {
        let complete = !self.goes_on(total);
        if complete {
            let (done, out) = (self.trainer.iteration(), self.options.out.display());
            let asked = if done > total { format!(", {total} were asked for") } else { String::new() };
            let all = if done == 1 { "its iteration".to_owned() } else { format!("all {done} iterations") };
            self.progress.note(&format!("{out} is complete: {all} {} done{asked}", is(done as usize)));
        }
        while self.goes_on(total) && !self.interrupted {
            let advanced = match self.advance(total) {
                Ok(None) => Ok(()),
                Ok(Some(fault)) => self.heal(fault),
                Err(error) => Err(error),
            };
            if let Err(error) = advanced {
                let (device, message) = self.lost(error)?;
                self.reopen(&device, message)?;
            }
        }
        self.end(complete, test)
    }

    /// Whether an iteration, or the evaluation of one, is left.
    fn goes_on(&self, total: u64) -> bool {
        self.trainer.iteration() < total || self.unscored.is_some()
    }

    /// Runs one iteration and the tasks that are due after it, or only the tasks, if an earlier session was stopped in
    /// them. Returns a fault that the metrics show.
    fn advance(&mut self, total: u64) -> Result<Option<Fault>> {
        let unscored = self.unscored.take();
        if unscored.is_none() {
            if let Some(visit) = &mut self.options.visit {
                visit(&mut self.trainer)?;
            }
            if !self.iterate()? {
                return self.stop();
            }
            self.stopwatch.count();
        }
        self.newest = None;
        let due = Due::after(self.trainer.iteration(), total, &self.recipe);
        if due.is_any() {
            return self.run_tasks(&due, total, unscored);
        }
        if let Some((row, clock)) = unscored {
            self.record(&[row], None, None, clock);
            return Ok(None);
        }
        if self.progress.wants_samples() {
            let began = Instant::now();
            self.look()?;
            self.stopwatch.set_aside(began);
        }
        let arrived = self.trainer.metrics()?;
        self.record(&arrived, None, None, self.clock());
        Ok(self.check(&arrived))
    }

    /// Runs the tasks that are due after an iteration; `unscored` is its row of metrics if an earlier session was
    /// stopped in them.
    fn run_tasks(
        &mut self,
        due: &Due,
        total: u64,
        unscored: Option<(Metrics, Clock)>,
    ) -> Result<Option<Fault>> {
        let done = self.trainer.iteration();
        let resumed = unscored.is_some();
        let (arrived, clock) = match unscored {
            Some((row, clock)) => (vec![row], clock),
            // The time of the evaluation is not the iteration's.
            None => (self.trainer.finish_metrics()?, self.clock()),
        };
        // Only a healthy state may be saved or evaluated: check all metrics first. An earlier session has checked the
        // row whose evaluation was stopped.
        if !resumed && let Some(fault) = self.check(&arrived) {
            self.record(&arrived, None, None, clock);
            return Ok(Some(fault));
        }
        let began = Instant::now();
        let (mut evaluation, mut fresh) = (None, None);
        if due.evaluation {
            let Some(scored) = self.validate()? else { return self.leave_unscored(&arrived, clock) };
            let classes = self.trainer.network().classes();
            // An energy without classes has no accuracy to lose.
            if classes > 1
                && let Err(fault) = self.guard.check_validation(&self.recipe, classes, done, &scored)
            {
                self.record(&arrived, Some(&scored), None, clock);
                return Ok(Some(fault));
            }
            if let Some(longest) = self.recipe.fresh_chains_due(done, total) {
                fresh = self.follow_fresh_chains(longest)?;
                if fresh.is_none() {
                    return self.leave_unscored(&arrived, clock);
                }
            }
            self.keep_best(scored)?;
            evaluation = Some(scored);
        }
        self.record(&arrived, evaluation.as_ref(), fresh.as_ref(), clock);
        if due.samples {
            // The session that was stopped may have drawn them.
            let drawn = Some(self.directory.samples_path(done)).filter(|path| resumed && path.exists());
            self.samples = if drawn.is_some() { drawn } else { self.picture()? };
        }
        self.ease()?;
        if due.checkpoint {
            if done.is_multiple_of(self.recipe.checkpoint_every) {
                // A run that resumes from this checkpoint has no earlier snapshots, so this run drops them too.
                self.snapshots.clear();
            }
            self.newest = self.checkpoint()?;
        } else if due.snapshot {
            self.snapshots.push_back((done, self.state()?));
            if self.snapshots.len() > SNAPSHOTS {
                self.snapshots.pop_front();
            }
        }
        self.stopwatch.set_aside(began);
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
    fn leave_unscored(&mut self, arrived: &[Metrics], clock: Clock) -> Result<Option<Fault>> {
        let (last, before) = arrived.split_last().expect("the metrics of this iteration");
        self.record(before, None, None, clock);
        self.unscored = Some((*last, clock));
        self.stop()
    }

    /// Ends the session after the iterations that are done: records their metrics, draws the last samples and writes a
    /// checkpoint. Returns a fault that these metrics show, in which case the session does not end.
    fn stop(&mut self) -> Result<Option<Fault>> {
        let arrived = self.trainer.finish_metrics()?;
        self.record(&arrived, None, None, self.clock());
        if let Some(fault) = self.check(&arrived) {
            return Ok(Some(fault));
        }
        let done = self.trainer.iteration();
        let drawn = done.is_multiple_of(self.recipe.sample_every) && self.unscored.is_none();
        if self.stopwatch.has_run() && !drawn {
            self.samples = self.picture()?;
        }
        if self.newest.is_none() {
            self.newest = self.checkpoint()?;
        }
        self.interrupted = true;
        Ok(None)
    }

    /// The first fault that the metrics show.
    fn check(&mut self, arrived: &[Metrics]) -> Option<Fault> {
        arrived.iter().find_map(|metrics| self.guard.check(self.trainer.recipe(), metrics).err())
    }
}
