//! Data sets by name, such as `svhn:test`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::download::{Fetched, Observer};
use super::locate::{self, Layout, Place};
use super::{Dataset, cifar, cifar_pickle, mnist, svhn};
use crate::error::{Error, Result};

/// A part of a collection, such as its training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The training set.
    Train,
    /// The test set.
    Test,
    /// The extra training set of SVHN, with easier digits.
    Extra,
}

/// Data sets with a common name: their files and contents.
#[derive(Debug, PartialEq)]
pub struct Collection {
    /// The name, such as `cifar10`.
    pub key: &'static str,
    /// The name in reports.
    title: &'static str,
    /// The sub-directory of a directory of data sets that holds the files.
    folder: &'static str,
    /// The sub-directory that torchvision makes for them, if it has another name.
    torchvision: Option<&'static str>,
    /// The web page of the authors or of a mirror.
    home: &'static str,
    splits: &'static [Split],
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Cifar10,
    Cifar100,
    Svhn,
    /// The idx files of MNIST, with the same names and these classes.
    Idx([&'static str; 10]),
}

/// All collections.
pub static COLLECTIONS: [Collection; 6] = [
    Collection {
        key: "cifar10",
        title: "CIFAR-10",
        folder: cifar::FOLDER,
        torchvision: Some(cifar_pickle::FOLDER),
        home: "https://www.cs.toronto.edu/~kriz/cifar.html",
        splits: &[Split::Train, Split::Test],
        format: Format::Cifar10,
    },
    Collection {
        key: "cifar100",
        title: "CIFAR-100",
        folder: cifar::FOLDER_100,
        torchvision: Some(cifar_pickle::FOLDER_100),
        home: "https://www.cs.toronto.edu/~kriz/cifar.html",
        splits: &[Split::Train, Split::Test],
        format: Format::Cifar100,
    },
    Collection {
        key: "svhn",
        title: "SVHN",
        folder: "svhn",
        torchvision: None,
        home: "http://ufldl.stanford.edu/housenumbers",
        splits: &[Split::Train, Split::Test, Split::Extra],
        format: Format::Svhn,
    },
    Collection {
        key: "mnist",
        title: "MNIST",
        folder: "mnist",
        torchvision: Some("MNIST/raw"),
        home: "http://yann.lecun.com/exdb/mnist",
        splits: &[Split::Train, Split::Test],
        format: Format::Idx(mnist::DIGITS),
    },
    Collection {
        key: "fashion-mnist",
        title: "Fashion-MNIST",
        folder: "fashion-mnist",
        torchvision: Some("FashionMNIST/raw"),
        home: "https://github.com/zalandoresearch/fashion-mnist",
        splits: &[Split::Train, Split::Test],
        format: Format::Idx(mnist::CLOTHES),
    },
    Collection {
        key: "kmnist",
        title: "Kuzushiji-MNIST",
        folder: "kmnist",
        torchvision: Some("KMNIST/raw"),
        home: "https://codh.rois.ac.jp/kmnist",
        splits: &[Split::Train, Split::Test],
        format: Format::Idx(mnist::KUZUSHIJI),
    },
];

impl Collection {
    /// The collection called `text`.
    pub fn named(text: &str) -> Option<&'static Self> {
        COLLECTIONS.iter().find(|collection| collection.key == text)
    }

    /// The part `split` of the collection; only SVHN has [`Split::Extra`].
    pub fn part(&'static self, split: Split) -> Option<NamedSet> {
        self.splits.contains(&split).then_some(NamedSet { collection: self, split })
    }

    /// The names of the classes, in the order of the labels.
    pub fn class_names(&self) -> Vec<String> {
        let names: &[&str] = match &self.format {
            Format::Cifar10 => &cifar::CLASS_NAMES,
            Format::Cifar100 => &cifar::CLASS_NAMES_100,
            Format::Svhn => &mnist::DIGITS,
            Format::Idx(names) => names,
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Whether this is CIFAR-10, which is downloaded if it is not on disk.
    pub(super) fn is_downloaded(&self) -> bool {
        self.format == Format::Cifar10
    }

    /// The names of all collections, for a message.
    pub fn known() -> String {
        COLLECTIONS.each_ref().map(|collection| collection.key).join(", ")
    }
}

/// A data set with a name, `COLLECTION:SPLIT`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NamedSet {
    collection: &'static Collection,
    split: Split,
}

impl Split {
    /// The name of the part, such as `test`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Extra => "extra",
        }
    }
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

