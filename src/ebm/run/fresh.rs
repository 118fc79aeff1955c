//! The fresh chains of a run's evaluations.

use super::Run;
use crate::ebm::FreshEnergies;
use crate::error::Result;
use std::sync::atomic::Ordering;

impl Run<'_> {
    /// Follows the fresh chains that are due after an evaluation; `None` without any, and if interrupted.
    pub(super) fn follow_fresh_chains(&mut self, total: u64) -> Result<Option<FreshEnergies>> {
        let due = self.recipe.fresh_chains_due(self.trainer.iteration(), total);
        let Some(longest) = due else { return Ok(None) };
        // A remedy changes SGLD, a lost device or a rollback to the beginning the trainer.
        let fresh = match self.fresh.take().filter(|fresh| self.trainer.is_followed_by(fresh)) {
            Some(fresh) => fresh,
            None => self.trainer.fresh_chains()?,
        };
        let (progress, stop) = (&mut self.progress, self.options.stop);
        let energies = fresh.run(longest, |done, steps| {
            progress.scoring("fresh chains: SGLD step", done, steps);
            !stop.load(Ordering::Relaxed)
        });
        self.fresh = Some(fresh);
        energies
    }

    /// Follows the fresh chains of the last evaluation, if the run was interrupted in them.
    pub(super) fn finish_fresh_chains(&mut self, total: u64) -> Result<()> {
        let iteration = self.trainer.iteration();
        let is_evaluated = iteration.is_multiple_of(self.recipe.evaluate_every) || iteration == total;
        if self.resumed.is_none() || !is_evaluated || !self.directory.lacks_fresh() {
            return Ok(());
        }
        if iteration >= total && self.directory.has_ended(iteration) {
            return Ok(());
        }
        if let Some(fresh) = self.follow_fresh_chains(total)? {
            self.directory.record_fresh(&fresh);
        }
        Ok(())
    }
}
