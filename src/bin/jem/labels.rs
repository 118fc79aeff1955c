//! The model's classes of images, by their names.

use crate::class_names::{Map, Matched, matched};
use jem::data::images::Images;
use jem::words::counted;
use jem::{Error, Result};

/// The labels of images, and what is said of them.
#[derive(Debug, Default)]
pub struct Labels {
    /// The model's class of each image; `None`: there is no accuracy.
    pub classes: Option<Vec<u32>>,
    /// Why there are no labels, or what is assumed of them.
    pub note: Option<String>,
}

impl Labels {
    pub fn none(note: impl Into<String>) -> Self {
        Self { classes: None, note: Some(note.into()) }
    }
}

/// The `labels` of `images`, the value of `flag`, for a model with `classes` classes called `names`.
pub fn of_model(
    flag: &str,
    images: &Images,
    labels: &[u32],
    classes: usize,
    names: Option<&[String]>,
    map: &Map,
) -> Result<Labels> {
    let (source, found) = (&images.name, &images.class_names);
    if found.is_empty() {
        return numbered(source, labels, classes);
    }
    let Some(names) = names else {
        return by_position(flag, images, labels, classes);
    };
    let Matched { classes, unmatched } = matched(found, names, map)?;
    if unmatched.len() == found.len() {
        let message =
            format!("{source} has other classes than the model ({}), so no accuracy", listed(found));
        return Ok(Labels::none(message));
    }
    let known: Option<Vec<u32>> = classes.into_iter().collect();
    match known {
        Some(classes) => {
            let classes = labels.iter().map(|&label| classes[label as usize]).collect();
            Ok(Labels { classes: Some(classes), note: None })
        }
        // A set with a name of its own is scored as it is, such as another set to be told apart.
        None if images.files.is_none() => {
            let message =
                format!("{source} has classes that the model lacks ({}), so no accuracy", listed(&unmatched));
            Ok(Labels::none(message))
        }
        None => {
            let message = format!(
                "{source} has classes that the model lacks: {}; it has {}. Match them with --classes-map {}=NAME, or \
                 use --no-labels",
                listed(&unmatched),
                names.join(", "),
                unmatched[0]
            );
            Err(Error::setting(flag, message))
        }
    }
}

/// Labels without names, which are numbers of the model's classes.
fn numbered(source: &str, labels: &[u32], classes: usize) -> Result<Labels> {
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
        let message = format!(
            "{source} has the label {label}, the model {}, so no accuracy",
            counted(classes, "class")
        );
        return Ok(Labels::none(message));
    }
    Ok(Labels { classes: Some(labels.to_vec()), note: None })
}

/// The labels of images for a model that does not name its classes: those of a data set, whose order is known.
fn by_position(flag: &str, images: &Images, labels: &[u32], classes: usize) -> Result<Labels> {
    let (source, found) = (&images.name, &images.class_names);
    if found.len() != classes {
        let message =
            format!("{source} has {}, the model {classes}, so no accuracy", counted(found.len(), "class"));
        return Ok(Labels::none(message));
    }
    if images.files.is_some() {
        let message = format!(
            "the model does not name its classes, so those of {source} ({}) cannot be found among them; name them with \
             --classes, such as --classes cifar10, or use --no-labels",
            listed(found)
        );
        return Err(Error::setting(flag, message));
    }
    let note =
        format!("the model does not name its classes; they are taken to be those of {source}, in its order");
    Ok(Labels { classes: Some(labels.to_vec()), note: Some(note) })
}

/// A few names.
fn listed(names: &[String]) -> String {
    match names {
        [first @ .., last] if names.len() > 8 => format!("{}, …, {last}", first[..7].join(", ")),
        names => names.join(", "),
    }
}
