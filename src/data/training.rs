//! Loads training and test data by a user's description: the name of a data set, or a folder of images.

use crate::words::{counted, is};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::download::{Fetched, Observer};
use super::images::{Images, Pixels, SIDE, pad, training_side};
use super::listing::Listing;
use super::named::{Collection, Split};
use super::parts::{Part, Parts, has_classes};
use super::reading::{ClassOrder, ReadOptions};
use super::{Dataset, cifar, folder, held_out, labels, locate, synthetic};
use crate::error::{Error, Result};

/// The name of the synthetic data set.
pub const SYNTHETIC: &str = "synthetic";
/// The numbers of training and of test images of the synthetic data set, and its seed.
const DRAWN: (usize, usize, u64) = (50_000, 10_000, 0);
/// For a folder without a test part, one of this many images is held out for testing.
const HELD_OUT: usize = 10;
/// The seed of that choice.
const SEED: u64 = 0;

/// The source of training data. A run records it, so that a resumed run needs no new description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// The name of a set, or the absolute path of a folder.
    pub data: String,
    /// The directory of data sets to search, absolute; `None`: the search path of [`locate::Place::find`].
    pub directory: Option<PathBuf>,
    /// How the pictures of a folder are read.
    #[serde(flatten)]
    pub read: ReadOptions,
}

/// Training and test images, with the same classes and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingData {
    /// The training images, including those that a run holds out.
    pub train: Dataset,
    /// The test images, used once at the end.
    pub test: Dataset,
    /// Changes to the images that the user may not expect, a line each.
    pub notes: Vec<String>,
}

impl TrainingData {
    /// The same images for a network that takes `channels` channels: grey ones are repeated over them.
    pub fn with_channels(self, channels: usize) -> Self {
        if self.train.channels != 1 || channels == 1 {
            return self;
        }
        let size = [self.train.height, self.train.width, channels];
        let mut notes = self.notes;
        notes.push(format!("grey images are repeated over the network's {}", counted(channels, "channel")));
        Self { train: fit(self.train, size), test: fit(self.test, size), notes }
    }
}

impl DataSource {
    /// The set called `data`, searched in `directory`, or the folder at the path `data`. Does not read the images.
    ///
    /// # Errors
    /// [`Error::Setting`] when `data` is neither.
    pub fn new(data: &str, directory: Option<&Path>) -> Result<Self> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io(path));
        let read = ReadOptions::default();
        let directory = directory.map(absolute).transpose()?;
        if data == SYNTHETIC || Collection::named(data).is_some() {
            // The order is that of the set.
            let read = ReadOptions { class_order: ClassOrder::unrecorded(), ..read };
            return Ok(Self { data: data.into(), directory, read });
        }
        if Path::new(data).is_dir() {
            let data = absolute(Path::new(data))?.display().to_string();
            return Ok(Self { data, directory: None, read });
        }
        let names = Collection::known();
        let message = format!(
            "expected {names}, {SYNTHETIC}, or a folder with a sub-folder of images for each class, got {data:?}: no \
             such set or folder"
        );
        Err(Error::setting("data", message))
    }

    /// Whether the source is a folder of images.
    pub fn is_folder(&self) -> bool {
        self.data != SYNTHETIC && Collection::named(&self.data).is_none()
    }

    /// The test images as text for [`Images::open`].
    pub fn test_images(&self) -> String {
        if self.is_folder()
            && let Ok(chosen) = Chosen::of(Path::new(&self.data), &self.read)
        {
            return match chosen.test {
                Tested::Folder(test, _) => test.display().to_string(),
                Tested::HeldOut => format!("{}:{}", chosen.train.display(), Split::Test.key()),
            };
        }
        format!("{}:{}", self.data, Split::Test.key())
    }

    /// The training images as text for [`Images::open`].
    pub fn training_images(&self) -> String {
        if self.is_folder()
            && let Ok(chosen) = Chosen::of(Path::new(&self.data), &self.read)
        {
            return match chosen.test {
                Tested::Folder(..) => chosen.train.display().to_string(),
                Tested::HeldOut => format!("{}:{}", chosen.train.display(), Split::Train.key()),
            };
        }
        format!("{}:{}", self.data, Split::Train.key())
    }

    /// Reads the images. Images whose sides are not multiples of 8 are padded with black. CIFAR-10 is downloaded if it
    /// is not found.
    ///
    /// A folder may have sub-folders `train` and `test` in any case, each with a sub-folder for each class. `val` (or
    /// `valid`, `validation`) takes the place of a `test` that is missing or has no classes; beside a `test` with
    /// classes it is left out. Otherwise one image in ten is held out for testing, the same ones each time: of `train`,
    /// or of a folder whose sub-folders are the classes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a set that is not found, and for options that do not apply to one; [`Error::File`] for a
    /// folder without classes, or with other classes or image sizes for testing than for training; the errors of the
    /// readers.
    pub fn load(&self, observer: Observer) -> Result<TrainingData> {
        if !self.is_folder() {
            self.read.check_unused(&self.data)?;
        }
        let mut notes = Vec::new();
        let (train, test) = match Collection::named(&self.data) {
            Some(collection) if collection.is_downloaded() => self.cifar10(observer)?,
            Some(collection) => {
                let part = |split| self.part(collection, split, observer);
                (part(Split::Train)?, part(Split::Test)?)
            }
            None if self.data == SYNTHETIC => {
                let (train, test, seed) = DRAWN;
                synthetic::synthetic(train, test, seed)
            }
            None => folders(Path::new(&self.data), &self.read, observer, &mut notes)?,
        };
        let [height, width] = [train.height, train.width].map(training_side);
        if [height, width] != [train.height, train.width] {
            notes.push(format!(
                "images of {}x{} are centred on black of {height}x{width}: rows and columns must be multiples of {SIDE}",
                train.height, train.width
            ));
        }
        let size = [height, width, train.channels.max(test.channels)];
        Ok(TrainingData { train: fit(train, size), test: fit(test, size), notes })
    }

    fn cifar10(&self, observer: Observer) -> Result<(Dataset, Dataset)> {
        match locate::cifar10(self.directory.as_deref(), observer)? {
            Fetched::Ready(directory) => cifar::load(&directory),
            Fetched::Unavailable { reason } => Err(Error::setting("cifar10", reason)),
        }
    }

    fn part(&self, collection: &'static Collection, split: Split, observer: Observer) -> Result<Dataset> {
        let set =
            collection.part(split).expect("every collection has a part for training and one for testing");
        set.load(self.directory.as_deref(), observer)
    }
}

