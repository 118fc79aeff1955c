//! Saves and restores the state of a trainer.

use super::Trainer;
use crate::ebm::model::{CLASS_NAMES, REPLAY_BUFFER};
use crate::ebm::programs::REPLAY;
use crate::ebm::trained::{self, CHAIN_AGES, ITERATION, RANDOM_STREAM, RECIPE, Trained};
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::io::pack;
use crate::io::safetensors::FORMAT;
use crate::nn::architecture::Architecture;
use crate::nn::network::{KIND, SETTINGS};
use crate::nn::optimizer::Optimizer;
use crate::nn::parameters::PARAMETERS;
use std::collections::BTreeSet;
use std::path::Path;

/// The prefix of the names of parameters in training, where their moving averages have the plain names.
const RAW: &str = "raw.";

/// Whether a tensor of a checkpoint belongs to the training's state rather than to the network: the replay buffer, the
/// ages of its chains, the optimizer's state, the weights beside their moving averages.
pub(in crate::ebm) fn is_training_state(name: &str) -> bool {
    let optimizers = [Optimizer::adam(), Optimizer::sgd(0.9)];
    let mut slots = optimizers.iter().flat_map(|optimizer| optimizer.state());
    name == REPLAY_BUFFER
        || name == CHAIN_AGES
        || name.starts_with(RAW)
        || slots.any(|slot| name.strip_prefix(slot.name()).is_some_and(|rest| rest.starts_with('.')))
}

/// The settings of a network that differ between two texts of TOML, in one line.
fn different(expected: &str, found: &str) -> String {
    let [expected, found]: [toml::Table; 2] = [expected, found].map(|text| text.parse().unwrap_or_default());
    let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let value = |table: &toml::Table, key: &str| table.get(key).map_or("none".into(), toml::Value::to_string);
    let differ = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
    let line = |key| format!("expected {key} = {}, found {}", value(&expected, key), value(&found, key));
    differ.map(|key| line(key)).collect::<Vec<_>>().join("; ")
}

