//! The start of a run from a trained model: its network, with the last layer that the data need, and its parameters.

use super::discriminant::Discriminant;
use super::model::Model;
use super::trainer::labelled;
use super::{Recipe, ScoreSettings, Trainer};
use crate::data::Dataset;
use crate::data::images::from_byte;
use crate::error::{Error, Result};
use crate::nn::architecture::Architecture;
use crate::nn::network::{KIND, Network, SETTINGS, is_known_kind};
use crate::nn::normalised::{InputNormalisation, NORMALISATION, Normalised};
use crate::nn::parameters::{Parameter, ParameterLayout};
use crate::words::counted;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest number of training images that a new last layer is fitted to, and how many are scored at a time.
const FITTED: usize = 2048;
const BATCH: usize = 64;

/// The network of a run whose recipe does not describe it, as the run's `config.toml` records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// The kind of the network in files.
    pub kind: String,
    /// Its settings, as TOML.
    pub settings: String,
    /// The normalisation of its images.
    pub normalisation: Option<InputNormalisation>,
    /// The absolute path of the model that the run started from; `None`: initial weights.
    pub from: Option<PathBuf>,
}

impl NetworkRecord {
    /// The record of `network`, of a run that started from the model `from`.
    pub fn of(network: &dyn Network, from: Option<&Path>) -> Self {
        let mut metadata = BTreeMap::new();
        network.write_metadata(&mut metadata);
        let normalisation = metadata.get(NORMALISATION);
        Self {
            kind: network.kind().to_owned(),
            settings: network.settings(),
            normalisation: normalisation.and_then(|text| serde_json::from_str(text).ok()),
            from: from.map(Path::to_owned),
        }
    }

    /// The network, if it is one of the library's.
    ///
    /// # Errors
    /// The setting that is wrong, or that the network is a user's own.
    pub fn network(&self) -> Result<Arc<dyn Network>, String> {
        if !is_known_kind(&self.kind) {
            return Err(format!(
                "has the user-defined network {:?}; only the program that defines it can train it",
                self.kind
            ));
        }
        let metadata = BTreeMap::from([
            (KIND.to_owned(), self.kind.clone()),
            (SETTINGS.to_owned(), self.settings.clone()),
        ]);
        let network = Architecture::from_metadata(&metadata)?.network();
        behind(network, self.normalisation.as_ref()).map_err(|error| error.to_string())
    }
}

/// `network` behind `normalisation`, if there is one.
pub(super) fn behind(
    network: Arc<dyn Network>,
    normalisation: Option<&InputNormalisation>,
) -> Result<Arc<dyn Network>> {
    Ok(match normalisation {
        Some(normalisation) => Arc::new(Normalised::new(network, normalisation.clone())?),
        None => network,
    })
}

/// The start of a run from a trained model.
#[derive(Debug, Clone)]
pub struct Start {
    /// The model.
    pub model: Model,
    /// The network of the run: the model's, with the run's classes.
    pub network: Arc<dyn Network>,
    /// The differences between the model and the start, a line each.
    pub notes: Vec<String>,
    /// The model's class for each class of the run, if all are known.
    classes: Option<Vec<usize>>,
    /// The names of the parameters that depend on the number of classes.
    last_layer: HashSet<String>,
}

impl Start {
    /// The start from `model` of a run of `recipe` on images of the classes `class_names`.
    ///
    /// # Errors
    /// [`Error::File`] for a model of a user-defined network.
    pub fn new(model: &Model, recipe: &Recipe, class_names: &[String]) -> Result<Self> {
        let wrong = |message: String| Error::file(model.path(), message);
        let architecture = Architecture::from_metadata(&model.file().metadata).map_err(wrong)?;
        let (had, mut notes) = (model.network().classes(), Vec::new());
        let count = if recipe.unconditional { 1 } else { class_names.len() };
        let classes = match (recipe.unconditional, model.class_names()) {
            (true, _) => (had == 1).then(|| vec![0]),
            (false, None) if had == count => {
                notes.push(format!(
                    "the model does not name its {count} classes; they are taken to be {}, in this order (jem import \
                     --classes names them)",
                    listed(class_names)
                ));
                Some((0..count).collect())
            }
            (false, None) => None,
            (false, Some(names)) if had == count => {
                class_names.iter().map(|name| names.iter().position(|other| other == name)).collect()
            }
            (false, Some(_)) => None,
        };
        notes.extend(model.guesses());
        let architecture = architecture.with_classes(count).map_err(wrong)?;
        let last_layer = last_layer(&architecture).map_err(wrong)?;
        let network = behind(architecture.network(), model.normalisation())?;
        let start =
            Self { model: model.clone(), network, notes: Vec::new(), classes: classes.clone(), last_layer };
        match &classes {
            None => {
                let names =
                    model.class_names().map(|names| format!(" ({})", listed(names))).unwrap_or_default();
                let of = |count: usize| match count {
                    1 => "one output".to_owned(),
                    count => counted(count, "class"),
                };
                let own =
                    if recipe.unconditional { String::new() } else { format!(" ({})", listed(class_names)) };
                notes.push(format!(
                    "the last layer begins anew{}: the model has {}{names}, the run {}{own}",
                    if start.is_fitted() { ", fitted to the training images" } else { "" },
                    of(had),
                    of(count)
                ));
            }
            Some(classes) if !classes.iter().copied().eq(0..count) => {
                notes.push(
                    "the classes are in another order than the model's; its last layer follows them".into(),
                );
            }
            Some(_) => {}
        }
        Ok(Self { notes, ..start })
    }

