//! Finds the state of an earlier run to resume from.

use super::{CHECKPOINT, RunDirectory, SNAPSHOT, UNSCORED};
use crate::ebm::trained::Trained;
use crate::ebm::{Overrides, Preset, Recipe};
use crate::error::{Error, Result};
use crate::io::checkpoint::{self, Checkpoint};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The state in a run directory to resume from.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The newest readable checkpoint; `None` if the run ended before its first.
    pub checkpoint: Option<(PathBuf, Checkpoint)>,
    /// Newer checkpoints that cannot be read, with the error.
    pub damaged: Vec<(PathBuf, Error)>,
}

impl RunDirectory {
    /// Renames damaged checkpoints and restores the best model.
    pub(super) fn go_on(&mut self, recovered: &Recovered) -> Result<()> {
        let done = recovered.iteration();
        for (path, error) in &recovered.damaged {
            // Rotation would count it as one of the checkpoints to keep.
            let aside = path.with_extension("safetensors.damaged");
            std::fs::rename(path, &aside).map_err(Error::io(path))?;
            let used = recovered.checkpoint.as_ref().map(|(path, _)| path.display().to_string());
            let used = used.unwrap_or_default();
            self.warnings
                .push(format!("{error}; renamed to {}; the run resumes from {used}", aside.display()));
            let details =
                json!({"path": path, "message": error.to_string(), "moved_to": aside, "used": used});
            self.event("damaged_checkpoint", done, details);
        }
        let Some((path, checkpoint)) = &recovered.checkpoint else {
            self.warnings.push(format!("{} has no checkpoint yet: from the beginning", self.path.display()));
            return Ok(());
        };
        self.choose_best(done, Some(checkpoint)).map_err(|error| match error {
            Error::File { message, .. } => Error::file(path, message),
            other => other,
        })
    }

    /// The recipe of the run in `path`: its `config.toml`, with `overrides`.
    ///
    /// # Errors
    /// [`Error::File`] if there is no run or its settings are damaged; [`Error::Setting`] if `overrides` name another
    /// recipe.
    pub fn recipe(path: &Path, overrides: &Overrides) -> Result<Recipe> {
        let config = Self::config(path)?;
        let mut recipe = Recipe::of(Preset::Paper, &[&Overrides::from_file(&config)?]);
        if let Some(asked) = overrides.family.filter(|asked| *asked != recipe.family) {
            let message =
                format!("{} is a run of {}, which cannot become {asked}", path.display(), recipe.family);
            return Err(Error::setting("recipe", message));
        }
        recipe.apply(overrides);
        Ok(recipe)
    }

    /// Finds the newest complete checkpoint in run directory `path`. Changes nothing.
    ///
    /// # Errors
    /// [`Error::File`] if there is no run, if none of its checkpoints can be read, with the reason for each, or if the
    /// newest readable one has wrong metadata.
    pub fn recover(path: &Path) -> Result<Recovered> {
        Self::config(path)?;
        let directory = path.join("checkpoints");
        let mut recovered = Recovered::default();
        for (_, path) in checkpoint::list_numbered(&directory, CHECKPOINT)?.into_iter().rev() {
            match Checkpoint::load(&path) {
                Ok(checkpoint) => {
                    Trained::of(&checkpoint.metadata, &path)?;
                    recovered.checkpoint = Some((path, checkpoint));
                    return Ok(recovered);
                }
                Err(error) => recovered.damaged.push((path, error)),
            }
        }
        if recovered.damaged.is_empty() {
            return Ok(recovered);
        }
        let reasons: Vec<String> = recovered.damaged.iter().map(|(_, error)| error.to_string()).collect();
        Err(Error::file(directory, format!("no checkpoint can be read: {}", reasons.join("; "))))
    }

    /// The newest checkpoint in run directory `path`.
    ///
    /// # Errors
    /// [`Error::File`] if there is none.
    pub fn newest_checkpoint(path: &Path) -> Result<PathBuf> {
        let directory = path.join("checkpoints");
        let newest = checkpoint::list_numbered(&directory, CHECKPOINT)?.pop();
        newest.map(|(_, path)| path).ok_or_else(|| Error::file(directory, "no checkpoint to resume from"))
    }

    /// The checkpoints in run directory `path` with their iterations, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list_checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
        checkpoint::list_numbered(&path.join("checkpoints"), CHECKPOINT)
    }

    /// The snapshots that an interrupted run in `path` left, with their iterations, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn snapshots(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
        checkpoint::list_numbered(&path.join("checkpoints"), SNAPSHOT)
    }
}

impl Recovered {
    /// The number of completed iterations.
    pub fn iteration(&self) -> u64 {
        let iteration =
            |(_, checkpoint): &(_, Checkpoint)| checkpoint.metadata.get("iteration")?.parse().ok();
        self.checkpoint.as_ref().and_then(iteration).unwrap_or(0)
    }

    /// The number of complete rows of metrics: the row of the last iteration may lack its evaluation.
    pub(super) fn rows(&self) -> u64 {
        let waits = |(_, checkpoint): &(_, Checkpoint)| checkpoint.metadata.contains_key(UNSCORED);
        self.iteration().saturating_sub(u64::from(self.checkpoint.as_ref().is_some_and(waits)))
    }
}
