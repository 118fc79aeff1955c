//! The network of a training command: the recipe's own, another by its name, or that of a trained model.

use super::{by_import, complain};
use jem::data::Dataset;
use jem::ebm::{ImportOptions, Model, NetworkRecord, Overrides, Recipe, Start};
use jem::nn::architecture::{Architecture, Choices};
use jem::nn::network::Network;
use jem::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The flags that name a network other than the recipe's own.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NetworkArguments {
    /// Trained model to start from: a run directory, a model file, or any file that `jem import` reads. The run trains
    /// its network; if the classes differ, with a new last layer that is fitted to the training images
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["arch", "resume"])]
    from: Option<PathBuf>,
    /// Network to train from initial weights, such as resnet-20, resnet-18, vgg-16 or wrn-16-4-bn [default: the
    /// WideResNet of --depth and --width]
    #[arg(long, value_name = "NAME", conflicts_with = "resume", help_heading = "Model")]
    arch: Option<Architecture>,
}

/// The network of a run.
#[derive(Debug, Clone, Default)]
pub enum NetworkChoice {
    /// The recipe's own.
    #[default]
    Own,
    /// This one, with initial weights, or with those of the checkpoint that the run resumes from.
    Given(Arc<dyn Network>),
    /// The network and the weights of a trained model.
    From(Box<Start>),
}

impl NetworkChoice {
    /// The network that a run of `recipe` on `train` has.
    pub fn network(&self, recipe: &Recipe, train: &Dataset) -> Arc<dyn Network> {
        match self {
            Self::Own => Arc::new(recipe.network(train.classes(), train.channels)),
            Self::Given(network) => network.clone(),
            Self::From(start) => start.network.clone(),
        }
    }

    /// The record of it in the settings file of a run of `recipe` on `train`; `None` for the recipe's own.
    pub fn record(&self, recipe: &Recipe, train: &Dataset) -> Result<Option<NetworkRecord>> {
        let from = match self {
            Self::Own => return Ok(None),
            Self::Given(_) => None,
            Self::From(start) => Some(start.model.path()),
        };
        let from = from.map(|path| std::path::absolute(path).map_err(Error::io(path))).transpose()?;
        Ok(Some(NetworkRecord::of(&*self.network(recipe, train), from.as_deref())))
    }

    /// The differences from the model that the run starts from, a line each.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::From(start) => &start.notes,
            Self::Own | Self::Given(_) => &[],
        }
    }
}

/// A network before the recipe and the data are known.
#[derive(Debug)]
pub enum Asked {
    Own,
    Named(Architecture),
    /// The network of the run that is resumed, with the model that it started from if that is still there.
    Recorded(Arc<dyn Network>, Option<Box<Model>>),
    Model(Box<Model>),
}

impl NetworkArguments {
    /// The network that the flags name, else the one that `recorded` of the settings file `file` names. A resumed run
    /// takes its weights from its checkpoint.
    pub fn asked(&self, recorded: Option<(&Path, NetworkRecord)>, resumes: bool) -> Result<Asked> {
        if let Some(arch) = &self.arch {
            return Ok(Asked::Named(arch.clone()));
        }
        if let Some(path) = &self.from {
            return Ok(Asked::Model(Box::new(open(path)?)));
        }
        let Some((file, record)) = recorded else { return Ok(Asked::Own) };
        match &record.from {
            Some(path) if !resumes => {
                let model = open(path).map_err(|error| {
                    Error::file(
                        file,
                        format!("starts from {}, which cannot be read: {error}", path.display()),
                    )
                })?;
                Ok(Asked::Model(Box::new(model)))
            }
            from => {
                let network = record.network().map_err(|message| Error::file(file, message))?;
                let model = from.as_ref().and_then(|path| {
                    let gone = |error| {
                        let path = path.display();
                        complain(&format!("note: {path} is not compared with the result: {error}"));
                    };
                    open(path).map_err(gone).ok().map(Box::new)
                });
                Ok(Asked::Recorded(network, model))
            }
        }
    }
}

/// Reads a model without its replay buffer.
fn open(path: &Path) -> Result<Model> {
    let options = ImportOptions { without_chains: true, ..ImportOptions::default() };
    Model::import(path, options).map_err(|error| by_import(path, error))
}

impl Asked {
    /// Channels of the images that the network takes; `None`: the data's.
    pub fn channels(&self) -> Option<usize> {
        match self {
            Self::Own | Self::Named(_) => None,
            Self::Recorded(network, _) => Some(network.channels()),
            Self::Model(model) => Some(model.network().channels()),
        }
    }

    /// The network of a run of `recipe` on `train`. `overrides` are the settings that the user named.
    pub fn choose(&self, recipe: &Recipe, overrides: &Overrides, train: &Dataset) -> Result<NetworkChoice> {
        let Overrides { depth, width, norm, activation, spectral_norm, .. } = overrides;
        let size = [("depth", depth.is_some()), ("width", width.is_some())];
        let kind = [("norm", norm.is_some()), ("activation", activation.is_some())];
        let without_effect: Vec<_> = match self {
            Self::Own => Vec::new(),
            Self::Named(_) => [&size[..], &[("spectral_norm", spectral_norm.is_some())]].concat(),
            Self::Recorded(..) | Self::Model(_) => {
                [&size[..], &kind, &[("spectral_norm", spectral_norm.is_some())]].concat()
            }
        };
        if let Some((key, _)) = without_effect.iter().find(|(_, named)| *named) {
            let message = match self {
                Self::Model(_) => {
                    "has no effect: the network is that of --from, with its own setting; leave it out"
                }
                _ => "the network is named otherwise, so this has no effect; leave it out",
            };
            return Err(Error::setting(*key, message));
        }
        match self {
            Self::Own => Ok(NetworkChoice::Own),
            Self::Recorded(network, model) => {
                let start =
                    model.as_ref().map(|model| Start::new(model, recipe, &train.class_names)).transpose();
                let same = |start: &Start| start.network.settings() == network.settings();
                Ok(match start.ok().flatten().filter(same) {
                    Some(mut start) => {
                        start.notes.clear();
                        NetworkChoice::From(Box::new(start))
                    }
                    None => NetworkChoice::Given(network.clone()),
                })
            }
            Self::Model(model) => {
                Ok(NetworkChoice::From(Box::new(Start::new(model, recipe, &train.class_names)?)))
            }
            Self::Named(arch) => {
                let classes = if recipe.unconditional { 1 } else { train.classes() };
                let choices = Choices { activation: *activation, norm: *norm, pooling: None };
                let sized = arch.with(&choices).and_then(|arch| arch.with_classes(classes));
                let sized = sized.and_then(|arch| arch.with_channels(train.channels));
                let arch = sized.map_err(|message| Error::setting("arch", message))?;
                Ok(NetworkChoice::Given(arch.network()))
            }
        }
    }
}
