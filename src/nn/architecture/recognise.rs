//! Recognises the network of a file by names and shapes, and says what it assumes.
//!
//! Names and shapes leave open which activation and pooling a network has, and, without running statistics, which norm.
//! If the names are those of public code with one value of a setting, that value is assumed and reported; otherwise
//! [`Choices`] must settle it.

use super::Architecture;
use super::families::{FAMILIES, Family, activation};
use super::shapes::{Dialect, Named, Shapes, Shown, View, is_last};
use crate::error::Error;
use crate::nn::ingredients::{Activation, Norm, Pooling};
use crate::nn::network::Network;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Settings of a network that its file does not tell; `None`: those of the code base whose names the file has.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Choices {
    /// The activation.
    pub activation: Option<Activation>,
    /// The norm.
    pub norm: Option<Norm>,
    /// The pooling of features.
    pub pooling: Option<Pooling>,
}

impl Choices {
    /// Each setting by name, with this choice of it alone.
    pub fn each(&self) -> [(&'static str, Option<Self>); 3] {
        let Self { activation, norm, pooling } = *self;
        let none = Self::default();
        [
            ("activation", activation.is_some().then_some(Self { activation, ..none })),
            ("norm", norm.is_some().then_some(Self { norm, ..none })),
            ("pooling", pooling.is_some().then_some(Self { pooling, ..none })),
        ]
    }
}

/// The settings that are settled.
pub struct Found {
    pub activation: Activation,
    pub norm: Norm,
    pub pooling: Pooling,
}

/// A setting of an imported model that its file does not tell for certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumption {
    /// The setting, such as `activation`.
    pub setting: String,
    /// Its value.
    pub value: String,
    /// The reason for the value.
    pub reason: String,
    /// Whether another value would fit the file as well.
    pub guess: bool,
}

impl Assumption {
    /// An assumption.
    pub fn new(setting: &str, value: impl ToString, reason: impl Into<String>, guess: bool) -> Self {
        Self { setting: setting.into(), value: value.to_string(), reason: reason.into(), guess }
    }
}

/// A network in a file.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// The network.
    pub architecture: Architecture,
    /// The file's name of each of the network's parameters.
    pub names: BTreeMap<String, String>,
    /// The settings that the file does not tell for certain.
    pub assumptions: Vec<Assumption>,
    /// Tensors of the file that the network does not have. If they do not repeat tensors that it has, the file is
    /// another network's.
    pub unknown: Vec<String>,
}

/// A file whose network is not recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrecognised {
    /// The tensor that is missing or does not fit, or the setting that is open.
    pub message: String,
    /// The setting that would settle it, such as `norm`.
    pub setting: Option<&'static str>,
    /// How many of its parameters fit.
    pub fitting: usize,
    /// The tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// The tensors of the file that the network lacks.
    pub left_over: Vec<String>,
}

impl Unrecognised {
    fn new(message: impl Into<String>, fitting: usize) -> Self {
        Self { message: message.into(), setting: None, fitting, missing: Vec::new(), left_over: Vec::new() }
    }

    /// The error for a `setting` that is open or does not fit.
    fn of_setting(setting: &'static str, message: impl Into<String>) -> Self {
        Self { setting: Some(setting), ..Self::new(message, usize::MAX) }
    }
}

/// The network that a file's tensors are of, with its names, and settings that `choices` or the file tell.
///
/// # Errors
/// The tensor that is missing or whose shape does not fit, of the network that fits best; or the setting that the file
/// leaves open.
pub fn recognise(tensors: &Named<'_>, choices: &Choices) -> Result<Recognised, Unrecognised> {
    recognise_as(tensors, choices, Shown::default())
}

