//! Data sets by name, such as `svhn:test`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::download::{Fetched, Observer};
use super::locate::{self, Place};
use super::{Dataset, cifar, mnist, svhn};
use crate::error::{Error, Result};

/// A family of data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Ten classes of things and animals, 32x32 RGB.
    Cifar10,
    /// A hundred classes of things and animals, 32x32 RGB.
    Cifar100,
    /// The digits of house numbers, 32x32 RGB.
    Svhn,
    /// Digits by hand, 28x28 grey.
    Mnist,
    /// Ten classes of clothes, 28x28 grey.
    FashionMnist,
}

/// A part of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// For training.
    Train,
    /// For testing.
    Test,
    /// SVHN's further, easier digits.
    Extra,
}

/// A data set that is known by a name, `FAMILY:SPLIT`; one of [`NamedSet::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedSet {
    family: Family,
    split: Split,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::Cifar10, Self::Cifar100, Self::Svhn, Self::Mnist, Self::FashionMnist];

    /// The family of the name `text`.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.key() == text)
    }

    /// Its part `split`; only SVHN has [`Split::Extra`].
    pub fn part(self, split: Split) -> Option<NamedSet> {
        NamedSet::ALL.into_iter().find(|set| *set == NamedSet { family: self, split })
    }

    /// As names are written.
    pub fn key(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Svhn => "svhn",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// As reports are written.
    fn title(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
            Self::Svhn => "SVHN",
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
        }
    }

    /// The child of a directory of data sets that holds the files.
    fn folder(self) -> &'static str {
        match self {
            Self::Cifar10 => cifar::FOLDER,
            Self::Cifar100 => cifar::FOLDER_100,
            Self::Svhn => "svhn",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// Where its authors, or those who keep a copy, give it away.
    fn home(self) -> &'static str {
        match self {
            Self::Cifar10 | Self::Cifar100 => "https://www.cs.toronto.edu/~kriz/cifar.html",
            Self::Svhn => "http://ufldl.stanford.edu/housenumbers",
            Self::Mnist => "http://yann.lecun.com/exdb/mnist",
            Self::FashionMnist => "https://github.com/zalandoresearch/fashion-mnist",
        }
    }
}

impl Split {
    fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Extra => "extra",
        }
    }
}

impl NamedSet {
    /// Every data set with a name.
    pub const ALL: [Self; 11] = [
        Self { family: Family::Cifar10, split: Split::Train },
        Self { family: Family::Cifar10, split: Split::Test },
        Self { family: Family::Cifar100, split: Split::Train },
        Self { family: Family::Cifar100, split: Split::Test },
        Self { family: Family::Svhn, split: Split::Train },
        Self { family: Family::Svhn, split: Split::Test },
        Self { family: Family::Svhn, split: Split::Extra },
        Self { family: Family::Mnist, split: Split::Train },
        Self { family: Family::Mnist, split: Split::Test },
        Self { family: Family::FashionMnist, split: Split::Train },
        Self { family: Family::FashionMnist, split: Split::Test },
    ];

    /// The names of all, for a message.
    pub fn known() -> String {
        Self::ALL.map(|set| set.to_string()).join(", ")
    }

    /// Finds the set as [`Place::find`] does, in `asked` if that is given, and reads it. CIFAR-10 that is
    /// nowhere is downloaded as by [`locate::cifar10`], which `observer` is told of.
    ///
    /// # Errors
    /// [`Error::Setting`] with the directories looked in and the file they lack; what the readers return.
    pub fn load(self, asked: Option<&Path>, observer: Observer) -> Result<Dataset> {
        let name = format!("{} {}", self.family.title(), self.split.key());
        match self.family {
            Family::Cifar10 => self.cifar10(asked, observer),
            Family::Cifar100 => {
                let records = if self.split == Split::Train { 50_000 } else { 10_000 };
                let [file] = self.find(asked, [vec![format!("{}.bin", self.split.key())]])?;
                cifar::load_100(&file, &name, records)
            }
            Family::Svhn => {
                let [file] = self.find(asked, [vec![format!("{}_32x32.mat", self.split.key())]])?;
                svhn::load(&file, &name)
            }
            Family::Mnist | Family::FashionMnist => {
                let [images, labels] =
                    self.find(asked, ["images-idx3", "labels-idx1"].map(|kind| self.idx(kind)))?;
                let classes = if self.family == Family::Mnist { mnist::DIGITS } else { mnist::CLOTHES };
                mnist::load(&images, &labels, &name, classes)
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

    /// The spellings of the name of an idx file.
    fn idx(self, kind: &str) -> Vec<String> {
        let part = if self.split == Split::Train { "train" } else { "t10k" };
        let (content, format) = kind.split_once('-').expect("a content and a format");
        let plain = [format!("{part}-{content}-{format}-ubyte"), format!("{part}-{content}.{format}-ubyte")];
        plain.into_iter().flat_map(|name| [name.clone(), format!("{name}.gz")]).collect()
    }

    /// The files of the set, each under one of its spellings in `wanted`.
    fn find<const N: usize>(self, asked: Option<&Path>, wanted: [Vec<String>; N]) -> Result<[PathBuf; N]> {
        let family = self.family;
        let place = Place {
            folder: family.folder(),
            files: wanted.concat(),
            by_name: matches!(family, Family::Mnist | Family::FashionMnist),
        };
        let missing = |spellings: &[String], looked: &[PathBuf]| {
            let message = format!(
                "expected {}, looked in {}; it comes from {}",
                spellings.join(" or "),
                locate::list(looked),
                family.home()
            );
            Error::setting(self.to_string(), message)
        };
        let directory = place.find(asked).map_err(|looked| missing(&wanted[0], &looked))?;
        let mut found = std::array::from_fn(|_| PathBuf::new());
        for (path, spellings) in found.iter_mut().zip(&wanted) {
            *path = spellings
                .iter()
                .map(|file| directory.join(file))
                .find(|path| path.is_file())
                .ok_or_else(|| missing(spellings, std::slice::from_ref(&directory)))?;
        }
        Ok(found)
    }
}

impl fmt::Display for NamedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family.key(), self.split.key())
    }
}

