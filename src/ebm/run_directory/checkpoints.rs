//! Checkpoints, of which the last few are kept, and snapshots.

use super::{BEST, BEST_MODEL, CHECKPOINT, RunDirectory, SNAPSHOT};
use crate::error::{Error, Result};
use crate::io::checkpoint::{self, Checkpoint};
use serde_json::json;
use std::collections::VecDeque;
use std::path::PathBuf;

impl RunDirectory {
    /// Writes a checkpoint and removes all but the last `keep`; returns its path, `None` if the disk refused it.
    /// Earlier checkpoints are kept until the new one is written.
    pub fn checkpoint(
        &mut self,
        iteration: u64,
        checkpoint: &mut Checkpoint,
        keep: usize,
    ) -> Option<PathBuf> {
        let result = self.metrics.sync().and_then(|()| self.events.sync());
        self.attempt("metrics", iteration, result);
        let result = self.save_best();
        self.attempt(BEST_MODEL, iteration, result);
        let result = self.save_checkpoint(iteration, checkpoint, keep);
        self.attempt("checkpoint", iteration, result)
    }

    /// Writes the final checkpoint, which must succeed.
    ///
    /// # Errors
    /// [`Error::Unwritten`] with the file that cannot be written and a remedy.
    pub fn last_checkpoint(
        &mut self,
        iteration: u64,
        checkpoint: &mut Checkpoint,
        keep: usize,
    ) -> Result<PathBuf> {
        let saved = self.save_checkpoint(iteration, checkpoint, keep);
        saved.map_err(|error| self.unwritten("last checkpoint", error))
    }

    pub(super) fn unwritten(&self, what: &str, error: Error) -> Error {
        let Error::Io { path, source } = error else { return error };
        Error::Unwritten { path, source, what: what.to_owned(), run: self.path.clone() }
    }

    fn save_checkpoint(
        &mut self,
        iteration: u64,
        checkpoint: &mut Checkpoint,
        keep: usize,
    ) -> Result<PathBuf> {
        self.name_best(checkpoint);
        self.record_picture_size(checkpoint);
        let directory = self.checkpoints();
        let path = checkpoint::numbered(&directory, CHECKPOINT, iteration);
        checkpoint.save(&path)?;
        self.failing.retain(|what| *what == BEST_MODEL);
        let result = self.rotate(keep);
        self.attempt("rotation", iteration, result);
        self.event("checkpoint", iteration, json!({"path": path}));
        Ok(path)
    }

    /// Removes all but the last `keep` checkpoints, and the models that no remaining checkpoint names as the best.
    fn rotate(&self, keep: usize) -> Result<()> {
        let directory = self.checkpoints();
        checkpoint::rotate(&directory, CHECKPOINT, keep)?;
        let oldest =
            checkpoint::list_numbered(&directory, CHECKPOINT)?.first().map_or(0, |(oldest, _)| *oldest);
        let aside = checkpoint::list_numbered(&directory, BEST)?;
        let numbers = aside.iter().map(|(iteration, _)| *iteration).skip(1).chain(self.best_on_disk);
        for ((_, path), next) in aside.iter().zip(numbers) {
            if next <= oldest {
                std::fs::remove_file(path).map_err(Error::io(path))?;
            }
        }
        Ok(())
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Replaces the snapshots on disk.
    pub fn keep_snapshots(&mut self, iteration: u64, all: &VecDeque<(u64, Checkpoint)>) {
        let directory = self.checkpoints();
        let write = || {
            for (_, path) in Self::snapshots(&self.path)? {
                std::fs::remove_file(&path).map_err(Error::io(path))?;
            }
            all.iter().try_for_each(|(number, snapshot)| {
                snapshot.save(&checkpoint::numbered(&directory, SNAPSHOT, *number))
            })
        };
        let result = write();
        self.attempt("snapshots", iteration, result);
    }
}
