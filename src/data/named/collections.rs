//! The list of data sets with names.

use super::NamedSet;
use crate::data::{cifar, cifar_pickle, mnist};

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

impl Split {
    /// The name of the part, such as `test`.
    pub(in crate::data) fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Extra => "extra",
        }
    }
}

/// Data sets with a common name: their files and contents.
#[derive(Debug, PartialEq)]
pub struct Collection {
    /// The name, such as `cifar10`.
    pub key: &'static str,
    /// The name in reports.
    pub(super) title: &'static str,
    /// The sub-directory of a directory of data sets that holds the files.
    pub(super) folder: &'static str,
    /// The sub-directory that torchvision makes for them, if it has another name.
    pub(super) torchvision: Option<&'static str>,
    /// The web page of the authors or of a mirror.
    pub(super) home: &'static str,
    pub(super) splits: &'static [Split],
    pub(super) format: Format,
}

/// The format of a collection's files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Format {
    Cifar10,
    Cifar100,
    Svhn,
    /// The format of MNIST: idx files with MNIST's names, and these classes.
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
    pub(in crate::data) fn is_downloaded(&self) -> bool {
        self.format == Format::Cifar10
    }

    /// The names of all collections, for a message.
    pub fn known() -> String {
        COLLECTIONS.each_ref().map(|collection| collection.key).join(", ")
    }
}