/// The network that [`recognise`] finds; errors name tensors as the file does, by `shown`.
///
/// # Errors
/// The errors of [`recognise`], with the names in the file.
pub fn recognise_as(
    tensors: &Named<'_>,
    choices: &Choices,
    shown: Shown<'_>,
) -> Result<Recognised, Unrecognised> {
    let shapes = Shapes::of(tensors, shown).map_err(|message| Unrecognised::new(message, 1))?;
    let (mut fits, mut errors) = (Vec::new(), Vec::new());
    for family in &FAMILIES {
        for dialect in family.dialects {
            let view = View { shapes: &shapes, dialect, assumed_classes: None };
            if !view.fits() {
                continue;
            }
            match of_dialect(family, &view, choices, tensors) {
                Ok(found) if found.unknown.is_empty() => return Ok(found),
                Ok(found) => fits.push(found),
                Err(error) => errors.push(error),
            }
        }
    }
    // A setting that is open comes before a network that has some of the tensors only.
    let best = errors.into_iter().max_by_key(|error| error.fitting);
    match (fits.into_iter().min_by_key(|found| found.unknown.len()), best) {
        (_, Some(open)) if open.setting.is_some() => Err(open),
        (Some(found), _) => Ok(found),
        (None, Some(best)) => Err(best),
        (None, None) => {
            let names: Vec<String> = tensors.iter().map(|(name, _)| shown.name(name)).collect();
            Err(nothing_known(names.iter().map(String::as_str)))
        }
    }
}

fn of_dialect(
    family: &Family,
    view: &View<'_>,
    choices: &Choices,
    tensors: &Named<'_>,
) -> Result<Recognised, Unrecognised> {
    let Settled { network, assumptions, open } = settle(family, view, choices)?;
    let names = names(&*network, view, tensors)?;
    // A setting is asked for only if all else fits.
    if let Some(open) = open {
        return Err(open);
    }
    let unknown = unknown(tensors, &names);
    Ok(Recognised { architecture: Architecture(network), names, assumptions, unknown })
}

impl Architecture {
    /// The architecture with `classes` classes.
    ///
    /// # Errors
    /// A number of classes that the network cannot have.
    pub fn with_classes(&self, classes: usize) -> Result<Self, String> {
        self.with_settings([("classes", toml::Value::from(classes as i64))])
    }

    /// The architecture for images with `channels` channels.
    ///
    /// # Errors
    /// A number of channels that the network cannot have.
    pub fn with_channels(&self, channels: usize) -> Result<Self, String> {
        self.with_settings([("channels", toml::Value::from(channels as i64))])
    }

    /// The architecture with the weights of this one divided by their largest singular values beforehand.
    ///
    /// # Errors
    /// A network that has no such setting.
    pub fn without_spectral_norm(&self) -> Result<Self, String> {
        self.with_settings([("spectral_norm", toml::Value::from(false))])
    }

    /// The architecture with the settings that `choices` has.
    ///
    /// # Errors
    /// A setting that the network does not have or that does not fit it.
    pub fn with(&self, choices: &Choices) -> Result<Self, String> {
        let Choices { activation, norm, pooling } = choices;
        let texts = [
            ("activation", activation.map(|value| value.to_string())),
            ("norm", norm.map(|value| value.to_string())),
            ("pooling", pooling.map(|value| value.to_string())),
        ];
        self.with_settings(texts.into_iter().filter_map(|(key, text)| Some((key, text?.into()))))
    }

    fn with_settings(
        &self,
        changes: impl IntoIterator<Item = (&'static str, toml::Value)>,
    ) -> Result<Self, String> {
        let mut settings: toml::Table =
            toml::from_str(&self.0.settings()).map_err(|e| e.message().to_owned())?;
        for (key, value) in changes {
            if settings.insert(key.into(), value).is_none() {
                return Err(format!("{} has no setting {key}", self.0.name()));
            }
        }
        let text = toml::to_string(&settings).expect("a table");
        let network = (self.family().open)(self.0.kind(), &text).map_err(|e| e.message().to_owned())?;
        network.check().map_err(|error| error.to_string())?;
        Ok(Self(network))
    }

    /// The file's names of this architecture's parameters, for a file that says which it has, and the tensors that it
    /// does not have, as in [`Recognised`].
    ///
    /// # Errors
    /// The tensor that is missing or does not fit.
    pub fn find(&self, tensors: &Named<'_>) -> Result<(BTreeMap<String, String>, Vec<String>), String> {
        let shapes = Shapes::of(tensors, Shown::default())?;
        let view = |dialect| View { shapes: &shapes, dialect, assumed_classes: None };
        let found = self.family().dialects.iter().map(|dialect| names(&*self.0, &view(dialect), tensors));
        let (fits, errors): (Vec<_>, Vec<_>) = found.partition(Result::is_ok);
        if let Some(names) = fits.into_iter().flatten().next() {
            let unknown = unknown(tensors, &names);
            return Ok((names, unknown));
        }
        let best = errors.into_iter().filter_map(Result::err).max_by_key(|error| error.fitting);
        Err(best.expect("a family has dialects").message)
    }
}

/// The beginnings of names under which a file may have a network: `""`, or the prefixes of wrappers, such as `module.`,
/// the shortest first.
#[cfg(any(feature = "train", test))]
pub fn prefixes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let signs: Vec<&str> = FAMILIES
        .iter()
        .flat_map(|family| family.dialects)
        .filter_map(|dialect| dialect.signs.first().copied())
        .collect();
    let of = |name: &'a str| {
        let plain = name.strip_suffix("_orig").unwrap_or(name);
        signs
            .iter()
            .filter_map(move |sign| plain.strip_suffix(sign))
            .filter(|p| p.is_empty() || p.ends_with('.'))
    };
    let mut prefixes: Vec<&str> = names.flat_map(of).collect();
    prefixes.sort_by_key(|prefix| (prefix.len(), *prefix));
    prefixes.dedup();
    prefixes
}

