//! The fresh chains of a run's evaluations.

use super::Run;
use crate::ebm::FreshEnergies;
use crate::error::Result;
use serde_json::json;
use std::sync::atomic::Ordering;

impl Run<'_> {
    /// Follows the fresh chains that are due after an evaluation; `None` without any, and if interrupted.
    pub(super) fn follow_fresh_chains(&mut self, total: u64) -> Result<Option<FreshEnergies>> {
        let stop = self.options.stop;
        self.follow_while(total, || !stop.load(Ordering::Relaxed))
    }

    /// Follows the fresh chains that are due after an evaluation; `None` without any, and if `goes_on` returns false.
    fn follow_while(&mut self, total: u64, goes_on: impl Fn() -> bool) -> Result<Option<FreshEnergies>> {
        let due = self.recipe.fresh_chains_due(self.trainer.iteration(), total);
        let Some(longest) = due else { return Ok(None) };
        // A remedy changes SGLD, a lost device or a rollback to the beginning the trainer.
        let fresh = match self.fresh.take().filter(|fresh| self.trainer.is_followed_by(fresh)) {
            Some(fresh) => fresh,
            None => self.trainer.fresh_chains()?,
        };
        let progress = &mut self.progress;
        let energies = fresh.run(longest, |done, steps| {
            progress.scoring("fresh chains: SGLD step", done, steps);
            goes_on()
        });
        self.fresh = Some(fresh);
        let energies = energies?;
        if let Some(FreshEnergies([k, k10, k100])) = energies {
            // JSON has no NaN, for lengths that were not due, and no infinity, for a chain that diverged.
            let number = |energy: f64| if energy.is_infinite() { json!("inf") } else { json!(energy) };
            let details = json!({"k": number(k), "10k": number(k10), "100k": number(k100)});
            self.directory.event("fresh_chains", self.trainer.iteration(), details);
        }
        Ok(energies)
    }

    /// Follows the fresh chains of the last evaluation, if an earlier session was interrupted in them. Returns false if
    /// this session is interrupted in them too.
    pub(super) fn finish_fresh_chains(&mut self, total: u64) -> Result<bool> {
        let iteration = self.trainer.iteration();
        let is_evaluated = iteration.is_multiple_of(self.recipe.evaluate_every) || iteration == total;
        if !self.options.resume || !is_evaluated || !self.directory.lacks_fresh() {
            return Ok(true);
        }
        let complete = iteration >= total && self.directory.has_ended(iteration);
        if complete || self.recipe.fresh_chains_due(iteration, total).is_none() {
            return Ok(true);
        }
        // A stop from before this session ends it after an iteration.
        let (stop, before) = (self.options.stop, self.options.stop.load(Ordering::Relaxed));
        match self.follow_while(total, || before || !stop.load(Ordering::Relaxed))? {
            Some(fresh) => self.directory.record_fresh(&fresh),
            None => return Ok(false),
        }
        Ok(true)
    }
}
