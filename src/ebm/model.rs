//! A trained classifier with everything needed to use it: its tensors under their public names, its architecture, and
//! the normalisation of its training images.

mod checks;

use super::Recipe;
use super::import::{self, ImportOptions};
use super::langevin::Langevin;
use super::trained::{CHAIN_AGES, Trained};
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::io::elements::{Array, Elements};
use crate::io::pack;
use crate::io::parametrization;
use crate::io::safetensors::FORMAT;
use crate::io::state_file::{self, Facts, Opened, StateFile};
use crate::nn::architecture::{Architecture, Assumption, Recognised};
use crate::nn::network::{KIND, Network, is_known_kind};
use crate::nn::normalised::{InputNormalisation, NORMALISATION, Normalised};
use crate::nn::parameters::{Parameter, ParameterLayout};
use crate::words::counted;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The prefix of the format of this library's files, followed by the version.
const OURS: &str = "jem-checkpoint-";
/// The tensor of the chains of a JEM's training, [n, c, h, w].
pub const REPLAY_BUFFER: &str = "replay_buffer";
/// The metadata key of what the file of an imported model did not tell, a JSON array of [`Assumption`]s.
pub(super) const ASSUMPTIONS: &str = "assumptions";
/// The metadata key of the names of the classes, a JSON array of strings.
pub const CLASS_NAMES: &str = "class_names";
/// The longest side of a model's images, in pixels.
pub(super) const MAX_SIDE: usize = 1 << 14;
/// The file of the best model in a run directory.
const BEST: &str = "best.safetensors";

/// A trained classifier.
#[derive(Debug, Clone)]
pub struct Model {
    path: PathBuf,
    network: Arc<dyn Network>,
    normalisation: Option<InputNormalisation>,
    image: [usize; 2],
    /// The public name of each of the architecture's parameters.
    names: BTreeMap<String, String>,
    class_names: Option<Vec<String>>,
    assumptions: Vec<Assumption>,
    /// Whether the file does not name its network.
    recognised: bool,
    /// The number of chains in the replay buffer, which is in `file` unless the model was read without it.
    chains: Option<usize>,
    trained: Trained,
    file: Checkpoint,
}