impl FromStr for NamedSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|set| set.to_string() == text).ok_or_else(|| {
            Error::setting("data set", format!("expected one of {}, found {text:?}", Self::known()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::download::unobserved;
    use crate::data::idx;

    fn set(name: &str) -> NamedSet {
        name.parse().unwrap()
    }

    fn error(name: &str, root: &Path, parts: &[&str]) {
        let message = set(name).load(Some(root), &unobserved).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for named in NamedSet::ALL {
            assert_eq!(set(&named.to_string()), named);
        }
        for wrong in ["mnist", "mnist:extra", "imagenet:test", "MNIST:test", ""] {
            let message = wrong.parse::<NamedSet>().unwrap_err().to_string();
            for part in [&format!("found {wrong:?}"), "cifar10:test", "svhn:extra", "fashion-mnist:train"] {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
        }
    }

    #[test]
    fn idx_files_under_every_spelling() {
        let root = tempfile::tempdir().unwrap();
        let (images, labels) = (idx::file(&[1, 28, 28], &[5; 784]), idx::file(&[1], &[7]));
        for (index, (images_name, labels_name)) in [
            ("t10k-images-idx3-ubyte", "t10k-labels.idx1-ubyte.gz"),
            ("t10k-images.idx3-ubyte", "t10k-labels-idx1-ubyte"),
            ("t10k-images-idx3-ubyte.gz", "t10k-labels.idx1-ubyte"),
        ]
        .into_iter()
        .enumerate()
        {
            let folder = root.path().join(index.to_string()).join("fashion-mnist");
            fs::create_dir_all(&folder).unwrap();
            let packed = |name: &str, bytes: &[u8]| {
                if name.ends_with("gz") { idx::gzip(bytes) } else { bytes.to_vec() }
            };
            fs::write(folder.join(images_name), packed(images_name, &images)).unwrap();
            fs::write(folder.join(labels_name), packed(labels_name, &labels)).unwrap();
            let data = set("fashion-mnist:test").load(folder.parent(), &unobserved).unwrap();
            assert_eq!((data.name.as_str(), data.len()), ("Fashion-MNIST test", 1));
            assert_eq!(data.class_names[data.labels[0] as usize], "Sneaker");
        }
    }

    #[test]
    fn svhn_by_its_split() {
        let root = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/matlab/svhn.mat");
        fs::copy(fixture, root.path().join("extra_32x32.mat")).unwrap();
        let data = set("svhn:extra").load(Some(root.path()), &unobserved).unwrap();
        assert_eq!((data.name.as_str(), data.labels), ("SVHN extra", vec![0, 3]));
        error("svhn:test", root.path(), &["svhn:test", "test_32x32.mat", "housenumbers"]);
    }

    #[test]
    fn a_set_that_is_not_there_says_where_it_should_be() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mnist");
        let looked = folder.display().to_string();
        error("mnist:train", root.path(), &["mnist:train", "train-images-idx3-ubyte.gz", &looked, "http"]);
        error("cifar100:test", root.path(), &["test.bin", "cifar-100-binary", "cs.toronto.edu"]);
        error("cifar10:test", root.path(), &["directory", "data_batch_1.bin", "cifar-10-batches-bin"]);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("train-images-idx3-ubyte"), "").unwrap();
        error("mnist:train", root.path(), &["expected train-labels-idx1-ubyte", &looked]);
        // An incomplete CIFAR-100 is told by its size.
        fs::create_dir(root.path().join("cifar-100-binary")).unwrap();
        fs::write(root.path().join("cifar-100-binary/train.bin"), [0; 3074]).unwrap();
        error("cifar100:train", root.path(), &["train.bin", "153700000", "found 3074"]);
    }

    /// The real files, where the environment names them.
    #[test]
    fn official_files() {
        let root = std::env::var_os(locate::VARIABLE).map(PathBuf::from);
        for (named, count) in [
            ("cifar10:test", 10_000),
            ("cifar100:test", 10_000),
            ("svhn:test", 26_032),
            ("mnist:test", 10_000),
            ("fashion-mnist:test", 10_000),
        ] {
            let named = set(named);
            let Some(root) = root.as_ref().filter(|root| root.join(named.family.folder()).is_dir()) else {
                // Past libtest's capture, so that it is seen when the test passes.
                use std::io::Write as _;
                let line = format!("data::named: $JEM_DATA has no {named}: ran without the official files");
                writeln!(std::io::stderr(), "{line}").unwrap();
                continue;
            };
            let data = named.load(Some(root), &unobserved).unwrap();
            let histogram: Vec<usize> = (0..data.classes() as u32)
                .map(|class| data.labels.iter().filter(|&&label| label == class).count())
                .collect();
            println!("{named}: {} images of {}x{}x{}", data.len(), data.height, data.width, data.channels);
            println!("{named}: labels {histogram:?}");
            assert_eq!((data.len(), data.images.len()), (count, count * data.image_bytes()), "{named}");
            match named.family {
                // The published numbers of the digits 0 to 9.
                Family::Mnist => {
                    assert_eq!(histogram, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
                }
                Family::Svhn => assert!(histogram.iter().all(|&n| n > 0)),
                _ => assert!(histogram.iter().all(|&n| n == count / data.classes()), "{named}"),
            }
        }
    }
}