/// The error for tensors of no known network, which have these names in their file.
pub fn nothing_known<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Unrecognised {
    let found = some_of(names);
    let message = format!(
        "expected the tensors of a WideResNet, a ResNet or a VGG with batch norm, such as f.conv1.weight, \
         layer1.0.conv1.weight, block1.layer.0.conv1.weight or features.0.weight, found {found}"
    );
    Unrecognised::new(message, 0)
}

/// A few names, and the number of the others.
pub fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    match (shown.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => shown,
        (false, more) => format!("{shown} and {more} more"),
    }
}

/// The network of a file, and what is assumed of it.
struct Settled {
    network: Arc<dyn Network>,
    assumptions: Vec<Assumption>,
    /// A setting that is open; the network has any value of it.
    open: Option<Unrecognised>,
}

/// Settles what the file leaves open, by `choices` and by the code base whose names it has.
fn settle(family: &Family, view: &View<'_>, choices: &Choices) -> Result<Settled, Unrecognised> {
    let dialect = view.dialect;
    let mut assumptions = Vec::new();
    let mut open = None;
    let norm = norm(family, view, choices.norm, &mut assumptions).unwrap_or_else(|error| {
        open = Some(error);
        // Its tensors are there, whichever it is; or the file has none.
        if view.has(&format!("{}.running_mean", family.norm)) {
            Norm::Batch
        } else if view.has(&format!("{}.weight", family.norm)) {
            Norm::Layer
        } else {
            Norm::None
        }
    });
    let activation = match (choices.activation, activation(dialect)) {
        (Some(stated), _) => stated_as(stated, "activation", &mut assumptions),
        (None, Some(usual)) => {
            assumptions.push(of_code("activation", usual, dialect));
            usual
        }
        (None, None) => {
            let message = format!(
                "the tensors are those of {}, whose activation may be any; expected {}",
                dialect.source,
                Activation::NAMES
            );
            open = open.or(Some(Unrecognised::of_setting("activation", message)));
            Activation::JEM
        }
    };
    let pooling = match choices.pooling {
        Some(stated) => stated_as(stated, "pooling", &mut assumptions),
        None => {
            assumptions.push(of_code("pooling", Pooling::Mean, dialect));
            Pooling::Mean
        }
    };
    let found = Found { activation, norm, pooling };
    // If the file lacks the last layer, a network with any number of classes shows what else is missing.
    let any_classes = View { assumed_classes: Some(10), ..*view };
    let network = (family.infer)(view, &found)
        .or_else(|message| (family.infer)(&any_classes, &found).map_err(|_| Unrecognised::new(message, 1)))?;
    network.check().map_err(|error| match error {
        Error::Setting { key, message } if key == "norm" => Unrecognised::of_setting("norm", message),
        error => Unrecognised::new(error.to_string(), 1),
    })?;
    Ok(Settled { network, assumptions, open })
}

fn stated_as<T: ToString>(value: T, setting: &str, assumptions: &mut Vec<Assumption>) -> T {
    assumptions.push(Assumption::new(setting, value.to_string(), "as stated", false));
    value
}

fn of_code<T: ToString>(setting: &str, value: T, dialect: &Dialect) -> Assumption {
    let reason = format!("as in the code of {}, whose names the tensors have", dialect.source);
    Assumption::new(setting, value, reason, true)
}

