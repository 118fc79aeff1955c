//! The records that a run keeps: rows of metrics, the best model, pictures, checkpoints.

use super::{GUARD, HEALING, Run};
use crate::ebm::run_directory::{Best, Clock, UNSCORED};
use crate::ebm::{Evaluation, FreshEnergies, Metrics};
use crate::error::Result;
use crate::io::checkpoint::Checkpoint;
use crate::report::status::Status;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

impl Run<'_> {
    /// The time now, and the speed so far.
    pub(super) fn clock(&self) -> Clock {
        self.stopwatch.clock(self.recipe.batch)
    }

    /// The complete state of this run, to resume from.
    pub(super) fn state(&self) -> Result<Checkpoint> {
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
    pub(super) fn record(
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
    pub(super) fn keep_best(&mut self, evaluation: Evaluation) -> Result<()> {
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
    pub(super) fn look(&mut self) -> Result<(Vec<f32>, Option<usize>)> {
        let began = Instant::now();
        let (images, columns) = self.trainer.gallery()?;
        let iteration = self.trainer.iteration();
        self.progress.samples(iteration, &images, self.shape, columns, began.elapsed());
        Ok((images, columns))
    }

    pub(super) fn picture(&mut self) -> Result<Option<PathBuf>> {
        let (images, columns) = self.look()?;
        if images.is_empty() {
            return Ok(None);
        }
        self.directory.samples(self.trainer.iteration(), &images, self.shape, columns)
    }

    /// Writes a checkpoint; `None` if the disk refused it, in which case training continues.
    pub(super) fn checkpoint(&mut self) -> Result<Option<PathBuf>> {
        let (iteration, keep) = (self.trainer.iteration(), self.recipe.keep);
        let mut checkpoint = self.state()?;
        self.directory.curves(iteration, &self.title);
        self.directory.keep_snapshots(iteration, &self.snapshots);
        Ok(self.directory.checkpoint(iteration, &mut checkpoint, keep))
    }

    /// Writes the final checkpoint, which must succeed.
    pub(super) fn last_checkpoint(&mut self) -> Result<PathBuf> {
        let (iteration, keep) = (self.trainer.iteration(), self.recipe.keep);
        let mut checkpoint = self.state()?;
        self.directory.last_checkpoint(iteration, &mut checkpoint, keep)
    }

    /// Reports failed writes.
    pub(super) fn warn(&mut self) {
        self.directory.warnings().iter().for_each(|warning| self.progress.warn(warning));
    }
}
