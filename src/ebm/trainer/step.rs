//! One iteration, which may be stopped until its optimizer step.

use super::loaded::Stoppable;
use super::{Awaited, Trainer};
use crate::device::Executable;
use crate::ebm::programs::METRICS;
use crate::error::Result;
use crate::report::status::Phase;

/// Whether an iteration goes on in a phase.
type GoesOn<'a> = &'a mut dyn FnMut(Phase) -> bool;

/// The end of the part of an iteration that may be stopped.
enum Reached {
    /// The optimizer step has been made.
    Update,
    /// The iteration was stopped before its optimizer step.
    Stopped {
        /// Whether the parameters are the perturbed ones.
        perturbed: bool,
    },
}

impl Trainer {
    /// Queues one iteration: batch, K SGLD steps, update. Does not wait for the device.
    ///
    /// # Errors
    /// An error of the device, in this or an earlier iteration.
    pub fn step(&mut self) -> Result<()> {
        self.step_while(|_| true).map(drop)
    }

    /// Queues one iteration as [`Trainer::step`] does, unless `goes_on` returns false before the optimizer step; returns
    /// whether the iteration was queued. An iteration that is stopped leaves no trace: the trainer is as it was before,
    /// and the next call begins the same iteration again.
    ///
    /// `goes_on` is called with the phase of the iteration wherever it may stop, up to the optimizer step: on the host
    /// before a dispatch, on a GPU before a submission. It must not use the device.
    ///
    /// # Errors
    /// An error of the device, in this or an earlier iteration.
    pub fn step_while(&mut self, mut goes_on: impl FnMut(Phase) -> bool) -> Result<bool> {
        if !goes_on(Phase::Data) {
            return Ok(false);
        }
        let early = self.recipe.is_early(self.iteration);
        let inputs = self.write_inputs(early)?;
        self.sampled = None;
        if let Reached::Stopped { perturbed } = self.learn(early, &mut goes_on)? {
            self.undo(perturbed)?;
            return Ok(false);
        }
        // Only now: an iteration that is stopped leaves the replay buffer as it was.
        if let (Some(scatter), false) = (&self.programs.scatter, early) {
            self.device.run(scatter)?;
        }
        inputs.chains.iter().for_each(|drawn| self.chains.have_run(drawn));
        let chain_age = if early { f64::NAN } else { mean(&self.chains.ages) };
        let metrics = self.buffers.get(METRICS);
        let words = self.device.read_later(metrics, 0, metrics.bytes())?;
        let (iteration, learning_rate, parts) = (self.iteration, inputs.learning_rate, self.parts_now());
        self.pending.push_back(Awaited { iteration, learning_rate, chain_age, parts, words });
        self.sampled = Some(iteration);
        self.iteration += 1;
        Ok(true)
    }

    /// Runs the programs of an iteration up to the optimizer step.
    fn learn(&self, early: bool, goes_on: GoesOn<'_>) -> Result<Reached> {
        // Gather is not stopped: `undo` needs the parameters that it keeps.
        self.device.run(&self.programs.gather)?;
        let stopped = Ok(Reached::Stopped { perturbed: false });
        for program in self.programs.power_iteration.iter().chain([&self.programs.prepare]) {
            if !self.run(program, |_| Phase::Data, goes_on)? {
                return stopped;
            }
        }
        if let (Some(sgld), false) = (&self.programs.sgld, early) {
            let steps = self.recipe.steps;
            for done in 0..steps {
                if !self.run(sgld, |_| Phase::Sgld { done, steps }, goes_on)? {
                    return stopped;
                }
            }
        }
        let (perturb, update) = self.programs.learning(early);
        if let Some(perturb) = perturb {
            if !self.run_stoppable(perturb, |percent| Phase::Perturbation { percent }, goes_on)? {
                return stopped;
            }
            self.device.run(&self.programs.prepare)?;
        }
        match self.run_stoppable(update, |percent| Phase::Update { percent }, goes_on)? {
            true => Ok(Reached::Update),
            false => Ok(Reached::Stopped { perturbed: perturb.is_some() }),
        }
    }

    fn run(&self, program: &Executable, phase: impl Fn(usize) -> Phase, goes_on: GoesOn<'_>) -> Result<bool> {
        self.device.run_while(program, |next| goes_on(phase(next)))
    }

    /// Runs a program, which `goes_on` may stop up to `last_stop`; returns whether it ran to its end. `phase` is called
    /// with the part of the dispatches that are done, in percent.
    fn run_stoppable(
        &self,
        Stoppable { program, last_stop }: &Stoppable,
        phase: impl Fn(u8) -> Phase,
        goes_on: GoesOn<'_>,
    ) -> Result<bool> {
        let dispatches = program.program().dispatches.len();
        let phase = |next: usize| phase((100 * next / dispatches.max(1)) as u8);
        self.device.run_while(program, |next| next > *last_stop || goes_on(phase(next)))
    }

    /// Restores the parameters that an iteration changes before its optimizer step.
    fn undo(&self, perturbed: bool) -> Result<()> {
        let perturbation = self.programs.undo_perturbation.iter().filter(|_| perturbed);
        perturbation.chain(&self.programs.undo_statistics).try_for_each(|program| self.device.run(program))
    }
}

/// The mean; NaN if there are none.
fn mean(ages: &[u32]) -> f64 {
    ages.iter().map(|&age| f64::from(age)).sum::<f64>() / ages.len() as f64
}
