//! Scores the models of a run: on the held-out images while it trains, on the test images at its end.

use super::begin::fitting;
use super::{EVALUATION_BATCH, REFRESH, Run};
use crate::data::Dataset;
use crate::ebm::{Evaluation, REPLAY_BUFFER, Start};
use crate::error::Result;
use crate::io::checkpoint::Checkpoint;
use crate::report::progress::Progress;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Returns a check of `stop` that shows the number of scored images of `part` at each batch, and every [`REFRESH`]
/// within a slow batch.
fn shown<'a>(
    progress: &'a mut dyn Progress,
    stop: &'a AtomicBool,
    part: &'static str,
    total: usize,
) -> impl FnMut(usize) -> bool + 'a {
    let (mut last, mut due) = (None, Instant::now());
    move |done| {
        let begins = done.is_multiple_of(EVALUATION_BATCH) && last != Some(done);
        if begins || Instant::now() >= due {
            (last, due) = (Some(done), Instant::now() + REFRESH);
            progress.scoring(part, done, total);
        }
        !stop.load(Ordering::Relaxed)
    }
}

impl Run<'_> {
    /// Scores the held-out images with the model as it is now; `None` if interrupted.
    pub(super) fn validate(&mut self) -> Result<Option<Evaluation>> {
        let goes_on =
            shown(&mut *self.progress, self.options.stop, "scoring held-out images", self.held_out.len());
        self.validation.evaluate_while(goes_on)
    }

    /// Scores the best model on `test`; `None` if interrupted.
    pub(super) fn score_best(&mut self, test: &Dataset) -> Result<Option<Evaluation>> {
        let path = self.directory.best_path();
        let model = Checkpoint::load_without(&path, &[REPLAY_BUFFER])?;
        let layout = self.trainer.network().layout();
        let flat = layout.gather(|parameter| model.f32(&path, &parameter.name, &parameter.file_shape()))?;
        self.score_to_the_end(test, &flat, "scoring test images")
    }

    /// Scores the model that the run started from on `test`; `None` if interrupted.
    pub(super) fn score_start(&mut self, start: &Start, test: &Dataset) -> Result<Option<Evaluation>> {
        start.apply(&self.trainer, &self.train, fitting(&mut *self.progress))?;
        let flat = self.trainer.parameters()?;
        self.score_to_the_end(test, &flat, "scoring test images: the start")
    }

    /// Scores `test` with the parameters `flat`, shown as `part`, on a new device if one is lost; `None` if interrupted.
    fn score_to_the_end(
        &mut self,
        test: &Dataset,
        flat: &[f32],
        part: &'static str,
    ) -> Result<Option<Evaluation>> {
        loop {
            match self.score(test, flat, part) {
                Err(error) => {
                    let (device, message) = self.lost(error)?;
                    self.open_again(&device, message)?;
                }
                scored => return scored,
            }
        }
    }

    /// Scores `test` with the parameters `flat`, shown as `part`; `None` if interrupted.
    fn score(&mut self, test: &Dataset, flat: &[f32], part: &'static str) -> Result<Option<Evaluation>> {
        self.trainer.set_parameters(flat)?;
        let evaluator = self.trainer.evaluator(test, EVALUATION_BATCH)?;
        let goes_on = shown(&mut *self.progress, self.options.stop, part, test.len());
        let scored = evaluator.evaluate_while(goes_on);
        self.progress.scoring(part, test.len(), test.len());
        scored
    }
}