impl Trainer {
    /// The complete state to resume from: parameters (with `ema`, the moving averages under the parameters' names, and
    /// the parameters under `raw.NAME`), optimizer state, replay buffer, iteration, recipe.
    ///
    /// # Errors
    /// An error of the device.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let mut checkpoint = self.model()?;
        if self.recipe.ema > 0.0 {
            for (parameter, values) in self.layout.scatter(&self.parameters()?) {
                checkpoint.push_f32(format!("{RAW}{}", parameter.name), &parameter.file_shape(), values);
            }
        }
        for &slot in self.optimizer.state() {
            let flat = self.buffers.read(slot)?;
            for (parameter, values) in self.layout.scatter(&flat) {
                checkpoint.push_f32(
                    format!("{}.{}", slot.name(), parameter.name),
                    &parameter.file_shape(),
                    values,
                );
            }
        }
        if self.batch.samples > 0 {
            self.push_chains(&mut checkpoint)?;
        }
        Ok(checkpoint)
    }

    /// The model with the chains that sampling from it continues: [`Trainer::model`] and, once log p(x) has joined, the
    /// replay buffer and the ages of its chains.
    ///
    /// # Errors
    /// An error of the device.
    pub fn model_with_chains(&self) -> Result<Checkpoint> {
        let mut checkpoint = self.model()?;
        if self.batch.samples > 0 && !self.recipe.is_early(self.iteration.saturating_sub(1)) {
            self.push_chains(&mut checkpoint)?;
        }
        Ok(checkpoint)
    }

    /// Adds the replay buffer and the ages of its chains.
    fn push_chains(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        let (h, w, c) = (self.batch.height, self.batch.width, self.batch.channels);
        let images = self.buffers.read(REPLAY)?;
        let images = pack::nhwc_to_nchw(&images, self.recipe.buffer, h, w, c);
        checkpoint.push_f32(REPLAY_BUFFER, &[self.recipe.buffer, c, h, w], images);
        // f32 holds whole numbers up to 2^24 exactly.
        let ages = self.chains.ages.iter().map(|&age| age as f32).collect();
        checkpoint.push_f32(CHAIN_AGES, &[self.recipe.buffer], ages);
        Ok(())
    }

    /// The parameters (their moving averages, if the recipe has them), iteration and recipe: the model without the
    /// training state.
    ///
    /// # Errors
    /// An error of the device.
    pub fn model(&self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::default();
        let flat = self.buffers.read(self.model_slot())?;
        for (parameter, values) in self.layout.scatter(&flat) {
            checkpoint.push_f32(&parameter.name, &parameter.file_shape(), values);
        }
        checkpoint.metadata.insert(FORMAT.0.into(), FORMAT.1.into());
        self.network.write_metadata(&mut checkpoint.metadata);
        checkpoint.metadata.insert("data".into(), self.data.clone());
        if !self.class_names.is_empty() {
            let names = serde_json::to_string(&self.class_names).expect("text");
            checkpoint.metadata.insert(CLASS_NAMES.into(), names);
        }
        let (height, width) = (self.batch.height, self.batch.width);
        checkpoint.metadata.insert("image_size".into(), format!("[{height},{width}]"));
        checkpoint.metadata.insert(ITERATION.into(), self.iteration.to_string());
        checkpoint.metadata.insert(RANDOM_STREAM.into(), self.random_stream.to_string());
        checkpoint.metadata.insert(RECIPE.into(), self.recipe.to_toml_of(&*self.network));
        Ok(checkpoint)
    }

    /// Refuses a checkpoint that names another network. Settings missing in a file of an earlier version have their
    /// defaults; a file that names no network is checked by its tensors only.
    fn check_network(&self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let [kind, settings] = [KIND, SETTINGS].map(|key| checkpoint.metadata.get(key).map(String::as_str));
        let (Some(kind), Some(settings)) = (kind, settings) else { return Ok(()) };
        let (own, own_settings) = (self.network.kind(), self.network.settings());
        let known = Architecture::from_metadata(&checkpoint.metadata).ok().map(|known| known.network());
        let kind = known.as_ref().map_or(kind, |known| known.kind());
        if kind != own {
            let hint =
                if known.is_some() { "" } else { "; the program that defines that network can resume it" };
            return Err(Error::file(path, format!("expected a checkpoint of a {own}, found a {kind}{hint}")));
        }
        let settings = known.as_ref().map_or(settings.to_owned(), |known| known.settings());
        if settings == own_settings {
            return Ok(());
        }
        let differ = different(&own_settings, &settings);
        Err(Error::file(path, format!("expected a checkpoint of {}: {differ}", self.network.name())))
    }

    /// Refuses a checkpoint of other classes. A file of an earlier version does not name them.
    fn check_class_names(&self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let names = checkpoint.metadata.get(CLASS_NAMES).and_then(|text| serde_json::from_str(text).ok());
        let Some(had): Option<Vec<String>> = names.filter(|had| *had != self.class_names) else {
            return Ok(());
        };
        let [had, now] = [&had, &self.class_names].map(|names| names.join(", "));
        Err(Error::file(path, format!("the run has the classes {had}; the data have {now}")))
    }

    /// Restores a checkpoint of the same recipe; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] if a tensor is missing or has another shape.
    pub fn restore(&mut self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let find = |prefix: &str| {
            let prefix = prefix.to_owned();
            self.layout.gather(move |parameter| {
                checkpoint.f32(path, &format!("{prefix}{}", parameter.name), &parameter.file_shape())
            })
        };
        self.check_network(checkpoint, path)?;
        self.check_class_names(checkpoint, path)?;
        checkpoint.text(path, ITERATION)?;
        let Trained { iteration, random_stream, .. } = Trained::of(&checkpoint.metadata, path)?;
        self.set_parameters(&find("")?)?;
        if self.recipe.ema > 0.0 {
            self.buffers.write(PARAMETERS, &find(RAW)?)?;
        }
        for &slot in self.optimizer.state() {
            self.buffers.write(slot, &find(&format!("{}.", slot.name()))?)?;
        }
        if self.batch.samples > 0 {
            let (h, w, c) = (self.batch.height, self.batch.width, self.batch.channels);
            let images = checkpoint.f32(path, REPLAY_BUFFER, &[self.recipe.buffer, c, h, w])?;
            self.buffers.write(REPLAY, &pack::nchw_to_nhwc(images, self.recipe.buffer, c, h, w))?;
            let ages = trained::chain_ages(checkpoint, Some(self.recipe.buffer), path)?;
            // Checkpoints of earlier versions have no ages.
            self.chains.ages = ages.unwrap_or_else(|| vec![0; self.recipe.buffer]);
        }
        self.random_stream = random_stream.unwrap_or(0);
        self.pending.clear();
        self.sampled = None;
        self.iteration = iteration.unwrap_or(0);
        Ok(())
    }
}