/// The training or the test images of synthetic data.
pub(super) fn drawn(split: Split) -> Dataset {
    let (train, test, seed) = DRAWN;
    match split {
        Split::Test => synthetic::synthetic(0, test, seed).1,
        Split::Train | Split::Extra => synthetic::synthetic(train, 0, seed).0,
    }
}

/// The folders that are trained and tested on.
struct Chosen {
    train: PathBuf,
    test: Tested,
    notes: Vec<String>,
}

/// The images for testing.
enum Tested {
    /// The folder of this part.
    Folder(PathBuf, Part),
    /// One of [`HELD_OUT`] images for training.
    HeldOut,
}

impl Chosen {
    fn of(path: &Path, options: &ReadOptions) -> Result<Self> {
        let covers = |part: &PathBuf, file: &PathBuf| {
            Listing::of(part).is_ok_and(|listing| labels::covers(file, part, &listing.files))
        };
        let labelled = |part: &PathBuf| match &options.labels {
            Some(file) => covers(part, file),
            None => has_classes(part),
        };
        let Parts { train, val, test } = Parts::find(path, options.labels.is_some())?;
        let Some(train) = train else {
            return Ok(Self { train: path.into(), test: Tested::HeldOut, notes: Vec::new() });
        };
        let mut notes = Vec::new();
        if let Some(test) = test.as_ref().filter(|test| !labelled(test)) {
            notes.push(format!(
                "{} has no classes: it is not tested on, `score` can score it",
                test.display()
            ));
        }
        let test = match (test.filter(labelled), val.filter(labelled)) {
            (Some(test), None) => Tested::Folder(test, Part::Test),
            (Some(test), Some(val)) => {
                notes.push(format!(
                    "{} is left out; a run holds out images of {}",
                    val.display(),
                    train.display()
                ));
                Tested::Folder(test, Part::Test)
            }
            (None, Some(val)) => {
                notes.push(format!("{} is for testing", val.display()));
                Tested::Folder(val, Part::Val)
            }
            (None, None) => Tested::HeldOut,
        };
        Ok(Self { train, test, notes })
    }
}

