//! Loads training and test data by a user's description: the name of a data set, or a folder of images.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::download::{Fetched, Observer};
use super::images::{Images, Pixels, SIDE, pad, training_side};
use super::named::{Collection, Split};
use super::{Dataset, cifar, folder, held_out, locate, synthetic};
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// The name of a set, or the absolute path of a folder.
    pub data: String,
    /// The directory of data sets to search, absolute; `None`: the search path of [`locate::Place::find`].
    pub directory: Option<PathBuf>,
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
        notes.push(format!("grey images are repeated over the network's {channels} channels"));
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
        let directory = directory.map(absolute).transpose()?;
        if data == SYNTHETIC || Collection::named(data).is_some() {
            return Ok(Self { data: data.into(), directory });
        }
        if Path::new(data).is_dir() {
            let data = absolute(Path::new(data))?.display().to_string();
            return Ok(Self { data, directory: None });
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
        let test = Path::new(&self.data).join(Split::Test.key());
        if self.is_folder() && has_folders(&test) {
            return test.display().to_string();
        }
        format!("{}:{}", self.data, Split::Test.key())
    }

    /// Reads the images. Images whose sides are not multiples of 8 are padded with black. CIFAR-10 is downloaded if it
    /// is not found. A folder may have sub-folders `train` and `test`, each with a sub-folder for each class; otherwise
    /// its sub-folders are the classes, and one image in ten is held out for testing, the same ones each time.
    ///
    /// # Errors
    /// [`Error::Setting`] for a set that is not found; [`Error::File`] for a folder without classes, or with other
    /// classes or image sizes for testing than for training; the errors of the readers.
    pub fn load(&self, observer: Observer) -> Result<TrainingData> {
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
            None => folders(Path::new(&self.data), &mut notes)?,
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

/// The images of the folder `path` that [`DataSource::load`] trains on or tests on, with their file names.
///
/// # Errors
/// The errors of [`folder::load`]; [`Error::File`] for a folder with one part only, or without parts and classes.
pub(super) fn folder_part(path: &Path, split: Split) -> Result<Images> {
    match [Split::Train, Split::Test].map(|split| has_folders(&path.join(split.key()))) {
        [true, true] => return folder::load(&path.join(split.key())),
        [false, false] => {}
        [has_train, _] => return Err(lone_part(path, has_train)),
    }
    let all = folder::load(path)?;
    let labels = all.labels.clone().unwrap_or_else(|| vec![0; all.count]);
    let mut kept = held_out(&labels, all.count.div_ceil(HELD_OUT), SEED);
    if split != Split::Test {
        kept.iter_mut().for_each(|kept| *kept = !*kept);
    }
    let name = title(path, split.key());
    Ok(Images { name, ..all.subset(&kept) })
}

/// Reads the training and test images in `path`.
fn folders(path: &Path, notes: &mut Vec<String>) -> Result<(Dataset, Dataset)> {
    let parts = ["train", "test"].map(|part| path.join(part));
    match parts.each_ref().map(|part| has_folders(part)) {
        [true, true] => {
            let train = classes(&parts[0], title(path, "train"))?;
            let test = classes(&parts[1], title(path, "test"))?;
            agree(&parts, &train, &test)?;
            Ok((train, test))
        }
        [false, false] => {
            let all = classes(path, title(path, "train"))?;
            let held_out = all.len().div_ceil(HELD_OUT);
            notes.push(format!(
                "{0} has no parts train and test: {held_out} of its {1} images, one in {HELD_OUT} of each class, are \
                 held out for testing, as {0}:test",
                path.display(),
                all.len()
            ));
            let (train, test) = all.split(held_out, SEED)?;
            Ok((train, Dataset { name: title(path, "test"), ..test }))
        }
        [has_train, _] => Err(lone_part(path, has_train)),
    }
}

/// The error for the folder `path` that has only one of the parts train and test.
fn lone_part(path: &Path, has_train: bool) -> Error {
    let [there, missing] = if has_train { ["train", "test"] } else { ["test", "train"] };
    let there = path.join(there);
    let message = format!(
        "has classes in {0}, but there is no {missing} beside it; add one, or give {0} itself, of which one image in \
         {HELD_OUT} is held out for testing",
        there.display()
    );
    Error::file(path, message)
}

/// Whether `path` is a folder with sub-folders, as the train or test part of a set is. A class that happens to be
/// called `train` has images instead.
fn has_folders(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    let hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    entries.flatten().any(|entry| !hidden(&entry) && entry.path().is_dir())
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
fn classes(folder: &Path, name: String) -> Result<Dataset> {
    let Images { pixels, count, height, width, channels, labels, mut class_names, .. } =
        folder::load(folder)?;
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
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;
    use crate::data::download::unobserved;

    /// Writes `count` grey images with side `side` for each of `classes`.
    fn fill(folder: &Path, classes: &[&str], count: u8, side: u32) {
        for (index, class) in classes.iter().enumerate() {
            let class = folder.join(class);
            fs::create_dir_all(&class).unwrap();
            for i in 0..count {
                let value = Luma([100 * index as u8 + i + 1]);
                GrayImage::from_pixel(side, side, value).save(class.join(format!("{i}.png"))).unwrap();
            }
        }
    }

    fn load(path: &Path) -> Result<TrainingData> {
        DataSource::new(path.to_str().unwrap(), None)?.load(&unobserved)
    }

    fn error(path: &Path, parts: &[&str]) {
        let message = load(path).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn parts_of_a_folder_are_taken_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        fill(&root.path().join("train"), &["cat", "dog"], 3, 8);
        fill(&root.path().join("test"), &["cat", "dog"], 2, 8);
        let data = load(root.path()).unwrap();
        assert_eq!((data.train.len(), data.test.len(), data.notes.len()), (6, 4, 0));
        assert_eq!(
            (data.test.labels, data.test.class_names),
            (vec![0, 0, 1, 1], vec!["cat".into(), "dog".into()])
        );

        // One colour image makes all images colour.
        RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(root.path().join("test/dog/0.png")).unwrap();
        let data = load(root.path()).unwrap();
        assert_eq!(
            (data.train.channels, data.test.channels, data.train.image(0)[..3] == [1; 3]),
            (3, 3, true)
        );
    }

    #[test]
    fn one_image_in_ten_of_each_class_is_held_out_always_the_same() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["cat", "train"], 20, 6);
        let data = load(root.path()).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (36, 4));
        assert_eq!(data.test.labels, [0, 0, 1, 1]);
        assert_eq!(data, load(root.path()).unwrap());
        assert_eq!([data.train.height, data.test.width], [8, 8]);
        assert_eq!((data.train.image(0)[0], data.train.image(0)[9] > 0), (0, true), "centred on black");
        assert!(data.notes[0].contains("4 of its 40 images"), "{:?}", data.notes);
        assert!(data.notes[1].contains("6x6") && data.notes[1].contains("8x8"), "{:?}", data.notes);
    }

    #[test]
    fn a_part_that_is_scored_has_the_images_that_are_trained_or_tested_on() {
        let root = tempfile::tempdir().unwrap();
        let open = |data: &str| Images::open(data, None, &unobserved).unwrap();
        let same = |data: &str| {
            let loaded = DataSource::new(data, None).unwrap().load(&unobserved).unwrap();
            for (part, set) in [("train", loaded.train), ("test", loaded.test)] {
                let images = open(&format!("{data}:{part}"));
                assert_eq!(images.pixels, Pixels::Bytes(set.images), "{data}:{part}");
                assert_eq!((images.labels, images.class_names), (Some(set.labels), set.class_names));
                assert!(images.name.ends_with(part), "{}", images.name);
            }
        };
        same(SYNTHETIC);
        fill(root.path(), &["cat", "dog"], 20, 8);
        let folder = root.path().to_str().unwrap();
        same(folder);
        let files = |part: &str| open(&format!("{folder}:{part}")).files.unwrap();
        let (train, test) = (files("train"), files("test"));
        assert_eq!((train.len(), test.len()), (36, 4));
        assert!(test.iter().all(|file| file.is_file() && !train.contains(file)), "{test:?}");

        let parts = tempfile::tempdir().unwrap();
        fill(&parts.path().join("train"), &["cat", "dog"], 3, 8);
        fill(&parts.path().join("test"), &["cat", "dog"], 2, 8);
        let folder = parts.path().to_str().unwrap();
        same(folder);
        fs::remove_dir_all(parts.path().join("test")).unwrap();
        let message = Images::open(&format!("{folder}:test"), None, &unobserved).unwrap_err().to_string();
        assert!(message.contains("no test beside it"), "{message}");
    }

    #[test]
    fn images_without_classes_are_of_one() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["."], 20, 8);
        let folder = root.path().to_str().unwrap();
        let TrainingData { train, test, .. } =
            DataSource::new(folder, None).unwrap().load(&unobserved).unwrap();
        assert_eq!((train.len(), test.len(), train.classes()), (18, 2, 1));
        assert_eq!((&*train.class_names[0], train.labels.iter().max()), (UNCLASSIFIED, Some(&0)));
        let tested = Images::open(&format!("{folder}:test"), None, &unobserved).unwrap();
        assert_eq!((tested.count, tested.labels), (2, None));
        assert_eq!(tested.pixels, Pixels::Bytes(test.images));
    }

    #[test]
    fn wrong_folders_name_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fill(&at("a/train"), &["cat", "dog"], 1, 8);
        error(&at("a"), &["train", "no test beside it", "held out"]);
        fill(&at("a/test"), &["cat"], 1, 8);
        error(&at("a"), &["test", "no class dog"]);
        fill(&at("a/test"), &["cat", "dog", "mouse"], 1, 8);
        error(&at("a"), &["train", "no class mouse"]);
        fs::remove_dir_all(at("a/test")).unwrap();
        fill(&at("a/test"), &["cat", "dog"], 1, 16);
        error(&at("a"), &["test", "8x8", "16x16"]);
        fill(&at("b"), &["cat"], 3, 8);
        fs::write(at("b/cat/0.png"), "").unwrap();
        error(&at("b"), &["0.png"]);
        fs::create_dir(at("d")).unwrap();
        error(&at("d"), &["found none"]);
        error(&at("e"), &["data", &format!("{}, synthetic", Collection::known()), "no such set"]);
    }

    #[test]
    fn a_set_that_is_not_there_names_the_place_and_a_file() {
        let root = tempfile::tempdir().unwrap();
        for (name, part) in [("mnist", "train-images-idx3-ubyte"), ("cifar10", "data_batch_1.bin")] {
            let message =
                DataSource::new(name, Some(root.path())).unwrap().load(&unobserved).unwrap_err().to_string();
            assert!(
                message.contains(part) && message.contains(&root.path().display().to_string()),
                "{message}"
            );
        }
    }

    #[test]
    fn what_is_tested_on_has_a_name_for_scoring() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["cat", "dog"], 1, 8);
        let images = |data: &str| DataSource::new(data, None).unwrap().test_images();
        let folder = root.path().to_str().unwrap();
        assert_eq!(images("svhn"), "svhn:test");
        assert_eq!(images(SYNTHETIC), "synthetic:test");
        assert_eq!(images(folder), format!("{folder}:test"));
        fill(&root.path().join("test"), &["cat", "dog"], 1, 8);
        assert_eq!(images(folder), root.path().join("test").display().to_string());
    }
}
