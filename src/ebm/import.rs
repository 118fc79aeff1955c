//! Finds the network in a file of tensors, and says what is assumed of it.

use super::model::{ASSUMPTIONS, stored};
use crate::error::{Error, Result};
use crate::io::elements::{Array, Elements};
use crate::io::parametrization;
use crate::io::state_file::Dictionary;
use crate::nn::architecture::{
    Architecture, Assumption, Choices, Recognised, Shown, Unrecognised, is_known_beside, nothing_known,
    prefixes, recognise_as, some_of,
};
use crate::nn::normalised::InputNormalisation;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Options for a file that does not name its network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportOptions {
    /// The family and size that the network must have; `None`: any. Its classes, norm and activation do not count.
    pub size: Option<Architecture>,
    /// Settings of the network that names and shapes leave open.
    pub choices: Choices,
    /// The normalisation of images that the classifier was trained with.
    pub normalisation: Option<InputNormalisation>,
    /// The key of the dictionary with the network's tensors; `None`: the one that fits.
    pub key: Option<String>,
    /// The beginning of the names of the network's tensors, such as `module.`; `None`: the one that fits.
    pub prefix: Option<String>,
    /// The names of the classes, in the order of the logits.
    pub class_names: Option<Vec<String>>,
    /// Rows and columns of the images; `None`: those that the network was published with.
    pub image_size: Option<[usize; 2]>,
    /// Whether to read the model without the chains of its replay buffer. Those of a safetensors file are then never in
    /// memory.
    pub without_chains: bool,
}

impl ImportOptions {
    /// The names of the assumptions that these options make unnecessary.
    pub(super) fn settled(&self) -> Vec<&'static str> {
        let choices = self.choices.each().into_iter().map(|(setting, choice)| (setting, choice.is_some()));
        let of_images =
            [("normalisation", self.normalisation.is_some()), ("image size", self.image_size.is_some())];
        choices.chain(of_images).filter_map(|(setting, given)| given.then_some(setting)).collect()
    }
}

/// `stated`, the network that a file of ours names, with those of its guesses replaced that `choices` settle.
///
/// # Errors
/// [`Error::Setting`] with a choice other than a setting that was not guessed, such as that of a trained model.
pub fn settle(
    path: &Path,
    stated: Architecture,
    choices: &Choices,
    metadata: &BTreeMap<String, String>,
) -> Result<Architecture> {
    let assumptions: Vec<Assumption> = stored(metadata, ASSUMPTIONS, path)?.unwrap_or_default();
    let mut settled = stated.clone();
    for (setting, choice) in choices.each() {
        let Some(choice) = choice else { continue };
        let with = settled.with(&choice).map_err(|message| Error::file(path, message))?;
        let is_guess = assumptions.iter().any(|assumption| assumption.guess && assumption.setting == setting);
        if !is_guess && with.network().settings() != settled.network().settings() {
            let message = format!(
                "{} states another {setting}, which it was trained with or imported with (jem info shows it); leave \
                 this out",
                path.display()
            );
            return Err(Error::setting(setting, message));
        }
        settled = with;
    }
    Ok(settled)
}

/// A network in a file.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The number of the dictionary with its tensors.
    pub dictionary: usize,
    /// The beginning of the names of its tensors in the file, which the network's own names lack.
    pub prefix: String,
    /// The network.
    pub recognised: Recognised,
}

/// A network in a file, or the setting that must settle it.
struct Candidate {
    dictionary: usize,
    prefix: String,
    network: Result<Recognised, Unrecognised>,
}

