//! The end of a session: the last checkpoint, the figures on the test images, the report.

use super::Run;
use crate::data::Dataset;
use crate::ebm::run_directory::Tested;
use crate::ebm::{FreshGap, Outcome};
use crate::error::Result;
use serde_json::json;

impl Run<'_> {
    /// Ends the session. `complete`: whether all iterations were done when it began.
    pub(super) fn end(mut self, complete: bool, test: &Dataset) -> Result<Outcome> {
        self.warn();
        self.progress.finish();
        let iteration = self.trainer.iteration();
        let checkpoint = match self.newest.take() {
            Some(path) => path,
            None => self.last_checkpoint()?,
        };
        // No best model: the disk lost or refused it.
        if self.directory.best().is_none() && !self.interrupted {
            match self.validate()? {
                Some(evaluation) => self.keep_best(evaluation)?,
                None => self.interrupted = true,
            }
        }
        self.directory.last_best()?;
        let recorded = if complete { self.directory.tested(iteration) } else { None };
        let tested = match recorded {
            Some(tested) => tested,
            None => {
                let tested = if self.interrupted { None } else { self.test(test)? };
                // Also true if all iterations are done: the resumed run then scores the test images.
                self.interrupted = tested.is_none();
                let tested = tested.unwrap_or_default();
                self.record_end(&tested);
                tested
            }
        };
        self.warn();
        let best = self.directory.best();
        Ok(Outcome {
            iterations: iteration,
            interrupted: self.interrupted,
            trips: self.healing.trips,
            last: self.last,
            validation: best.map(|best| best.evaluation),
            test: tested.test,
            start: tested.start,
            fresh: self.directory.metrics().ok().as_ref().and_then(FreshGap::last),
            checkpoint,
            best: best.map(|_| self.directory.best_path()),
            samples: self.samples,
            curves: self.directory.curves_path(),
            report: self.directory.report_path(),
        })
    }

    /// Scores the best model, and the model that the run started from, on the images `test`; `None` if interrupted.
    fn test(&mut self, test: &Dataset) -> Result<Option<Tested>> {
        let Some(best) = self.score_best(test)? else { return Ok(None) };
        // A last layer that began at random has no figures to compare.
        let start = match self.options.start.filter(|start| !start.renews() || start.is_fitted()) {
            Some(start) => match self.score_start(start, test)? {
                None => return Ok(None),
                scored => scored,
            },
            None => None,
        };
        Ok(Some(Tested { test: Some(best), start }))
    }

    /// Records the end of the session, and writes the curves and the report.
    fn record_end(&mut self, tested: &Tested) {
        let iteration = self.trainer.iteration();
        self.directory.curves(iteration, &self.title);
        let accuracy = tested.test.map(|test| test.accuracy).filter(|accuracy| !accuracy.is_nan());
        let Tested { test, start } = tested;
        let details = json!({
            "interrupted": self.interrupted, "test_accuracy": accuracy, "test": test, "start": start
        });
        self.directory.event("end", iteration, details);
        self.directory.write_report(iteration);
    }
}
