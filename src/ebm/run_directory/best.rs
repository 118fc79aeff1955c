//! The best model on the held-out images: saved in the run directory, and named by each checkpoint.

use super::{BEST, BEST_MODEL, BEST_SO_FAR, RunDirectory, VALIDATION};
use crate::ebm::trained::PICTURE_SIZE;
use crate::ebm::{Evaluation, REPLAY_BUFFER};
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::io::checkpoint::{self, Checkpoint};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The best model on the held-out images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The number of iterations of training before its evaluation.
    pub iteration: u64,
    /// Its scores.
    pub evaluation: Evaluation,
}

impl RunDirectory {
    /// Restores the best model of `state`, after `done` iterations, and removes later ones.
    pub(super) fn choose_best(&mut self, done: u64, state: Option<&Checkpoint>) -> Result<()> {
        (self.best, self.best_on_disk) = (None, None);
        // Remove models of iterations that will be repeated.
        for (iteration, path) in checkpoint::list_numbered(&self.checkpoints(), BEST)? {
            if iteration > done {
                std::fs::remove_file(&path).map_err(Error::io(path))?;
            }
        }
        let Some(state) = state else { return Ok(()) };
        let named = match state.metadata.get(BEST_SO_FAR).map(String::as_str) {
            Some("") => return Ok(()),
            Some(text) => {
                let best = toml::from_str::<Best>(text);
                let wrong = |error| Error::file(&self.path, format!("metadata {BEST_SO_FAR}: {error}"));
                Some(best.map_err(wrong)?)
            }
            // Checkpoints of earlier versions do not name it.
            None => None,
        };
        match self.restore_best(named) {
            Ok(()) => self.best = named.or_else(|| read_best(&self.best_path()).ok()),
            Err(error) => {
                self.best = read_best(&self.best_path()).ok();
                self.warnings.push(format!("{error}; the best model is chosen again"));
                self.event("best_model_lost", done, json!({"message": error.to_string()}));
            }
        }
        self.best = self.best.filter(|best| best.iteration <= done);
        self.best_on_disk = self.best.map(|best| best.iteration);
        Ok(())
    }

    /// Makes `best.safetensors` the model that a checkpoint `named`.
    fn restore_best(&self, named: Option<Best>) -> Result<()> {
        let Some(named) = named else { return Ok(()) };
        let path = self.best_path();
        let found = match read_best(&path) {
            Ok(found) if found.iteration == named.iteration => return Ok(()),
            found => found,
        };
        let aside = checkpoint::numbered(&self.checkpoints(), BEST, named.iteration);
        if let Err(error) = read_best(&aside) {
            return Err(found.err().unwrap_or(error));
        }
        std::fs::rename(&aside, &path).map_err(Error::io(&aside))?;
        atomic::sync_directory(&self.path).map_err(Error::io(&self.path))
    }

    /// Records the best model so far in a checkpoint.
    pub fn name_best(&self, checkpoint: &mut Checkpoint) {
        let best = self.best.map(|best| toml::to_string(&best).expect("plain numbers")).unwrap_or_default();
        checkpoint.metadata.insert(BEST_SO_FAR.into(), best);
    }

    /// Records in `checkpoint` the side to which the pictures of the data are scaled, if they are.
    pub(super) fn record_picture_size(&self, checkpoint: &mut Checkpoint) {
        if let Some(size) = self.picture_size {
            checkpoint.metadata.insert(PICTURE_SIZE.into(), size.to_string());
        }
    }

    /// The best model so far; `None` before the first evaluation.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// Writes the best model at the end of a run, which must succeed.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Unwritten`] with a remedy, if it cannot be written.
    pub fn last_best(&mut self) -> Result<()> {
        self.save_best().map_err(|error| self.unwritten(BEST_MODEL, error))
    }

    /// Makes `model` the best so far, and writes it.
    pub fn keep_best(&mut self, iteration: u64, evaluation: Evaluation, mut model: Checkpoint) {
        let figures = serde_json::to_string(&evaluation).expect("plain numbers");
        model.metadata.insert(VALIDATION.into(), figures);
        self.record_picture_size(&mut model);
        (self.best, self.unsaved) = (Some(Best { iteration, evaluation }), Some(model));
        let result = self.save_best();
        self.attempt(BEST_MODEL, iteration, result);
    }

    /// Writes the best model, if it is not written yet. The previous one is kept among the checkpoints, some of which
    /// name it.
    pub(super) fn save_best(&mut self) -> Result<()> {
        let (Some(model), Some(best)) = (&self.unsaved, self.best) else { return Ok(()) };
        let path = self.best_path();
        if let Some(before) = self.best_on_disk.filter(|before| *before != best.iteration && path.exists()) {
            let aside = checkpoint::numbered(&self.checkpoints(), BEST, before);
            // A file of this name is from a run that continued from here with other settings.
            let _ = std::fs::remove_file(&aside);
            let linked = std::fs::hard_link(&path, &aside);
            // Some file systems have no hard links.
            linked.or_else(|_| std::fs::copy(&path, &aside).map(drop)).map_err(Error::io(&aside))?;
            atomic::sync_directory(&self.checkpoints()).map_err(Error::io(&aside))?;
        }
        model.save(&path)?;
        (self.best_on_disk, self.unsaved) = (Some(best.iteration), None);
        self.failing.remove(BEST_MODEL);
        Ok(())
    }

    /// The path of the best model.
    pub fn best_path(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }
}

/// Reads the metadata of a best model.
pub(super) fn read_best(path: &Path) -> Result<Best> {
    let model = Checkpoint::load_without(path, &[REPLAY_BUFFER])?;
    let number = model.text(path, "iteration")?.parse().ok();
    let evaluation = serde_json::from_str(model.text(path, VALIDATION)?).ok();
    let best = number.zip(evaluation).map(|(iteration, evaluation)| Best { iteration, evaluation });
    best.ok_or_else(|| Error::file(path, "its metadata iteration and validation are not numbers"))
}
