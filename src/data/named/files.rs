//! The files of a named set, under every spelling of their names, and where they are on this machine.

use std::path::{Path, PathBuf};

use super::{Collection, Format, NamedSet, Split};
use crate::data::cifar;
use crate::data::locate::{self, Layout, Place};
use crate::error::{Error, Result};

impl NamedSet {
    /// The spellings of the name of an idx file.
    fn idx(self, kind: &str) -> Vec<String> {
        let part = if self.split == Split::Train { "train" } else { "t10k" };
        let (content, format) = kind.split_once('-').expect("a content and a format");
        let plain = [format!("{part}-{content}-{format}-ubyte"), format!("{part}-{content}.{format}-ubyte")];
        plain.into_iter().flat_map(|name| [name.clone(), format!("{name}.gz")]).collect()
    }

    /// The spellings of the name of each file.
    fn files(self) -> Vec<Vec<String>> {
        let one = |name: String| vec![name];
        let pickled = |name: &str| vec![name.to_owned(), cifar::pickled(name).to_owned()];
        match (self.collection.format, self.split) {
            (Format::Cifar10, Split::Train) => cifar::TRAIN_FILES.map(pickled).into(),
            (Format::Cifar10, _) => vec![pickled(cifar::TEST_FILE)],
            (Format::Cifar100, split) => vec![pickled(&format!("{}.bin", split.key()))],
            (Format::Svhn, split) => vec![one(format!("{}_32x32.mat", split.key()))],
            (Format::Idx(_), _) => ["images-idx3", "labels-idx1"].map(|kind| self.idx(kind)).into(),
        }
    }

    fn place(self) -> Place {
        if self.collection.format == Format::Cifar10 {
            return locate::cifar10_place();
        }
        let Collection { folder, torchvision, format, .. } = self.collection;
        let layout = |folder, part: fn(&String) -> bool, by_name| Layout {
            folder,
            files: self.files().concat().into_iter().filter(part).collect(),
            by_name,
        };
        let layouts = match (format, torchvision) {
            // `train` and `test` may be files of anything.
            (Format::Cifar100, Some(python)) => vec![
                layout(folder, |file| file.ends_with(".bin"), false),
                layout(python, |file| !file.ends_with(".bin"), true),
            ],
            (Format::Idx(_), Some(raw)) => vec![layout(folder, |_| true, true), layout(raw, |_| true, true)],
            _ => vec![layout(folder, |_| true, false)],
        };
        Place { layouts }
    }

    /// The files of the set, each under one of its spellings.
    ///
    /// # Errors
    /// The errors of [`locate::check`]. [`Error::Setting`] with the directories that were searched, when none of them
    /// has a file of the set; [`Error::File`] for a directory that lacks a file; [`Error::Io`] for a file that cannot
    /// be opened.
    pub fn find(self, asked: Option<&Path>) -> Result<Vec<PathBuf>> {
        locate::check(asked)?;
        let (place, wanted, home) = (self.place(), self.files(), self.collection.home);
        let name = |spellings: &[String]| {
            let or_other = match self.collection.format {
                Format::Idx(_) => " (or .gz)",
                Format::Cifar10 | Format::Cifar100 => " (or the Python version's)",
                Format::Svhn => "",
            };
            format!("{}{or_other}", spellings[0])
        };
        let directory = place.find(asked).map_err(|looked| {
            let (file, looked) = (name(&wanted[0]), place.list(&looked));
            let message = format!("expected {file} in {looked}; download the set from {home}");
            Error::setting(self.to_string(), message)
        })?;
        let file = |spellings: &Vec<String>| {
            let mut paths = spellings.iter().map(|file| directory.join(file));
            let found = paths.find(|path| path.is_file()).ok_or_else(|| {
                let file = name(spellings);
                let message = format!("expected {file} of {self}, found none; download the set from {home}");
                Error::file(&directory, message)
            })?;
            std::fs::File::open(&found).map_err(Error::io(&found))?;
            Ok(found)
        };
        wanted.iter().map(file).collect()
    }
}