impl Model {
    /// Reads a model: a file of this library (a checkpoint of training, or one that [`Model::save`] wrote), or any that
    /// [`Model::import`] reads. The path of a run directory stands for its `best.safetensors`.
    ///
    /// # Errors
    /// The errors of [`Model::import`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::import(path, ImportOptions::default())
    }

    /// Reads a checkpoint of PyTorch or a safetensors file, or the best model of a run directory. A file that does not
    /// name its network has the one that fits its names and shapes ([`recognise`]), under the prefixes of wrappers if
    /// there are some; [`Model::assumptions`] says what the file does not tell for certain.
    ///
    /// [`recognise`]: crate::nn::architecture::recognise
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::File`] with the tensor, what was expected and what was found, such as a weight that
    /// is not finite; for a user-defined network it names [`Model::open_with`]. [`Error::Setting`] with the option that
    /// must settle what the file leaves open.
    pub fn import(path: &Path, options: ImportOptions) -> Result<Self> {
        let path = &model_file(path)?;
        let opened = state_file::open(path)?;
        let wrong = |message| Error::file(path, message);
        if is_ours(opened.facts()) {
            check_known(path, opened.facts())?;
            let file = load(opened, 0, &options)?;
            let stated = Architecture::from_metadata(&file.facts.metadata).map_err(wrong)?;
            let stated = import::settle(path, stated, &options.choices, &file.facts.metadata)?;
            import::check_size(options.size.as_ref(), &stated)?;
            let (names, unknown) = stated.find(&named(&file)).map_err(wrong)?;
            import::check_repeated(&stated, &file.tensors, &names, &unknown, "", path)?;
            return Self::of(path, file, stated.network(), names, options, None);
        }
        let chosen = import::choose(opened.dictionaries(), &options, path)?;
        let mut file = load(opened, chosen.dictionary, &options)?;
        file.tensors = parametrization::arrays(file.tensors).map_err(wrong)?;
        let left_out = import::strip(&mut file.tensors, &chosen.prefix);
        let Recognised { architecture, names, assumptions, unknown } = chosen.recognised;
        import::check_size(options.size.as_ref(), &architecture)?;
        import::check_repeated(&architecture, &file.tensors, &names, &unknown, &chosen.prefix, path)?;
        file.facts.prefix = Some(chosen.prefix).filter(|prefix| !prefix.is_empty());
        file.facts.ignored.extend(import::summary(&left_out));
        Self::of(path, file, architecture.network(), names, options, Some(assumptions))
    }

    /// Reads a model of a user-defined network: a checkpoint of its training, a run directory with its best model, or a
    /// state dict with the names of its [`Network::layout`].
    ///
    /// # Errors
    /// The errors of [`Model::import`].
    pub fn open_with(path: &Path, network: Arc<dyn Network>) -> Result<Self> {
        network.check()?;
        let path = &model_file(path)?;
        let file = state_file::read(path)?;
        let layout = network.layout();
        for parameter in layout.in_files() {
            let (name, expected) = (&parameter.name, parameter.file_shape());
            let found = file.tensors.iter().find(|(found, _)| found == name).map(|(_, array)| &array.shape);
            if found != Some(&expected) {
                let found = found.map_or("none".into(), |shape| format!("{shape:?}"));
                let message =
                    format!("{}: tensor {name}: expected {expected:?}, found {found}", network.name());
                return Err(Error::file(path, message));
            }
        }
        let names = layout.in_files().map(|p| (p.name.clone(), p.name.clone())).collect();
        Self::of(path, file, network, names, ImportOptions::default(), None)
    }

    /// The model of `network` from `file`, which has the parameters under `names`. `assumed` are the assumptions of the
    /// network, for a file that does not name it.
    fn of(
        path: &Path,
        file: StateFile,
        network: Arc<dyn Network>,
        names: BTreeMap<String, String>,
        options: ImportOptions,
        assumed: Option<Vec<Assumption>>,
    ) -> Result<Self> {
        let ours = is_ours(&file.facts);
        let settled = options.settled();
        let StateFile { tensors, replay_buffer, facts } = file;
        let mut metadata = facts.metadata.clone();
        if !ours {
            Trained::remove_from(&mut metadata);
        }
        let trained = Trained::of(&metadata, path)?;
        metadata.insert(FORMAT.0.into(), FORMAT.1.into());
        network.write_metadata(&mut metadata);
        if !ours {
            metadata.insert("source".into(), facts.to_string());
        }
        let normalisation = match options.normalisation {
            Some(normalisation) => Some(normalisation),
            None => {
                let stored: Option<InputNormalisation> = stored(&metadata, NORMALISATION, path)?;
                // The file is wrong, not the flag of that name.
                let check =
                    |stored: &InputNormalisation| Normalised::new(network.clone(), stored.clone()).map(drop);
                stored
                    .as_ref()
                    .map_or(Ok(()), check)
                    .map_err(|error| Error::file(path, format!("metadata {NORMALISATION}: {error}")))?;
                stored
            }
        };
        let network: Arc<dyn Network> = match &normalisation {
            Some(normalisation) => Arc::new(Normalised::new(network, normalisation.clone())?),
            None => network,
        };
        let stated = options.image_size.or(network.image_size());
        let image = match stated {
            Some(size) => size,
            None => stored(&metadata, "image_size", path)?.unwrap_or(network.usual_image_size()),
        };
        if !image.iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            let [height, width] = image;
            let message =
                format!("image_size: expected sides of 1 to {MAX_SIDE} pixels, got {height}x{width}");
            return Err(Error::file(path, message));
        }
        network.check_images([image[0], image[1], network.channels()])?;
        let class_names = match options.class_names {
            Some(_) if network.classes() == 1 => {
                let message = format!(
                    "{}: a network with one output is a scalar energy without classes",
                    path.display()
                );
                return Err(Error::setting("classes", message));
            }
            Some(names) => {
                check_class_names(&names, network.classes()).map_err(|why| Error::setting("classes", why))?;
                Some(names)
            }
            None => {
                let names: Option<Vec<String>> = stored(&metadata, CLASS_NAMES, path)?;
                if let Some(names) = &names {
                    let wrong = |why| Error::file(path, format!("{CLASS_NAMES}: {why}"));
                    check_class_names(names, network.classes()).map_err(wrong)?;
                }
                names
            }
        };
        let recognised = assumed.is_some();
        let assumptions = match assumed {
            None => {
                let mut stored: Vec<Assumption> = stored(&metadata, ASSUMPTIONS, path)?.unwrap_or_default();
                stored.retain(|assumption| !settled.contains(&assumption.setting.as_str()));
                stored
            }
            Some(mut assumptions) => {
                assumptions.extend(import::of_images(normalisation.is_some(), image, stated.is_some()));
                assumptions
            }
        };
        let mut record = |key: &str, value: Option<serde_json::Value>| match value {
            Some(value) => drop(metadata.insert(key.into(), value.to_string())),
            None => drop(metadata.remove(key)),
        };
        record(NORMALISATION, normalisation.as_ref().map(|n| json!(n)));
        record("image_size", Some(json!(image)));
        record(CLASS_NAMES, class_names.as_ref().map(|names| json!(names)));
        record(ASSUMPTIONS, (!assumptions.is_empty()).then(|| json!(assumptions)));
        let mut file = Checkpoint { tensors: Vec::with_capacity(tensors.len() + 1), metadata };
        file.tensors
            .extend(tensors.into_iter().map(|(name, Array { shape, elements })| (name, shape, elements)));
        let loaded = replay_buffer.as_ref().and_then(|buffer| buffer.shape.first().copied());
        let chains = loaded.or(facts.chains);
        file.tensors.extend(replay_buffer.map(|b| (REPLAY_BUFFER.to_owned(), b.shape, b.elements)));
        let model = Self {
            path: path.to_owned(),
            network,
            normalisation,
            image,
            names,
            class_names,
            assumptions,
            recognised,
            chains,
            trained,
            file,
        };
        model.check(!options.without_chains)?;
        Ok(model)
    }

    /// Writes the model as safetensors, atomically. Equal models make identical files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.file.save(path)
    }

    fn tensor(&self, name: &str) -> Result<(&[usize], &Elements)> {
        let found = self.file.tensors.iter().find(|tensor| tensor.0 == name);
        let (_, shape, elements) =
            found.ok_or_else(|| Error::file(&self.path, format!("expected tensor {name}, found none")))?;
        Ok((shape, elements))
    }

    /// The file that the model was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The network, behind the normalisation of its images ([`Normalised`]) if it has one.
    pub fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    /// The normalisation that the model was trained with; `None`: it takes images in [-1, 1].
    pub fn normalisation(&self) -> Option<&InputNormalisation> {
        self.normalisation.as_ref()
    }

    /// Rows, columns and channels of the model's images.
    pub fn image_shape(&self) -> [usize; 3] {
        [self.image[0], self.image[1], self.network.channels()]
    }

    /// The side to which the run of the model scaled its pictures; `None` if it did not, or if the file does not tell.
    pub fn picture_size(&self) -> Option<usize> {
        self.trained.picture_size
    }

    /// Whether the model was trained on log p(x), so that its energies are those of a density; `None` if the file does
    /// not tell and the network may be a JEM's.
    pub fn is_density(&self) -> Option<bool> {
        if let Some(recipe) = &self.trained.recipe {
            let early =
                self.trained.iteration.is_some_and(|done| done <= recipe.p_x_after && recipe.p_x_after > 0);
            return Some(recipe.samples() && !early);
        }
        if self.network.classes() == 1 || self.chains.is_some() {
            return Some(true);
        }
        // A network with JEM's names of tensors, or without batch norm, may be a JEM's.
        let of_jem = self.used_names().any(|name| name.starts_with("f."));
        (!of_jem && self.network.layout().has_statistics()).then_some(false)
    }

    /// What was guessed of the model when its file was read, in one sentence; `None` if nothing was. A file that
    /// [`Model::save`] wrote states what was guessed before; [`Model::assumptions`] has that, too.
    pub fn guesses(&self) -> Option<String> {
        let guessed = self.assumptions.iter().filter(|assumption| self.recognised && assumption.guess);
        let named: Vec<String> = guessed.map(|a| format!("{} {}", a.setting, a.value)).collect();
        (!named.is_empty()).then(|| {
            format!(
                "the file does not tell everything: {}; jem import settles what is a guess",
                named.join(", ")
            )
        })
    }

    /// The names of the classes, in the order of the logits; `None` if the file does not tell.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The settings of an imported model that its file does not tell for certain.
    pub fn assumptions(&self) -> &[Assumption] {
        &self.assumptions
    }

    /// All tensors under their public names, in the order of the file, and the metadata of the file.
    pub fn file(&self) -> &Checkpoint {
        &self.file
    }

    /// The file's name of the network's parameter `name`.
    pub fn public_name(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// The network's parameter that the file calls `public`.
    pub fn parameter_called(&self, public: &str) -> Option<&str> {
        self.names.iter().find(|(_, name)| *name == public).map(|(own, _)| own.as_str())
    }

    /// The names of the tensors that the architecture uses.
    pub fn used_names(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(String::as_str)
    }

    /// The number of chains in the model's replay buffer; `None` without one.
    pub fn chains(&self) -> Option<usize> {
        self.chains
    }

    /// The chains of the model's replay buffer, NHWC, and their number; `None` without a replay buffer, and if the
    /// model was read without it ([`ImportOptions::without_chains`]).
    pub fn replay_buffer(&self) -> Option<(Vec<f32>, usize)> {
        let (_, shape, elements) = self.file.tensors.iter().find(|tensor| tensor.0 == REPLAY_BUFFER)?;
        let Elements::F32(values) = elements else { return None };
        let [h, w, c] = self.image_shape();
        Some((pack::nchw_to_nhwc(values, shape[0], c, h, w), shape[0]))
    }

    /// The number of SGLD steps since each chain of the replay buffer started; `None` if the file does not tell.
    pub fn chain_ages(&self) -> Option<&[f32]> {
        self.file.f32(&self.path, CHAIN_AGES, &[self.chains?]).ok()
    }

    /// The recipe of the model's training, if it was trained with SGLD.
    pub fn recipe(&self) -> Option<Recipe> {
        self.trained.recipe.as_ref().filter(|recipe| recipe.samples()).cloned()
    }

    /// The number of images that the model's training held out of the set called by the second value, and the seed that
    /// chose them ([`crate::data::held_out`]); `None` if the file does not tell, or none were.
    pub fn held_out(&self) -> Option<(usize, &str, u32)> {
        let recipe = self.trained.recipe.as_ref().filter(|recipe| recipe.validation > 0)?;
        let data = self.file.metadata.get("data")?;
        Some((recipe.validation, data, recipe.seed))
    }

    /// The SGLD settings of the model's training, if it was trained with SGLD.
    pub fn langevin(&self) -> Option<Langevin> {
        self.recipe().map(|recipe| Langevin::of(&recipe))
    }

    /// The values of the network's parameter `name` in the file's order.
    ///
    /// # Errors
    /// [`Error::File`] if the file has it in another shape, or not at all.
    pub(super) fn values(&self, name: &str, file_shape: &[usize]) -> Result<&[f32]> {
        self.file.f32(&self.path, self.names.get(name).map_or(name, String::as_str), file_shape)
    }

    /// The parameters as the flat buffer of `layout`, the architecture's layout.
    ///
    /// # Errors
    /// [`Error::File`] for a tensor of another shape.
    pub fn parameters(&self, layout: &ParameterLayout) -> Result<Vec<f32>> {
        layout.gather(|parameter: &Parameter| self.values(&parameter.name, &parameter.file_shape()))
    }
}

/// Reads a dictionary of a file, with the replay buffer unless `options` exclude it.
fn load(opened: Opened, dictionary: usize, options: &ImportOptions) -> Result<StateFile> {
    match options.without_chains {
        true => opened.load_without_chains(dictionary),
        false => opened.load(dictionary),
    }
}

/// The names and shapes of the tensors of a file.
fn named(file: &StateFile) -> Vec<(&str, &[usize])> {
    file.tensors.iter().map(|(name, array)| (name.as_str(), array.shape.as_slice())).collect()
}

/// The file of a model: `path` itself, or the best model of the run directory `path`.
fn model_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let best = path.join(BEST);
    if best.is_file() {
        return Ok(best);
    }
    Err(Error::file(
        path,
        format!("is a directory without {BEST}, the best model of a run; expected a model file"),
    ))
}

/// Refuses another number of names than classes, and a name that is empty or there twice.
fn check_class_names(names: &[String], classes: usize) -> Result<(), String> {
    if names.len() != classes && classes > 1 {
        return Err(format!(
            "expected the names of the network's {}, got {}",
            counted(classes, "class"),
            names.len()
        ));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| name.trim().is_empty() || !seen.insert(name.as_str())) {
        Some(name) => Err(format!("the name {name:?} is empty or there twice")),
        None => Ok(()),
    }
}

/// Refuses a file of this library with a user-defined network.
fn check_known(path: &Path, facts: &Facts) -> Result<()> {
    match facts.metadata.get(KIND) {
        Some(kind) if !is_known_kind(kind) => {
            let message = format!(
                "has the user-defined network {kind:?}; only a program that defines this network can open it, by \
                 jem::ebm::Model::open_with"
            );
            Err(Error::file(path, message))
        }
        _ => Ok(()),
    }
}

/// Whether this library wrote the file.
fn is_ours(facts: &Facts) -> bool {
    facts.metadata.get(FORMAT.0).is_some_and(|format| format.starts_with(OURS))
}

/// The JSON value of a metadata key.
pub(super) fn stored<T: serde::de::DeserializeOwned>(
    metadata: &BTreeMap<String, String>,
    key: &str,
    path: &Path,
) -> Result<Option<T>> {
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map_err(|error| Error::file(path, format!("metadata {key}: {error} in {text:?}")))
    };
    metadata.get(key).map(parse).transpose()
}