/// The norm of a file: running statistics are batch norm's; others look alike.
fn norm(
    family: &Family,
    view: &View<'_>,
    stated: Option<Norm>,
    assumptions: &mut Vec<Assumption>,
) -> Result<Norm, Unrecognised> {
    let [weight, mean] = ["weight", "running_mean"].map(|part| format!("{}.{part}", family.norm));
    let wrong = |message: String| Err(Unrecognised::of_setting("norm", message));
    let (has_weight, has_mean) = (view.has(&weight), view.has(&mean));
    let (weight, mean) = (view.shown(&weight), view.shown(&mean));
    match (has_weight, has_mean, stated) {
        (true, true, None | Some(Norm::Batch)) => {
            assumptions.push(Assumption::new("norm", Norm::Batch, "there are running statistics", false));
            Ok(Norm::Batch)
        }
        (true, true, Some(norm)) => {
            wrong(format!("the file has running statistics ({mean}), which are batch norm's; got {norm}"))
        }
        (true, false, Some(norm)) if norm != Norm::None && norm != Norm::Batch => {
            Ok(stated_as(norm, "norm", assumptions))
        }
        (true, false, None) => wrong(format!(
            "the norms have no running statistics ({weight} without {mean}), and instance, layer and group norm all \
             look so; expected instance, layer or group:G, such as group:8"
        )),
        (true, false, Some(norm)) => wrong(format!(
            "the norms have no running statistics ({weight} without {mean}); expected instance, layer or group:G, got \
             {norm}"
        )),
        (false, _, None | Some(Norm::None)) => {
            assumptions.push(Assumption::new("norm", Norm::None, "there are no tensors of norms", false));
            Ok(Norm::None)
        }
        (false, _, Some(norm)) => wrong(format!("there are no tensors of norms ({weight}), got {norm}")),
    }
}

/// The file's name of each parameter of `network`, among `tensors`.
fn names(
    network: &dyn Network,
    view: &View<'_>,
    tensors: &Named<'_>,
) -> Result<BTreeMap<String, String>, Unrecognised> {
    let (mut names, mut misfit, mut missing) = (BTreeMap::new(), None, Vec::new());
    // The tensors that the file has in another shape.
    let mut misshapen = Vec::new();
    for parameter in network.layout().in_files() {
        let (name, expected) = (view.public(&parameter.name), parameter.file_shape());
        let message = match view.shapes.get(&name) {
            Some((written, found)) if *found == expected => {
                names.insert(parameter.name.clone(), written.to_owned());
                continue;
            }
            Some((written, found)) => {
                misshapen.push(written);
                let written = view.shapes.shown.name(written);
                format!("{}: tensor {written}: expected {expected:?}, found {found:?}", network.name())
            }
            None => {
                missing.push(view.shown(&parameter.name));
                let shape = match is_last(&parameter.name) {
                    // Without the last layer the number of classes, and so its shape, is unknown.
                    true => String::new(),
                    false => format!(" {expected:?}"),
                };
                format!(
                    "{}: expected tensor {}{shape}, found none",
                    network.name(),
                    view.wanted(&parameter.name)
                )
            }
        };
        misfit = misfit.or(Some(message));
    }
    let Some(message) = misfit else { return Ok(names) };
    let left_over = unknown(tensors, &names).into_iter().filter(|name| !misshapen.contains(&name.as_str()));
    let left_over = left_over.map(|name| view.shapes.shown.name(&name)).collect();
    Err(Unrecognised { missing, left_over, ..Unrecognised::new(message, names.len()) })
}

/// The tensors of a file that are not among `names` and that no file of the network may hold besides.
fn unknown(tensors: &Named<'_>, names: &BTreeMap<String, String>) -> Vec<String> {
    let used: HashSet<&str> = names.values().map(String::as_str).collect();
    let others = tensors.iter().map(|(name, _)| *name);
    others.filter(|name| !used.contains(name) && !is_known_beside(name)).map(str::to_owned).collect()
}

/// Whether a file may hold a tensor besides a network's own: layers of the released JEM that its class-conditional
/// model never uses, a counter of batch norm, the state of our optimizers, weights beside their moving averages, and
/// the ages of our chains.
pub fn is_known_beside(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
        || name == "chain_ages"
        || ["f.linear.", "energy_output.", "raw.", "adam.first.", "adam.second.", "momentum.velocity."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}