/// The one network in a file.
///
/// # Errors
/// [`Error::File`] if there is none, with the tensor that is missing or does not fit, of the network that fits best;
/// [`Error::Setting`] with the option that must settle what the file leaves open.
pub fn choose(dictionaries: &[Dictionary], options: &ImportOptions, path: &Path) -> Result<Chosen> {
    let asked = |dictionary: &Dictionary| options.key.as_ref().is_none_or(|key| *key == dictionary.key);
    if let Some(key) = options.key.as_ref().filter(|_| !dictionaries.iter().any(asked)) {
        let message = format!("{} has no tensors under {key:?}; {}", path.display(), keys(dictionaries));
        return Err(Error::setting("key", message));
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    // Joined dictionaries repeat those that they join.
    for flattened in [false, true] {
        for (number, dictionary) in dictionaries.iter().enumerate() {
            if dictionary.flattened == flattened && asked(dictionary) && (!flattened || found.is_empty()) {
                match candidates(number, dictionary, options) {
                    Ok(more) => found.extend(more),
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    if let [first, second, ..] = &found[..] {
        return Err(two_networks(dictionaries, [first, second], path));
    }
    let Some(Candidate { dictionary, prefix, network }) = found.pop() else {
        let best = errors.into_iter().max_by_key(|error| error.fitting);
        let message =
            best.map_or_else(|| "expected the tensors of a network, found none".into(), |e| e.message);
        return Err(Error::file(path, message));
    };
    let recognised = network.map_err(|error| {
        let message = format!("{}: {}", path.display(), error.message);
        Error::setting(error.setting.unwrap_or("arch"), message)
    })?;
    Ok(Chosen { dictionary, prefix, recognised })
}

fn keys(dictionaries: &[Dictionary]) -> String {
    let keys: Vec<String> =
        dictionaries.iter().filter(|d| !d.flattened).map(|d| format!("{:?}", d.key)).take(8).collect();
    format!("there are tensors under {}", keys.join(", "))
}

fn two_networks(dictionaries: &[Dictionary], [a, b]: [&Candidate; 2], path: &Path) -> Error {
    let path = path.display();
    if a.dictionary == b.dictionary {
        let message = format!(
            "{path} has two networks, whose tensors begin with {:?} and {:?}; expected one of these",
            a.prefix, b.prefix
        );
        return Error::setting("prefix", message);
    }
    let [a, b] = [a, b].map(|candidate| &dictionaries[candidate.dictionary].key);
    Error::setting(
        "key",
        format!("{path} has two networks, under {a:?} and {b:?}; expected one of these keys"),
    )
}

/// The networks in a dictionary of tensors: one under each prefix that shares no tensors with another. If there is none,
/// the error of the network that fits best.
fn candidates(
    number: usize,
    dictionary: &Dictionary,
    options: &ImportOptions,
) -> Result<Vec<Candidate>, Unrecognised> {
    let plain = parametrization::names(&dictionary.tensors);
    let originals = parametrization::originals(&dictionary.tensors);
    let tensors: Vec<(&str, &[usize])> =
        plain.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    // `net` stands for `net.`, if that is how all such names go on.
    let asked = options.prefix.as_ref().map(|prefix| {
        let dotted = format!("{prefix}.");
        let mut under =
            tensors.iter().map(|(name, _)| *name).filter(|name| name.starts_with(prefix)).peekable();
        let stands = under.peek().is_some() && under.all(|name| name.starts_with(&dotted));
        if stands && !prefix.is_empty() { dotted } else { prefix.clone() }
    });
    let prefixes = match &asked {
        Some(prefix) => vec![prefix.as_str()],
        None => prefixes(tensors.iter().map(|(name, _)| *name)),
    };
    let (mut found, mut partial): (Vec<Candidate>, Vec<(usize, Candidate)>) = (Vec::new(), Vec::new());
    let (mut errors, mut tried) = (Vec::new(), Vec::new());
    for prefix in prefixes {
        // A network within another, such as JEM's `f.`, is not one more; one beside it, such as an average, is.
        let within = |outer: &Candidate| match &outer.network {
            Ok(network) => {
                network.names.values().any(|name| format!("{}{name}", outer.prefix).starts_with(prefix))
            }
            Err(_) => prefix.starts_with(&outer.prefix),
        };
        if found.iter().chain(partial.iter().map(|(_, candidate)| candidate)).any(within) {
            continue;
        }
        let own: Vec<(&str, &[usize])> =
            tensors.iter().filter_map(|(name, shape)| Some((name.strip_prefix(prefix)?, *shape))).collect();
        let candidate = |network| Candidate { dictionary: number, prefix: prefix.to_owned(), network };
        let shown = Shown { prefix, originals: Some(&originals) };
        match recognise_as(&own, &options.choices, shown) {
            Err(error) if error.setting.is_none() => {
                tried.push(prefix);
                // Without a fitting parameter, there is no such network under the prefix.
                if error.fitting > 0 {
                    errors.push((prefix, error));
                }
            }
            // Tensors that it lacks may repeat others, or be another network's.
            Ok(network) if !network.unknown.is_empty() => {
                partial.push((network.names.len(), candidate(Ok(network))));
            }
            network => found.push(candidate(network)),
        }
    }
    // A network whose other tensors are all of networks beside it is one, too.
    let beside: Vec<String> = found.iter().map(|candidate| candidate.prefix.clone()).collect();
    let (whole, partial): (Vec<_>, Vec<_>) = partial.into_iter().partition(|(_, candidate)| {
        let full = |name: &String| format!("{}{name}", candidate.prefix);
        let of_others = |name: &String| beside.iter().any(|prefix| full(name).starts_with(prefix));
        candidate.network.as_ref().is_ok_and(|network| network.unknown.iter().all(of_others))
    });
    found.extend(whole.into_iter().map(|(_, candidate)| candidate));
    if !found.is_empty() {
        return Ok(found);
    }
    // Of equals the first, whose prefix is the shortest.
    let best = errors.into_iter().rev().max_by_key(|(_, error)| error.fitting);
    match (partial.into_iter().rev().max_by_key(|(fitting, _)| *fitting), best) {
        (Some((fitting, candidate)), best)
            if best.as_ref().is_none_or(|(_, best)| best.fitting <= fitting) =>
        {
            Ok(vec![candidate])
        }
        (_, Some((prefix, best))) => {
            Err(described(best, &tensors, Shown { prefix, originals: Some(&originals) }))
        }
        (_, None) => {
            let names = || dictionary.tensors.iter().map(|(name, _)| name.as_str());
            let mut error = nothing_known(names());
            if let Some(prefix) = &options.prefix
                && !names().any(|name| name.starts_with(prefix))
            {
                error.message =
                    format!("expected tensors under {prefix:?}, found none; there are {}", some_of(names()));
                return Err(error);
            }
            let tried: Vec<String> = tried
                .iter()
                .filter(|prefix| !prefix.is_empty())
                .map(|prefix| format!("{prefix:?}"))
                .collect();
            if !tried.is_empty() {
                error.message += &format!("; tried under {}", some_of(tried.iter().map(String::as_str)));
            }
            Err(error)
        }
    }
}

/// Adds to the error the prefix that was tried, if there is one, and the tensors that are missing or left over. The
/// `tensors` whose names do not begin with the prefix are left over, too.
fn described(mut error: Unrecognised, tensors: &[(&str, &[usize])], shown: Shown<'_>) -> Unrecognised {
    let full = Shown { prefix: "", ..shown };
    let outside = tensors.iter().map(|(name, _)| *name);
    let outside = outside.filter(|name| !name.starts_with(shown.prefix) && !is_known_beside(name));
    error.left_over.extend(outside.map(|name| full.name(name)));
    let count = |names: &[String], what: &str| {
        let some = some_of(names.iter().map(String::as_str));
        (!names.is_empty()).then(|| format!("{} {what}: {some}", names.len()))
    };
    let parts: Vec<String> = [
        (!shown.prefix.is_empty()).then(|| format!("tried under {:?}", shown.prefix)),
        count(&error.missing, "missing"),
        count(&error.left_over, "left over"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !parts.is_empty() {
        error.message += &format!(" ({})", parts.join("; "));
    }
    error
}

/// A summary of tensors that were left out of a file, for [`Facts::ignored`](crate::io::state_file::Facts): single
/// names, and the number of names that begin alike.
pub fn summary(names: &[String]) -> Vec<String> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        let first = name.split_inclusive('.').next().unwrap_or(name);
        groups.entry(first).or_default().push(name);
    }
    let text = |(first, names): (&str, Vec<&str>)| match names[..] {
        [name] => name.to_owned(),
        _ => format!("{} tensors {first}*", names.len()),
    };
    groups.into_iter().map(text).collect()
}

/// Removes `prefix` from the names of `tensors`, and the tensors without it, whose names are returned.
pub fn strip(tensors: &mut Vec<(String, Array)>, prefix: &str) -> Vec<String> {
    let mut left_out = Vec::new();
    tensors.retain_mut(|(name, _)| match name.strip_prefix(prefix) {
        Some(rest) => {
            *name = rest.to_owned();
            true
        }
        None => {
            left_out.push(std::mem::take(name));
            false
        }
    });
    left_out
}

/// Checks that the `unknown` tensors repeat tensors that a network uses, as JEM++'s `f.other_layers` do. `prefix` is
/// the beginning of their names in the file.
///
/// # Errors
/// [`Error::File`] with the tensors that do not.
pub fn check_repeated(
    architecture: &Architecture,
    tensors: &[(String, Array)],
    names: &BTreeMap<String, String>,
    unknown: &[String],
    prefix: &str,
    path: &Path,
) -> Result<()> {
    let used: HashSet<&str> = names.values().map(String::as_str).collect();
    let unknown: HashSet<&str> = unknown.iter().map(String::as_str).collect();
    let mut known: HashSet<(&[usize], u64)> = HashSet::new();
    for (name, array) in tensors {
        if used.contains(name.as_str()) {
            known.insert((&array.shape, digest(&array.elements)));
        }
    }
    let repeats = |array: &Array| {
        known.contains(&(array.shape.as_slice(), digest(&array.elements)))
            && tensors.iter().any(|(name, other)| used.contains(name.as_str()) && same(other, array))
    };
    let foreign = tensors.iter().filter(|(name, array)| unknown.contains(name.as_str()) && !repeats(array));
    let foreign: Vec<String> =
        foreign.map(|(name, array)| format!("{prefix}{name} {:?}", array.shape)).collect();
    let (tensors, they) = match foreign.len() {
        0 => return Ok(()),
        1 => ("tensor", "it belongs"),
        _ => ("tensors", "they belong"),
    };
    let network = architecture.network().name();
    let some = some_of(foreign.iter().map(String::as_str));
    Err(Error::file(path, format!("{network}: unknown {tensors} {some}; {they} to another architecture")))
}

/// A hash of the bits of floats.
fn digest(elements: &Elements) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    if let Elements::F32(values) = elements {
        values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    }
    hasher.finish()
}

/// Whether two arrays have the same shape and bits.
fn same(a: &Array, b: &Array) -> bool {
    let (Elements::F32(x), Elements::F32(y)) = (&a.elements, &b.elements) else { return false };
    a.shape == b.shape && x.iter().map(|v| v.to_bits()).eq(y.iter().map(|v| v.to_bits()))
}

/// Refuses a network of another family or size than asked for.
///
/// # Errors
/// [`Error::Setting`] with both.
pub fn check_size(asked: Option<&Architecture>, found: &Architecture) -> Result<()> {
    match asked {
        Some(asked) if !asked.is_of_size(found) => {
            let (asked, found) = (asked.network().name(), found.network().name());
            Err(Error::setting(
                "arch",
                format!("expected {asked}, but the file has the tensors of a {found}"),
            ))
        }
        _ => Ok(()),
    }
}

/// The assumptions about the images of a model.
pub fn of_images(normalised: bool, size: [usize; 2], size_stated: bool) -> Vec<Assumption> {
    let mut assumptions = Vec::new();
    if !normalised {
        let reason = "the network takes images in [-1, 1], as JEM's does; most other classifiers were trained on \
                      (pixel - mean) / std: state both with --mean and --std";
        assumptions.push(Assumption::new("normalisation", "none", reason, true));
    }
    if !size_stated {
        let [height, width] = size;
        let reason = "the size that the network was published with";
        assumptions.push(Assumption::new("image size", format!("{height}x{width}"), reason, true));
    }
    assumptions
}
