//! Opens images by a user's description of the source: an array, a folder, or the name of a data set.

use std::path::Path;

use super::download::Observer;
use super::images::Images;
use super::named::{Collection, NamedSet, Split};
use super::training::{SYNTHETIC, drawn, folder_part};
use super::{array, folder};
use crate::error::{Error, Result};

impl Images {
    /// Opens `text`, which is one of these, tried in this order:
    ///
    /// - the path of a `.npy` array (see [`array::images`]) or of a folder of images (see [`folder::load`])
    /// - the name of a set, which [`NamedSet::load`] finds in the directory `data`
    /// - `synthetic:train` or `synthetic:test`, the parts of the synthetic data set
    /// - `FOLDER:train` or `FOLDER:test`, the images of a folder that [`DataSource::load`] trains on or tests on
    ///
    /// [`DataSource::load`]: super::training::DataSource::load
    ///
    /// # Errors
    /// [`Error::Setting`] when `text` is none of these; else the errors of the reader of the source.
    pub fn open(text: &str, data: Option<&Path>, observer: Observer) -> Result<Self> {
        let path = Path::new(text);
        if path.is_dir() {
            return folder::load(path);
        }
        if path.exists() {
            if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
                return array::load(path);
            }
            return Err(unknown(text, "a file of another kind"));
        }
        match text.parse::<NamedSet>() {
            Ok(set) => match Self::from(set.load(data, observer)?) {
                Self { count: 0, .. } => {
                    Err(Error::setting("images", format!("expected images, found none in the set {text}")))
                }
                images => Ok(images),
            },
            Err(_) => match part(text) {
                Some((SYNTHETIC, split)) => Ok(drawn(split).into()),
                Some((path, split)) if Path::new(path).is_dir() => folder_part(Path::new(path), split),
                _ => Err(unknown(text, "no such path or set")),
            },
        }
    }
}

/// The source and the part of `SOURCE:train` or `SOURCE:test`.
fn part(text: &str) -> Option<(&str, Split)> {
    let (source, part) = text.rsplit_once(':')?;
    let split = [Split::Train, Split::Test].into_iter().find(|split| split.key() == part)?;
    Some((source, split))
}

fn unknown(text: &str, found: &str) -> Error {
    if text == SYNTHETIC || Collection::named(text).is_some() {
        let message = format!("expected a part of the set {text}: {text}:train or {text}:test");
        return Error::setting("images", message);
    }
    Error::setting(
        "images",
        format!(
            "expected a .npy array, a folder of PNG or JPEG images, or a set ({}, {SYNTHETIC}:train, \
             {SYNTHETIC}:test), found {text:?}: {found}",
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

        for text in [at("folder/a.png"), at("missing.npy"), "imagenet:test".into()] {
            let message = open(&text, None).unwrap_err().to_string();
            for part in [".npy array", "folder of PNG or JPEG", "svhn:extra", text.as_str()] {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
            assert_eq!(message.lines().count(), 1);
        }
        for text in ["mnist", "synthetic"] {
            let message = open(text, None).unwrap_err().to_string();
            assert!(message.contains(&format!("{text}:train or {text}:test")), "{message}");
        }
    }
}