/// The images of the folder `path` that [`DataSource::load`] trains on, leaves out or tests on, with their file names.
///
/// # Errors
/// The errors of [`folder::load`]; [`Error::File`] for a folder with one part only, or without parts and classes.
pub(super) fn folder_part(
    path: &Path,
    part: Part,
    options: &ReadOptions,
    observer: Observer,
) -> Result<Images> {
    let parts = Parts::find(path, options.labels.is_some())?;
    let chosen = Chosen::of(path, options)?;
    let named = match part {
        Part::Train => None,
        Part::Val => parts.val,
        Part::Test => parts.test,
    };
    match (part, named, chosen.test) {
        (_, Some(named), _) => return folder::load(&named, options, observer),
        (Part::Val, None, _) => return Err(Error::file(path, "has no sub-folder val, valid or validation")),
        (Part::Test, None, Tested::Folder(test, _)) => return folder::load(&test, options, observer),
        (Part::Train, None, Tested::Folder(..)) => return folder::load(&chosen.train, options, observer),
        (_, None, Tested::HeldOut) => {}
    }
    let all = folder::load(&chosen.train, options, observer)?;
    let labels = all.labels.clone().unwrap_or_else(|| vec![0; all.count]);
    let mut kept = held_out(&labels, all.count.div_ceil(HELD_OUT), SEED);
    if part != Part::Test {
        kept.iter_mut().for_each(|kept| *kept = !*kept);
    }
    let name = title(path, part.name());
    Ok(Images { name, ..all.subset(&kept) })
}

/// Reads the training and test images in `path`.
fn folders(
    path: &Path,
    options: &ReadOptions,
    observer: Observer,
    notes: &mut Vec<String>,
) -> Result<(Dataset, Dataset)> {
    let chosen = Chosen::of(path, options)?;
    notes.extend(chosen.notes);
    let train = classes(&chosen.train, title(path, "train"), options, observer, notes)?;
    match chosen.test {
        Tested::Folder(folder, part) => {
            let test = classes(&folder, title(path, part.name()), options, observer, notes)?;
            agree(&[chosen.train, folder], &train, &test)?;
            Ok((train, test))
        }
        Tested::HeldOut => {
            let held_out = train.len().div_ceil(HELD_OUT);
            notes.push(format!(
                "{0} has no part test: {held_out} of its {1}, one in {HELD_OUT} of each class, {2} held out for \
                 testing, as {0}:test",
                chosen.train.display(),
                counted(train.len(), "image"),
                is(held_out)
            ));
            let (train, test) = train.split(held_out, SEED)?;
            Ok((train, Dataset { name: title(path, "test"), ..test }))
        }
    }
}

/// The name in reports of part `part` of the folder `path`.
fn title(path: &Path, part: &str) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    // The name is written in comments, which a line break would end.
    format!("{} {part}", name.replace(char::is_control, "?"))
}

/// The class of images without classes.
const UNCLASSIFIED: &str = "images";

/// Reads the images of `folder`, whose sub-folders are classes; without sub-folders its images are of one class.
fn classes(
    folder: &Path,
    name: String,
    options: &ReadOptions,
    observer: Observer,
    notes: &mut Vec<String>,
) -> Result<Dataset> {
    let read = folder::load(folder, options, observer)?;
    let Images { pixels, count, height, width, channels, labels, mut class_names, .. } = read;
    notes.extend(read.notes);
    let Pixels::Bytes(images) = pixels else { unreachable!("files of images have bytes") };
    let labels = labels.unwrap_or_else(|| {
        class_names = vec![UNCLASSIFIED.into()];
        vec![0; count]
    });
    Ok(Dataset { name, synthetic: false, images, labels, height, width, channels, class_names })
}

/// Refuses parts with different classes or sizes.
fn agree([train_part, test_part]: &[PathBuf; 2], train: &Dataset, test: &Dataset) -> Result<()> {
    for (has, lacks, names, others) in [
        (test_part, train_part, &test.class_names, &train.class_names),
        (train_part, test_part, &train.class_names, &test.class_names),
    ] {
        if let Some(class) = names.iter().find(|name| !others.contains(name)) {
            let has = has.display();
            let message =
                format!("has no class {class}, which {has} has; both must have the same sub-folders");
            return Err(Error::file(lacks, message));
        }
    }
    if (train.height, train.width) != (test.height, test.width) {
        let message = format!(
            "expected images of {}x{} as in {}, found {}x{}",
            train.height,
            train.width,
            train_part.display(),
            test.height,
            test.width
        );
        return Err(Error::file(test_part, message));
    }
    Ok(())
}

/// Pads the images of `set` with black to `size` (rows, columns, channels).
fn fit(set: Dataset, size: [usize; 3]) -> Dataset {
    let from = [set.height, set.width, set.channels];
    if from == size {
        return set;
    }
    let [height, width, channels] = size;
    Dataset { images: pad(&set.images, from, size, 0), height, width, channels, ..set }
}

#[cfg(test)]
mod tests;