    /// Finds the set as [`Place::find`] does, in `asked` if it is given, and reads it. If CIFAR-10 is not found, it is
    /// downloaded with [`locate::cifar10`], which reports to `observer`.
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

    /// The spellings of the name of an idx file.
    fn idx(self, kind: &str) -> Vec<String> {
        let part = if self.split == Split::Train { "train" } else { "t10k" };
        let (content, format) = kind.split_once('-').expect("a content and a format");
        let plain = [format!("{part}-{content}-{format}-ubyte"), format!("{part}-{content}.{format}-ubyte")];
        plain.into_iter().flat_map(|name| [name.clone(), format!("{name}.gz")]).collect()
    }

    /// The web page that offers the files of the set.
    pub fn home(self) -> &'static str {
        self.collection.home
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
        for named in NamedSet::all() {
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
    fn folders_of_torchvision() {
        let root = tempfile::tempdir().unwrap();
        let raw = root.path().join("FashionMNIST/raw");
        fs::create_dir_all(&raw).unwrap();
        let (images, labels) = (idx::file(&[1, 28, 28], &[5; 784]), idx::file(&[1], &[7]));
        fs::write(raw.join("t10k-images-idx3-ubyte"), &images).unwrap();
        fs::write(raw.join("t10k-labels-idx1-ubyte.gz"), idx::gzip(&labels)).unwrap();
        for directory in [root.path(), raw.parent().unwrap(), &raw] {
            let data = set("fashion-mnist:test").load(Some(directory), &unobserved).unwrap();
            assert_eq!((data.name.as_str(), data.labels), ("Fashion-MNIST test", vec![7]));
            assert!(set("mnist:test").find(Some(directory)).is_err(), "{}", directory.display());
        }
        // The pickles of two images, which are too few.
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch");
        for (name, folder, file, fixture) in [
            ("cifar10:test", cifar_pickle::FOLDER, "test_batch", "cifar10_python2.pkl"),
            ("cifar100:test", cifar_pickle::FOLDER_100, "test", "cifar100_python3.pkl"),
        ] {
            let folder = root.path().join(folder);
            fs::create_dir(&folder).unwrap();
            fs::copy(fixtures.join(fixture), folder.join(file)).unwrap();
            for directory in [root.path(), &folder] {
                let path = folder.join(file).display().to_string();
                assert_eq!(set(name).find(Some(directory)).unwrap(), [folder.join(file)]);
                error(name, directory, &[&path, "expected 10000 images, found 2", "Python version"]);
            }
        }
        // In a directory of another name, files called `train` and `test` are not CIFAR-100's.
        fs::write(root.path().join("train"), "").unwrap();
        error("cifar100:train", root.path(), &["expected train.bin (or the Python version's)"]);
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
        error(
            "mnist:train",
            root.path(),
            &["mnist:train", "train-images-idx3-ubyte (or .gz)", &looked, "http"],
        );
        error("cifar100:test", root.path(), &["test.bin", "cifar-100-binary", "cs.toronto.edu"]);
        error("cifar10:test", root.path(), &["directory", "data_batch_1.bin", "cifar-10-batches-bin"]);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("train-images-idx3-ubyte"), "").unwrap();
        error("mnist:train", root.path(), &["expected train-labels-idx1-ubyte", &looked]);
        // A truncated file is recognised by its size.
        fs::create_dir(root.path().join("cifar-100-binary")).unwrap();
        fs::write(root.path().join("cifar-100-binary/train.bin"), [0; 3074]).unwrap();
        error("cifar100:train", root.path(), &["train.bin", "153700000", "found 3074"]);
    }

    /// Checks the real files, if the environment names them.
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
            let Some(root) = root.as_ref().filter(|root| root.join(named.collection.folder).is_dir()) else {
                // Bypass libtest's capture, so that this is shown when the test passes.
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
            match named.collection.format {
                // The published numbers of the digits 0 to 9.
                Format::Idx(mnist::DIGITS) => {
                    assert_eq!(histogram, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
                }
                Format::Svhn => assert!(histogram.iter().all(|&n| n > 0)),
                _ => assert!(histogram.iter().all(|&n| n == count / data.classes()), "{named}"),
            }
        }
    }
}
