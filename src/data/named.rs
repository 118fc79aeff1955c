//! Data sets by name, such as `svhn:test`.

mod collections;
mod files;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::download::{Fetched, Observer};
use super::{Dataset, cifar, locate, mnist, svhn};
use crate::error::{Error, Result};
use collections::Format;
pub use collections::{COLLECTIONS, Collection, Split};

/// A data set with a name, `COLLECTION:SPLIT`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NamedSet {
    collection: &'static Collection,
    split: Split,
}

impl NamedSet {
    /// Every data set with a name.
    pub fn all() -> impl Iterator<Item = Self> {
        COLLECTIONS
            .iter()
            .flat_map(|collection| collection.splits.iter().map(|&split| Self { collection, split }))
    }

    /// The names of all data sets, for a message.
    pub fn known() -> String {
        Self::all().map(|set| set.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Finds the set as [`locate::Place::find`] does, in `asked` if it is given, and reads it. If CIFAR-10 is not
    /// found, it is downloaded with [`locate::cifar10`], which reports to `observer`.
    ///
    /// # Errors
    /// The errors of [`Self::find`] and of the readers.
    pub fn load(self, asked: Option<&Path>, observer: Observer) -> Result<Dataset> {
        let name = format!("{} {}", self.collection.title, self.split.key());
        match self.collection.format {
            Format::Cifar10 => self.cifar10(asked, observer),
            Format::Cifar100 => {
                let records = if self.split == Split::Train { 50_000 } else { 10_000 };
                cifar::load_100(&self.find(asked)?[0], &name, records)
            }
            Format::Svhn => svhn::load(&self.find(asked)?[0], &name),
            Format::Idx(classes) => {
                let files = self.find(asked)?;
                mnist::load(&files[0], &files[1], &name, classes)
            }
        }
    }

    fn cifar10(self, asked: Option<&Path>, observer: Observer) -> Result<Dataset> {
        match locate::cifar10(asked, observer)? {
            Fetched::Unavailable { reason } => Err(Error::setting(self.to_string(), reason)),
            Fetched::Ready(directory) if self.split == Split::Train => cifar::load_train(&directory),
            Fetched::Ready(directory) => cifar::load_test(&directory),
        }
    }

    /// The web page that offers the files of the set.
    pub fn home(self) -> &'static str {
        self.collection.home
    }
}

impl fmt::Display for NamedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.collection.key, self.split.key())
    }
}

impl FromStr for NamedSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::all().find(|set| set.to_string() == text).ok_or_else(|| {
            Error::setting("data set", format!("expected one of {}, found {text:?}", Self::known()))
        })
    }
}

#[cfg(test)]
mod tests;
