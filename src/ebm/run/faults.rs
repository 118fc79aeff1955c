//! Faults of a run: it rolls back, changes a setting and continues, or gives up.

use super::begin::{fitting, memory};
use super::{EVALUATION_BATCH, GUARD, Run};
use crate::ebm::guard::WINDOW;
use crate::ebm::run_directory::UNSCORED;
use crate::ebm::{Fault, Guard, RunDirectory, Trainer};
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::words::counted;
use serde_json::json;
use std::path::Path;

impl Run<'_> {
    /// Rolls back to before a fault and continues with a new random stream and the next remedy, or gives up.
    pub(super) fn heal(&mut self, fault: Fault) -> Result<()> {
        let Fault { iteration, onset, message } = fault;
        if !self.recipe.guard || self.healing.trips >= self.recipe.max_trips {
            return self.give_up(iteration, &message);
        }
        let target = self.healing.target(onset, iteration, WINDOW as u64);
        let remedy = self.healing.escalate(&self.recipe);
        let adopted = self.trainer.adopt(&self.healing.treat(&self.recipe));
        let mut returned = adopted.and_then(|()| self.go_back(target));
        // A device that is lost meanwhile is opened again with the remedy in force.
        let to = loop {
            match returned {
                Ok(to) => break to,
                Err(error) => {
                    let (device, message) = self.lost(error)?;
                    self.open_again(&device, message)?;
                    returned = self.go_back(target);
                }
            }
        };
        self.trainer.set_random_stream(self.healing.trips);
        self.healing.returned(to, iteration);
        let trips = self.healing.trips;
        let details = json!({"fault": message, "back_to": to, "remedy": remedy, "trips": trips,
            "in_force": self.healing.names(&self.recipe)});
        self.directory.event("healed", iteration, details);
        self.progress.note(&format!(
            "iteration {iteration}: {message}; back to {to} with {remedy} (fault {trips} of at most {})",
            self.recipe.max_trips
        ));
        Ok(())
    }

    /// Restores the newest state of at most `target` iterations; returns its number of iterations.
    fn go_back(&mut self, target: u64) -> Result<u64> {
        self.newest = None;
        self.snapshots.retain(|(iteration, _)| *iteration <= target);
        let to = match self.snapshots.back() {
            Some((iteration, snapshot)) => {
                self.trainer.restore(snapshot, Path::new("a snapshot"))?;
                self.guard = memory(snapshot, GUARD);
                self.directory.go_back(*iteration, Some(snapshot))?;
                *iteration
            }
            None => self.restore_checkpoint(target)?,
        };
        Ok(to)
    }

    /// Restores the newest readable checkpoint of at most `target` iterations, or the initial state.
    fn restore_checkpoint(&mut self, target: u64) -> Result<u64> {
        for (iteration, path) in RunDirectory::list_checkpoints(self.directory.path())?.into_iter().rev() {
            // Skip checkpoints of an interruption: an uninterrupted run does not have them.
            if iteration > target || !iteration.is_multiple_of(self.recipe.checkpoint_every) {
                continue;
            }
            let restored = Checkpoint::load(&path).and_then(|checkpoint| {
                let complete = !checkpoint.metadata.contains_key(UNSCORED);
                if complete {
                    self.trainer.restore(&checkpoint, &path)?;
                }
                Ok(complete.then_some(checkpoint))
            });
            match restored {
                // Skip checkpoints of an interrupted evaluation too.
                Ok(None) => {}
                Ok(Some(checkpoint)) => {
                    self.guard = memory(&checkpoint, GUARD);
                    self.directory.go_back(iteration, Some(&checkpoint))?;
                    return Ok(iteration);
                }
                Err(error) => self.progress.warn(&format!("skipping a checkpoint: {error}")),
            }
        }
        let recipe = self.trainer.recipe().clone();
        self.trainer = {
            let network = self.trainer.network().clone();
            Trainer::with_network(self.trainer.device(), &recipe, network, &self.train)?
        };
        if let Some(start) = self.options.start {
            start.apply(&self.trainer, &self.train, fitting(&mut *self.progress))?;
        }
        self.validation = self.trainer.evaluator(&self.held_out, EVALUATION_BATCH)?;
        self.guard = Guard::new();
        self.directory.go_back(0, None)?;
        Ok(0)
    }

    fn give_up(&mut self, iteration: u64, message: &str) -> Result<()> {
        let (trips, most) = (self.healing.trips, self.recipe.max_trips);
        let why = match self.recipe.guard {
            true => {
                let (faults, were) = (counted(trips, "fault"), if trips == 1 { "was" } else { "were" });
                format!("{message}, after {faults} that {were} healed (max_trips is {most})")
            }
            false => format!("{message}, and guard is off"),
        };
        self.directory.event("diverged", iteration, json!({"message": why}));
        self.directory.write_report(iteration);
        self.progress.finish();
        let good = RunDirectory::newest_checkpoint(self.directory.path());
        let good = good.map_or("there is no checkpoint yet".into(), |path| {
            format!("the last good checkpoint is {}", path.display())
        });
        let best = match self.directory.best() {
            Some(best) => {
                let accuracy = best.evaluation.accuracy;
                let figures = match accuracy.is_nan() {
                    true => String::new(),
                    false => format!(" ({:.1}% on held-out images)", 100.0 * accuracy),
                };
                format!("the best model{figures} is {}", self.directory.best_path().display())
            }
            None => "no model was scored yet".into(),
        };
        Err(Error::Diverged { iteration, message: format!("{why}; {good}; {best}") })
    }

    /// Undoes a remedy after a period without faults.
    pub(super) fn ease(&mut self) -> Result<()> {
        let iteration = self.trainer.iteration();
        let Some(remedy) = self.healing.ease(&self.recipe, iteration) else { return Ok(()) };
        self.trainer.adopt(&self.healing.treat(&self.recipe))?;
        let details = json!({"without": remedy, "in_force": self.healing.names(&self.recipe)});
        self.directory.event("eased", iteration, details);
        self.progress.note(&format!("iteration {iteration}: no fault for long enough; undoing {remedy}"));
        Ok(())
    }

    /// Counts the loss of a device and returns its name and message. Returns `error` if it is another error, or if the
    /// session has lost devices `max_trips` times.
    pub(super) fn lost(&mut self, error: Error) -> Result<(String, String)> {
        match error {
            Error::DeviceLost { device, message } if self.losses < self.recipe.max_trips => {
                self.losses += 1;
                Ok((device, message))
            }
            other => Err(other),
        }
    }

    /// Reopens a lost device, and continues from the newest state in memory or on disk.
    pub(super) fn reopen(&mut self, device: &str, message: String) -> Result<()> {
        let iteration = self.trainer.iteration();
        self.open_again(device, message)?;
        let to = self.go_back(iteration)?;
        self.trainer.set_random_stream(self.healing.trips);
        let details = json!({"device": self.trainer.device().name(), "back_to": to});
        self.directory.event("device reopened", iteration, details);
        self.progress.note(&format!("iteration {iteration}: training continues from iteration {to}"));
        Ok(())
    }

    /// Reopens a lost device, with a trainer in its initial state.
    pub(super) fn open_again(&mut self, device: &str, message: String) -> Result<()> {
        let iteration = self.trainer.iteration();
        self.directory.event("device lost", iteration, json!({"device": device, "message": message}));
        let Some(reopen) = self.options.reopen else {
            return Err(Error::DeviceLost { device: device.to_owned(), message });
        };
        self.trainer = {
            let network = self.trainer.network().clone();
            Trainer::with_network(&reopen()?, &self.healing.treat(&self.recipe), network, &self.train)?
        };
        self.validation = self.trainer.evaluator(&self.held_out, EVALUATION_BATCH)?;
        self.progress
            .note(&format!("iteration {iteration}: {device} was lost ({message}); it has been opened again"));
        Ok(())
    }
}