    /// Whether the last layer begins anew, because the model has other classes.
    pub fn renews(&self) -> bool {
        self.classes.is_none()
    }

    /// The parameters of the start as the flat buffer of `layout`, that of [`Start::network`]. Those that the model
    /// lacks are taken from `initial`.
    ///
    /// # Errors
    /// [`Error::File`] for a tensor that the model has in another shape.
    pub(super) fn parameters(&self, layout: &ParameterLayout, initial: &[f32]) -> Result<Vec<f32>> {
        let had = self.model.network().classes();
        let mut flat = initial.to_vec();
        for parameter in layout.in_files() {
            let place = &mut flat[parameter.offset..][..parameter.elements()];
            if !self.last_layer.contains(&parameter.name) {
                let values = self.model.values(&parameter.name, &parameter.file_shape())?;
                place.copy_from_slice(&parameter.from_file(values));
                continue;
            }
            let Some(classes) = &self.classes else { continue };
            let values = self.model.values(&parameter.name, &parameter.file_shape())?;
            // The class is the last axis of weights, biases and their vectors of spectral norm.
            for (row, from) in place.chunks_exact_mut(had).zip(parameter.from_file(values).chunks_exact(had))
            {
                row.iter_mut().zip(classes).for_each(|(value, &class)| *value = from[class]);
            }
        }
        Ok(flat)
    }
}

impl Start {
    /// Sets the parameters of `trainer`, which trains [`Start::network`], to those of the start. A new linear last
    /// layer of several classes becomes the [`Discriminant`] of the features of at most 2,048 labelled images of `train`,
    /// spread over the set. Any other new layer, or one without a discriminant, stays as `trainer` has it. `scored` is
    /// called with the number of images done and their total. Returns a note if there is no discriminant.
    ///
    /// # Errors
    /// [`Error::File`] for a tensor that the model has in another shape; an error of the device.
    pub(super) fn apply(
        &self,
        trainer: &Trainer,
        train: &Dataset,
        mut scored: impl FnMut(usize, usize),
    ) -> Result<Option<&'static str>> {
        let layout = trainer.network().layout();
        let mut flat = self.parameters(&layout, &trainer.parameters()?)?;
        trainer.set_parameters(&flat)?;
        let Some([weights, biases]) = self.linear(&layout) else { return Ok(None) };
        let labelled = labelled(trainer.recipe(), train)?;
        let (count, width) = (labelled.len().min(FITTED), weights.shape[0]);
        let chosen: Vec<usize> = (0..count).map(|i| labelled[i * labelled.len() / count] as usize).collect();
        let scorer = trainer.scorer(train, ScoreSettings { features: true, ..Default::default() }, BATCH)?;
        scorer.prepare()?;
        let mut features = Vec::with_capacity(count * width);
        for part in chosen.chunks(BATCH) {
            scored(features.len() / width, count);
            // The last batch is padded with its first image; the extra rows are dropped.
            let images = (0..BATCH).map(|i| train.image(*part.get(i).unwrap_or(&part[0])));
            let images: Vec<f32> = images.flatten().map(|&byte| from_byte(byte)).collect();
            let rows = scorer.score(&images)?.features.expect("they were asked for");
            features.extend_from_slice(&rows[..part.len() * width]);
        }
        scored(count, count);
        let labels: Vec<usize> = chosen.iter().map(|&image| train.labels[image] as usize).collect();
        let Some(fitted) = Discriminant::fit(&features, &labels, self.network.classes()) else {
            return Ok(Some(
                "the features of the training images of each class are all equal; the last layer begins at random",
            ));
        };
        for (parameter, values) in [(weights, fitted.weights), (biases, fitted.biases)] {
            flat[parameter.offset..][..parameter.elements()].copy_from_slice(&values);
        }
        trainer.set_parameters(&flat)?;
        Ok(None)
    }

    /// Whether a new last layer is one that [`Start::apply`] fits.
    pub(super) fn is_fitted(&self) -> bool {
        self.linear(&self.network.layout()).is_some()
    }

    /// The weights `[d, classes]` and biases `[classes]` of a last layer that begins anew, if it has several classes
    /// and no other parameters.
    fn linear<'a>(&self, layout: &'a ParameterLayout) -> Option<[&'a Parameter; 2]> {
        let classes = self.network.classes();
        let own = |parameter: &&Parameter| self.last_layer.contains(&parameter.name);
        let mut parameters: Vec<&Parameter> = layout.parameters().iter().filter(own).collect();
        parameters.sort_by_key(|parameter| std::cmp::Reverse(parameter.shape.len()));
        let [weights, biases] = parameters[..].try_into().ok()?;
        let fits = weights.shape.len() == 2 && weights.shape[1] == classes && biases.shape == [classes];
        (self.renews() && classes > 1 && fits).then_some([weights, biases])
    }
}

/// The names of the parameters of a network that depend on the number of its classes.
fn last_layer(architecture: &Architecture) -> Result<HashSet<String>, String> {
    let network = architecture.network();
    let other = architecture.with_classes(network.classes() + 1)?.network().layout();
    let shapes: HashMap<&str, &[usize]> =
        other.parameters().iter().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
    let own = network.layout();
    let depends =
        |p: &&Parameter| shapes.get(p.name.as_str()).is_none_or(|shape| *shape != p.shape.as_slice());
    Ok(own.parameters().iter().filter(depends).map(|p| p.name.clone()).collect())
}

/// A few names.
fn listed(names: &[String]) -> String {
    match names {
        [first @ .., last] if names.len() > 6 => format!("{}, …, {last}", first[..5].join(", ")),
        names => names.join(", "),
    }
}
