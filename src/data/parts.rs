//! The parts of a folder of images: sub-folders for training, validation and testing, in any case.

use std::fs;
use std::path::{Path, PathBuf};

use super::listing::is_labels;
use crate::error::{Error, Result};

/// A part of a folder, or of another source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Val,
    Test,
}

impl Part {
    const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The names of its folder; the first is its own.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Val => &["val", "valid", "validation"],
            Self::Test => &["test", "testing"],
        }
    }

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The part called `name`, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.names().iter().any(|known| known.eq_ignore_ascii_case(name)))
    }
}

/// The folders of the parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) train: Option<PathBuf>,
    pub(super) val: Option<PathBuf>,
    pub(super) test: Option<PathBuf>,
}

impl Parts {
    /// Finds the parts of `folder`. A folder called `train` that has images and no classes is itself a class, unless
    /// `labelled`: then a file names its classes.
    ///
    /// # Errors
    /// [`Error::File`] for two folders of one part, or parts without one for training.
    pub(super) fn find(folder: &Path, labelled: bool) -> Result<Self> {
        let mut found = Self::default();
        let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(part) = Part::named(&entry.file_name().to_string_lossy()).filter(|_| path.is_dir())
            else {
                continue;
            };
            let slot = match part {
                Part::Train => &mut found.train,
                Part::Val => &mut found.val,
                Part::Test => &mut found.test,
            };
            if let Some(other) = slot.replace(path.clone()) {
                let message =
                    format!("is the part {} as well as {}; remove one", part.name(), other.display());
                return Err(Error::file(path, message));
            }
        }
        let has_classes =
            |part: &Option<PathBuf>| part.as_deref().is_some_and(|part| labelled || has_classes(part));
        if has_classes(&found.train) {
            return Ok(found);
        }
        match [&found.test, &found.val].into_iter().find(|part| has_classes(part)) {
            Some(lone) => Err(lone_part(folder, lone.as_deref().unwrap_or(folder))),
            None => Ok(Self::default()),
        }
    }
}

/// The error for a `folder` with the part `there` but no train.
fn lone_part(folder: &Path, there: &Path) -> Error {
    let message = format!(
        "has classes in {0}, but there is no train beside it; add one, or give {0} itself, of which one image in ten is \
         held out for testing",
        there.display()
    );
    Error::file(folder, message)
}

/// Whether `folder` has sub-folders, as a part with classes has, or a file of labels. A class that happens to be called
/// `train` has images only.
pub(super) fn has_classes(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    entries.flatten().any(|entry| !hidden(&entry) && (entry.path().is_dir() || is_labels(&entry.file_name())))
}
