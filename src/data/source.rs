//! Opens images by a user's description of the source: an array, picture files, a folder, or the name of a data set.

use std::path::{Path, PathBuf};

use super::download::Observer;
use super::images::Images;
use super::named::{Collection, NamedSet, Split};
use super::parts::Part;
use super::reading::ReadOptions;
use super::training::{SYNTHETIC, drawn, folder_part};
use super::{array, folder};
use crate::error::{Error, Result};

impl Images {
    /// Opens `text`, which is one of these, tried in this order:
    ///
    /// - the path of a `.npy` or `.npz` array (see [`array::load`]), of a picture file, or of a folder of pictures (see
    ///   [`folder::load`])
    /// - the name of a set, which [`NamedSet::load`] finds in the directory `data`
    /// - `synthetic:train` or `synthetic:test`, the parts of the synthetic data set
    /// - `FOLDER:train`, `FOLDER:val` or `FOLDER:test`, the images of a folder that [`DataSource::load`] trains on,
    ///   leaves out or tests on
    ///
    /// [`DataSource::load`]: super::training::DataSource::load
    ///
    /// # Errors
    /// [`Error::Setting`] when `text` is none of these; else the errors of the reader of the source.
    pub fn open(text: &str, data: Option<&Path>, observer: Observer) -> Result<Self> {
        Self::open_with(&[text], data, &ReadOptions::default(), observer)
    }

    /// Whether `sources` are picture files, a folder of them, or a part of such a folder; [`ReadOptions::size`] scales
    /// these.
    pub fn are_pictures(sources: &[impl AsRef<str>]) -> bool {
        let [text] = sources else { return true };
        let (text, path) = (text.as_ref(), Path::new(text.as_ref()));
        match path.exists() {
            true => path.is_dir() || folder::is_picture(path),
            false => {
                text.parse::<NamedSet>().is_err()
                    && part(text).is_some_and(|(folder, _)| Path::new(folder).is_dir())
            }
        }
    }

    /// Opens one source as [`Images::open`] does, or several picture files, with `options`.
    ///
    /// # Errors
    /// The errors of [`Images::open`]; [`Error::Setting`] for several sources that are not all picture files, and for
    /// options that do not apply to the source.
    pub fn open_with(
        sources: &[impl AsRef<str>],
        data: Option<&Path>,
        options: &ReadOptions,
        observer: Observer,
    ) -> Result<Self> {
        let sources: Vec<&str> = sources.iter().map(AsRef::as_ref).collect();
        let text = match sources.as_slice() {
            [text] => *text,
            several => return files(several, options, observer),
        };
        let path = Path::new(text);
        if path.is_dir() {
            return folder::load(path, options, observer);
        }
        if path.exists() {
            if array::is_array(path) {
                return array::load(path, options);
            }
            if folder::is_picture(path) {
                return folder::load_files(vec![path.into()], options, observer);
            }
            return Err(unknown(text, "a file of another kind"));
        }
        match (text.parse::<NamedSet>(), part(text)) {
            (Ok(set), _) => {
                options.check_unused(text)?;
                match Self::from(set.load(data, observer)?) {
                    Self { count: 0, .. } => Err(Error::setting(
                        "images",
                        format!("expected images, found none in the set {text}"),
                    )),
                    images => Ok(images),
                }
            }
            (_, Some((SYNTHETIC, part @ (Part::Train | Part::Test)))) => {
                options.check_unused(text)?;
                Ok(drawn(if part == Part::Train { Split::Train } else { Split::Test }).into())
            }
            (_, Some((path, part))) if Path::new(path).is_dir() => {
                folder_part(Path::new(path), part, options, observer)
            }
            _ => Err(unknown(text, "no such path or set")),
        }
    }
}

/// The picture files `sources`.
fn files(sources: &[&str], options: &ReadOptions, observer: Observer) -> Result<Images> {
    let is_file = |text: &&&str| Path::new(text).is_file() && folder::is_picture(Path::new(text));
    if let Some(other) = sources.iter().find(|text| !is_file(text)) {
        let message =
            format!("expected one source, or picture files, found {other:?} among {}", sources.len());
        return Err(Error::setting("images", message));
    }
    folder::load_files(sources.iter().map(PathBuf::from).collect(), options, observer)
}

/// The source and the part of `SOURCE:train`, `SOURCE:val` or `SOURCE:test`.
fn part(text: &str) -> Option<(&str, Part)> {
    let (source, part) = text.rsplit_once(':')?;
    Some((source, Part::named(part)?))
}

fn unknown(text: &str, found: &str) -> Error {
    if text == SYNTHETIC || Collection::named(text).is_some() {
        let message = format!("expected a part of the set {text}: {text}:train or {text}:test");
        return Error::setting("images", message);
    }
    Error::setting(
        "images",
        format!(
            "expected a .npy array or .npz arrays, a {} file or a folder of them, or a set ({}, {SYNTHETIC}:train, \
             {SYNTHETIC}:test), found {text:?}: {found}",
            super::decode::FORMATS,
            NamedSet::known()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::download::unobserved;
    use crate::data::images::Pixels;
    use crate::io::elements::Elements;
    use crate::io::{npy, png};
    use crate::says::assert_says;

    fn open(text: &str, data: Option<&Path>) -> Result<Images> {
        Images::open(text, data, &unobserved)
    }

    #[test]
    fn a_path_that_exists_wins_over_a_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name).display().to_string();
        std::fs::create_dir(at("folder")).unwrap();
        png::write_grid(Path::new(&at("folder/a.png")), &[0.0; 4], 1, 2, 2, 1, 1, 1).unwrap();
        assert_eq!(open(&at("folder"), None).unwrap().height, 6);
        npy::write(Path::new(&at("a.NPY")), &[1, 1, 1, 3], &Elements::U8(vec![1, 2, 3])).unwrap();
        assert_eq!(open(&at("a.NPY"), None).unwrap().pixels, Pixels::Bytes(vec![1, 2, 3]));

        std::fs::copy("tests/fixtures/matlab/svhn.mat", at("test_32x32.mat")).unwrap();
        let set = open("svhn:test", Some(root.path())).unwrap();
        assert_eq!((set.count, set.name.as_str(), set.labels), (2, "SVHN test", Some(vec![0, 3])));

        std::fs::write(at("notes.txt"), "no image").unwrap();
        assert_eq!(open(&at("folder/a.png"), None).unwrap().count, 1);
        for text in [at("notes.txt"), at("missing.npy"), "imagenet:test".into()] {
            let message = open(&text, None).unwrap_err().to_string();
            assert_says(&message, &[".npy array", "folder of them", "svhn:extra", &text]);
        }
        for text in ["mnist", "synthetic"] {
            let message = open(text, None).unwrap_err().to_string();
            assert!(message.contains(&format!("{text}:train or {text}:test")), "{message}");
        }
    }
}
