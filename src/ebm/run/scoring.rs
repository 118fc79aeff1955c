//! Scores the models of a run: on the held-out images while it trains, on the test images at its end.

use super::{EVALUATION_BATCH, Run};
use crate::data::Dataset;
use crate::ebm::{Evaluation, REPLAY_BUFFER, Start};
use crate::error::Result;
use crate::io::checkpoint::Checkpoint;
use std::sync::atomic::Ordering;

impl Run<'_> {
    /// Scores the held-out images with the model as it is now.
    pub(super) fn validate(&mut self) -> Result<Evaluation> {
        let (progress, total) = (&mut self.progress, self.held_out.len());
        let shown = |done| {
            progress.scoring("held-out images", done, total);
            true
        };
        Ok(self.validation.evaluate_while(shown)?.expect("nothing stops it"))
    }

    /// Scores the best model on `test`; `None` if interrupted.
    pub(super) fn score_best(&mut self, test: &Dataset, losses: &mut u32) -> Result<Option<Evaluation>> {
        let path = self.directory.best_path();
        let model = Checkpoint::load_without(&path, &[REPLAY_BUFFER])?;
        let layout = self.trainer.network().layout();
        let flat = layout.gather(|parameter| model.f32(&path, &parameter.name, &parameter.file_shape()))?;
        self.score_to_the_end(test, &flat, losses)
    }

    /// Scores the model that the run started from on `test`; `None` if interrupted.
    pub(super) fn score_start(
        &mut self,
        start: &Start,
        test: &Dataset,
        losses: &mut u32,
    ) -> Result<Option<Evaluation>> {
        let flat = start.parameters(&self.trainer.network().layout(), &self.trainer.parameters()?)?;
        self.score_to_the_end(test, &flat, losses)
    }

    /// Scores `test` with the parameters `flat`, on a new device if one is lost; `None` if interrupted.
    fn score_to_the_end(
        &mut self,
        test: &Dataset,
        flat: &[f32],
        losses: &mut u32,
    ) -> Result<Option<Evaluation>> {
        loop {
            match self.score(test, flat) {
                Err(error) => {
                    let (device, message) = self.lost(error, losses)?;
                    self.open_again(&device, message)?;
                }
                scored => return scored,
            }
        }
    }

    /// Scores `test` with the parameters `flat`; `None` if interrupted.
    fn score(&mut self, test: &Dataset, flat: &[f32]) -> Result<Option<Evaluation>> {
        self.trainer.set_parameters(flat)?;
        let (progress, stop) = (&mut self.progress, self.options.stop);
        let goes_on = |done| {
            progress.scoring("test images", done, test.len());
            !stop.load(Ordering::Relaxed)
        };
        let scored = self.trainer.evaluator(test, EVALUATION_BATCH)?.evaluate_while(goes_on);
        self.progress.scoring("test images", test.len(), test.len());
        scored
    }
}
