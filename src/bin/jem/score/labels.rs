//! The labels that predictions are compared with.

use super::{Arguments, write};
use crate::class_names::Map;
use crate::labels::{self, Labels};
use jem::data::images::Images;
use jem::io::ending;
use jem::{Error, Result};
use std::path::Path;

/// The labels to compare predictions of a model with `classes` classes called `names` with. A scalar energy has no
/// classes, so the labels of the images are ignored.
pub fn labels(
    arguments: &Arguments,
    images: &Images,
    classes: usize,
    names: Option<&[String]>,
) -> Result<Labels> {
    if arguments.no_labels {
        return Ok(Labels::default());
    }
    if let Some(path) = arguments.labels.as_ref().filter(|path| !is_csv(path)) {
        if classes == 1 {
            return Err(Error::setting("--labels", "the model is a scalar energy, which has no classes"));
        }
        if arguments.classes_map.is_some() {
            let message = format!("maps names, but {} has numbers", path.display());
            return Err(Error::setting("--classes-map", message));
        }
        let classes = write::read_labels(path, images.count, classes)?;
        return Ok(Labels { classes: Some(classes), note: None });
    }
    let Some(labels) = images.labels.as_ref().filter(|_| classes > 1) else {
        let is_folder =
            images.files.is_some() && arguments.images.iter().any(|text| !Path::new(text).is_file());
        let message =
            format!("{} has neither sub-folders for classes nor a labels.csv, so no accuracy", images.name);
        return Ok(if is_folder && classes > 1 { Labels::none(message) } else { Labels::default() });
    };
    let map = arguments.classes_map.as_deref().map(Map::read).transpose()?.unwrap_or_default();
    labels::of_model("--images", images, labels, classes, names, &map)
}

/// Whether `path` is a CSV file of labels.
pub fn is_csv(path: &Path) -> bool {
    ending(path).as_deref() == Some("csv")
}
