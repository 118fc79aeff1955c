//! The metadata of a model file about its training.

use super::Recipe;
use super::model::MAX_SIDE;
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// The metadata key of the recipe, as TOML.
pub const RECIPE: &str = "recipe";
/// The metadata key of the number of iterations that are done.
pub const ITERATION: &str = "iteration";
/// The metadata key of the number of the random stream.
pub const RANDOM_STREAM: &str = "random_stream";
/// The metadata key of the side, in pixels, to which the run scaled its pictures.
pub const PICTURE_SIZE: &str = "picture_size";
/// The tensor with the age of each chain of the replay buffer, in SGLD steps: n floats.
pub const CHAIN_AGES: &str = "chain_ages";

/// The training of a model, as its file tells it. Files of earlier versions and of other programs lack some of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trained {
    /// The recipe.
    pub recipe: Option<Recipe>,
    /// The number of iterations that are done.
    pub iteration: Option<u64>,
    /// The number of the random stream, which a fault increases.
    pub random_stream: Option<u32>,
    /// The side, in pixels, to which the run scaled its pictures; `None` if it did not.
    pub picture_size: Option<usize>,
}

impl Trained {
    /// Reads `metadata` of the file `path`.
    ///
    /// # Errors
    /// [`Error::File`] with the key whose value is wrong.
    pub fn of(metadata: &BTreeMap<String, String>, path: &Path) -> Result<Self> {
        let recipe = metadata.get(RECIPE).map(|text| Recipe::parse(text));
        let recipe =
            recipe.transpose().map_err(|why| Error::file(path, format!("metadata {RECIPE}: {why}")))?;
        let recipe = recipe.map(|recipe| match recipe.check(usize::MAX, 1) {
            Ok(()) => Ok(recipe),
            Err(error) => Err(Error::file(path, format!("metadata {RECIPE}: {error}"))),
        });
        let picture_size = number(metadata, PICTURE_SIZE, path)?;
        if let Some(size) = picture_size.filter(|size| !(1..=MAX_SIDE).contains(size)) {
            let message = format!("metadata {PICTURE_SIZE}: expected 1 to {MAX_SIDE} pixels, found {size}");
            return Err(Error::file(path, message));
        }
        Ok(Self {
            recipe: recipe.transpose()?,
            iteration: number(metadata, ITERATION, path)?,
            random_stream: number(metadata, RANDOM_STREAM, path)?,
            picture_size,
        })
    }

    /// Removes these keys from `metadata`: a file of another program may use them for something else.
    pub fn remove_from(metadata: &mut BTreeMap<String, String>) {
        for key in [RECIPE, ITERATION, RANDOM_STREAM, PICTURE_SIZE] {
            metadata.remove(key);
        }
    }
}

/// The number under `key`.
fn number<T: FromStr>(metadata: &BTreeMap<String, String>, key: &str, path: &Path) -> Result<Option<T>> {
    let Some(text) = metadata.get(key) else { return Ok(None) };
    let wrong = |_| {
        let message = format!("metadata {key}: expected a whole number of at least 0, found {text:?}");
        Error::file(path, message)
    };
    text.parse().map(Some).map_err(wrong)
}

/// The ages of the chains of `file`, read from `path`; `None` if it has none. `chains`: the number of chains, if it is
/// known.
///
/// # Errors
/// [`Error::File`] for a tensor of another shape or type, or with an age that is not a whole number of at least 0.
pub fn chain_ages(file: &Checkpoint, chains: Option<usize>, path: &Path) -> Result<Option<Vec<u32>>> {
    let Some((_, shape, _)) = file.tensors.iter().find(|(name, ..)| name == CHAIN_AGES) else {
        return Ok(None);
    };
    let expected = chains.unwrap_or(shape.first().copied().unwrap_or(0));
    let ages = file.f32(path, CHAIN_AGES, &[expected])?;
    let is_age = |age: f32| age >= 0.0 && age <= u32::MAX as f32 && age.fract() == 0.0;
    match ages.iter().position(|&age| !is_age(age)) {
        None => Ok(Some(ages.iter().map(|&age| age as u32).collect())),
        Some(i) => {
            let message = format!(
                "tensor {CHAIN_AGES}: element {i} is {}, expected a whole number of SGLD steps, at least 0",
                ages[i]
            );
            Err(Error::file(path, message))
        }
    }
}
