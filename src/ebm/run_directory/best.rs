//! Which model is best on the held-out images: kept beside the run, and named by each checkpoint.

use super::{BEST, BEST_MODEL, BEST_SO_FAR, RunDirectory, VALIDATION};
use crate::ebm::Evaluation;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::io::checkpoint::{self, Checkpoint};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The model that is best on the held-out images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Iterations done when it was evaluated.
    pub iteration: u64,
    /// Its figures.
    pub evaluation: Evaluation,
}

impl RunDirectory {
    /// Makes the best model that of `state` after `done` iterations, and removes later ones.
    pub(super) fn choose_best(&mut self, done: u64, state: Option<&Checkpoint>) -> Result<()> {
        (self.best, self.best_on_disk) = (None, None);
        // Those of iterations that will be done again.
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
            // Checkpoints of older versions do not say.
            None => None,
        };
        match self.restore_best(named) {
            Ok(()) => self.best = named.or_else(|| read_best(&self.best_path()).ok()),
            Err(error) => {
                self.best = read_best(&self.best_path()).ok();
                self.warnings.push(format!("{error}; the best model is chosen anew"));
                self.event("best_model_lost", done, json!({"message": error.to_string()}));
            }
        }
        self.best = self.best.filter(|best| best.iteration <= done);
        self.best_on_disk = self.best.map(|best| best.iteration);
        Ok(())
    }

    /// Makes `best.safetensors` the model that a checkpoint has `named`.
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

    /// Notes in a checkpoint which model is the best so far.
    pub fn name_best(&self, checkpoint: &mut Checkpoint) {
        let best = self.best.map(|best| toml::to_string(&best).expect("plain numbers")).unwrap_or_default();
        checkpoint.metadata.insert(BEST_SO_FAR.into(), best);
    }

    /// The best model so far, if there was an evaluation.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// The best model, which must be written at the end.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be, and what to do.
    pub fn last_best(&mut self) -> Result<()> {
        self.save_best().map_err(|error| self.unwritten(BEST_MODEL, error))
    }

    /// Makes `model` the best so far, and writes it.
    pub fn keep_best(&mut self, iteration: u64, evaluation: Evaluation, mut model: Checkpoint) {
        let figures = serde_json::to_string(&evaluation).expect("plain numbers");
        model.metadata.insert(VALIDATION.into(), figures);
        (self.best, self.unsaved) = (Some(Best { iteration, evaluation }), Some(model));
        let result = self.save_best();
        self.attempt(BEST_MODEL, iteration, result);
    }

    /// Writes the best model, if that is still to be done. The one before stays beside the checkpoints, some of which
    /// name it.
    pub(super) fn save_best(&mut self) -> Result<()> {
        let (Some(model), Some(best)) = (&self.unsaved, self.best) else { return Ok(()) };
        let path = self.best_path();
        if let Some(before) = self.best_on_disk.filter(|before| *before != best.iteration && path.exists()) {
            let aside = checkpoint::numbered(&self.checkpoints(), BEST, before);
            // One of a run that went on from here with other settings.
            let _ = std::fs::remove_file(&aside);
            let linked = std::fs::hard_link(&path, &aside);
            // Some file systems have no links.
            linked.or_else(|_| std::fs::copy(&path, &aside).map(drop)).map_err(Error::io(&aside))?;
            atomic::sync_directory(&self.checkpoints()).map_err(Error::io(&aside))?;
        }
        model.save(&path)?;
        (self.best_on_disk, self.unsaved) = (Some(best.iteration), None);
        self.failing.remove(BEST_MODEL);
        Ok(())
    }

    /// Where the best model is.
    pub fn best_path(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }
}

/// What a best model says of itself.
pub(super) fn read_best(path: &Path) -> Result<Best> {
    let model = Checkpoint::load(path)?;
    let number = model.text(path, "iteration")?.parse().ok();
    let evaluation = serde_json::from_str(model.text(path, VALIDATION)?).ok();
    let best = number.zip(evaluation).map(|(iteration, evaluation)| Best { iteration, evaluation });
    best.ok_or_else(|| Error::file(path, "its metadata iteration and validation are not numbers"))
}
