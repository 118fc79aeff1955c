//! The fresh chains of a run's evaluations.

use super::Run;
use crate::ebm::FreshEnergies;
use crate::error::Result;
use serde_json::json;
use std::sync::atomic::Ordering;

impl Run<'_> {
    /// Follows fresh chains for `longest` times K steps; returns `None` if they are stopped.
    pub(super) fn follow_fresh_chains(&mut self, longest: usize) -> Result<Option<FreshEnergies>> {
        // A remedy may change SGLD; a lost device or a rollback to the beginning replaces the trainer.
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
        let energies = energies?;
        if let Some(FreshEnergies([k, k10, k100])) = energies {
            // JSON has neither NaN (a length that was not due: null) nor infinity (a chain that diverged).
            let number = |energy: f64| if energy.is_infinite() { json!("inf") } else { json!(energy) };
            let details = json!({"k": number(k), "10k": number(k10), "100k": number(k100)});
            self.directory.event("fresh_chains", self.trainer.iteration(), details);
        }
        Ok(energies)
    }
}
