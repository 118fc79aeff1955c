//! CIFAR-10 and CIFAR-100 in their official binary layouts; [`cifar_pickle`] reads the Python versions.
//!
//! CIFAR-10 is six files of 10,000 records; a record is a label byte (0 to 9) and 3,072 bytes: the
//! 32x32 red plane, then green, then blue, each row by row. CIFAR-100 is a file of 50,000 records
//! and one of 10,000, with two label bytes: the coarse label (0 to 19) and the fine one (0 to 99).

use crate::words::counted;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{Dataset, cifar_pickle};
use crate::error::{Error, Result};

/// Rows and columns of an image.
pub const SIDE: usize = 32;
/// Channels of a pixel.
pub const CHANNELS: usize = 3;
/// Bytes of an image: the three planes.
pub(super) const IMAGE: usize = CHANNELS * SIDE * SIDE;
/// Bytes of a record of CIFAR-10: the label and the image.
pub const RECORD: usize = 1 + IMAGE;
/// Records in each official file of CIFAR-10.
pub const RECORDS_PER_FILE: usize = 10_000;
/// The directory of the official archive that holds the files.
pub const FOLDER: &str = "cifar-10-batches-bin";
/// The training files, in order.
pub const TRAIN_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
/// The test file.
pub const TEST_FILE: &str = "test_batch.bin";
/// The classes, in the order of the labels.
pub const CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The directory of CIFAR-100's official archive that holds the files.
pub const FOLDER_100: &str = "cifar-100-binary";
/// The file beside CIFAR-100's records with the names of the fine classes, one per line.
const NAMES_FILE_100: &str = "fine_label_names.txt";
/// The most bytes of that file to read.
const MAX_NAMES_BYTES: u64 = 1 << 16;
/// The fine classes of CIFAR-100, in the order of the labels.
#[rustfmt::skip]
pub const CLASS_NAMES_100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo",
    "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree",
    "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree",
    "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
    "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe",
    "whale", "willow_tree", "wolf", "woman", "worm",
];

/// The record layout of a version of CIFAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One label byte.
    Cifar10,
    /// The byte of the coarse label and that of the fine label, which is used.
    Cifar100,
}

impl Version {
    /// The size of a record in bytes.
    pub fn record(self) -> usize {
        self.label_bytes() + IMAGE
    }

    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    pub(super) fn classes(self) -> usize {
        match self {
            Self::Cifar10 => CLASS_NAMES.len(),
            Self::Cifar100 => CLASS_NAMES_100.len(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }

    /// Advice on a missing file.
    fn remedy(self) -> &'static str {
        match self {
            Self::Cifar10 => {
                "unpack cifar-10-binary.tar.gz and give the directory that holds data_batch_1.bin"
            }
            Self::Cifar100 => "unpack cifar-100-binary.tar.gz and give the directory that holds test.bin",
        }
    }
}

/// Reads the training set (50,000 images) and the test set (10,000) of CIFAR-10 from the directory
/// `directory` that holds the `.bin` files, or the pickles of the Python version.
///
/// # Errors
/// [`Error::File`] for a missing file, one of the wrong size, or a label above 9.
pub fn load(directory: &Path) -> Result<(Dataset, Dataset)> {
    Ok((load_train(directory)?, load_test(directory)?))
}

/// Reads the training set of CIFAR-10 only.
///
/// # Errors
/// The errors of [`load`].
pub fn load_train(directory: &Path) -> Result<Dataset> {
    load_files(directory, "CIFAR-10 train", &TRAIN_FILES, RECORDS_PER_FILE)
}

/// Reads the test set of CIFAR-10 only.
///
/// # Errors
/// The errors of [`load`].
pub fn load_test(directory: &Path) -> Result<Dataset> {
    load_files(directory, "CIFAR-10 test", &[TEST_FILE], RECORDS_PER_FILE)
}

fn load_files(directory: &Path, name: &str, files: &[&str], records_per_file: usize) -> Result<Dataset> {
    let mut set = empty(name, CLASS_NAMES.map(String::from).to_vec());
    let pickles: Vec<_> = files.iter().map(|file| directory.join(pickled(file))).collect();
    let is_binary = files.iter().any(|file| directory.join(file).is_file());
    if !is_binary && pickles.iter().any(|path| path.is_file()) {
        for path in pickles {
            cifar_pickle::read_file(&path, Version::Cifar10, records_per_file, &mut set)?;
        }
        return Ok(set);
    }
    for file in files {
        read_file(&directory.join(file), Version::Cifar10, records_per_file, &mut set)?;
    }
    Ok(set)
}

/// The name in the Python version of a file of the binary version.
pub fn pickled(file: &str) -> &str {
    file.strip_suffix(".bin").unwrap_or(file)
}

/// Reads a file of `records` records of CIFAR-100, with its fine labels: `train.bin` has 50,000, `test.bin` 10,000. The
/// names of the classes are read from `fine_label_names.txt` beside it, if that exists. The files of the Python version
/// are `train`, `test` and `meta`.
///
/// # Errors
/// [`Error::File`] for a missing file, one of the wrong size, a fine label above 99, or another
/// number of names than 100.
pub fn load_100(path: &Path, name: &str, records: usize) -> Result<Dataset> {
    let is_binary = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("bin"));
    let names = if is_binary {
        fine_names(&path.with_file_name(NAMES_FILE_100))?
    } else {
        cifar_pickle::fine_names(path.parent().unwrap_or(Path::new("")))?
    };
    let mut set = empty(name, names.unwrap_or_else(|| CLASS_NAMES_100.map(String::from).to_vec()));
    let read = if is_binary { read_file } else { cifar_pickle::read_file };
    read(path, Version::Cifar100, records, &mut set)?;
    Ok(set)
}

/// The names in the file `path`, one per line; `None` without the file.
fn fine_names(path: &Path) -> Result<Option<Vec<String>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let mut text = String::new();
    file.take(MAX_NAMES_BYTES).read_to_string(&mut text).map_err(Error::io(path))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != CLASS_NAMES_100.len() {
        let message = format!("expected 100 names of classes, one a line, found {}", names.len());
        return Err(Error::file(path, message));
    }
    Ok(Some(names))
}

fn empty(name: &str, class_names: Vec<String>) -> Dataset {
    Dataset {
        name: name.into(),
        synthetic: false,
        images: Vec::new(),
        labels: Vec::new(),
        height: SIDE,
        width: SIDE,
        channels: CHANNELS,
        class_names,
    }
}

/// Appends the records of `path`.
fn read_file(path: &Path, version: Version, records: usize, into: &mut Dataset) -> Result<()> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (name, remedy) = (version.name(), version.remedy());
            let message = format!("not found; expected a file of {name}'s binary version: {remedy}");
            return Err(Error::file(path, message));
        }
        Err(error) => return Err(Error::io(path)(error)),
    };
    let wrong = |message: String| {
        let name = version.name();
        Error::file(path, format!("{message} or not of {name}'s binary version: download it again"))
    };
    check_size(version, size, records).map_err(wrong)?;
    let bytes = fs::read(path).map_err(Error::io(path))?;
    check_size(version, bytes.len() as u64, records).map_err(wrong)?;
    append_records(&bytes, version, &mut into.images, &mut into.labels).map_err(wrong)
}

/// Appends the complete records in `bytes` to `images` (planar to interleaved) and `labels`.
///
/// # Errors
/// The first record whose label is out of range, in words that complete a message on what the file is not.
pub fn append_records(
    bytes: &[u8],
    version: Version,
    images: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), String> {
    images.reserve(bytes.len() / version.record() * IMAGE);
    for (number, record) in bytes.chunks_exact(version.record()).enumerate() {
        let (record_labels, image) = record.split_at(version.label_bytes());
        let label = u32::from(record_labels[version.label_bytes() - 1]);
        if label as usize >= version.classes() {
            let last = version.classes() - 1;
            return Err(format!(
                "record {number} has label {label}, expected 0 to {last}; the file is damaged"
            ));
        }
        labels.push(label);
        append_image(image, images);
    }
    Ok(())
}

/// Appends an image whose planes follow each other, with the channels of a pixel together.
pub(super) fn append_image(planes: &[u8], images: &mut Vec<u8>) {
    let (red, rest) = planes.split_at(SIDE * SIDE);
    let (green, blue) = rest.split_at(SIDE * SIDE);
    for ((&red, &green), &blue) in red.iter().zip(green).zip(blue) {
        images.extend_from_slice(&[red, green, blue]);
    }
}

fn check_size(version: Version, size: u64, records: usize) -> Result<(), String> {
    let record = version.record() as u64;
    let expected = records as u64 * record;
    if size == expected {
        return Ok(());
    }
    let holds = if size.is_multiple_of(record) {
        counted(size / record, "whole record")
    } else {
        format!("{} and {} over", counted(size / record, "record"), counted(size % record, "byte"))
    };
    Err(format!(
        "expected {expected} bytes ({records} records of {record}), found {size} ({holds}); the file is truncated"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::says::assert_says;

    /// Writes a tiny set with two records per file: labels by file and record, pixels by position.
    fn write_tiny(directory: &Path) {
        for (number, file) in TRAIN_FILES.iter().chain([&TEST_FILE]).enumerate() {
            let mut bytes = Vec::new();
            for record in 0..2 {
                bytes.push((number + record) as u8);
                bytes.extend((0..RECORD - 1).map(|i| (i * 7 + i / 1024 + number * 11 + record) as u8));
            }
            fs::write(directory.join(file), bytes).unwrap();
        }
    }

    fn load_two(directory: &Path, records: usize) -> Result<(Dataset, Dataset)> {
        let train = load_files(directory, "CIFAR-10 train", &TRAIN_FILES, records)?;
        Ok((train, load_files(directory, "CIFAR-10 test", &[TEST_FILE], records)?))
    }

    #[test]
    fn planes_become_interleaved_pixels() {
        let directory = tempfile::tempdir().unwrap();
        write_tiny(directory.path());
        let (train, test) = load_two(directory.path(), 2).unwrap();
        assert_eq!((train.len(), test.len()), (10, 2));
        assert_eq!(train.labels, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(test.labels, [5, 6]);
        assert_eq!(train.images.len(), 10 * 3072);
        // Image 3 is record 1 of file 1; row 5, column 9.
        for channel in 0..3 {
            let i = channel * 1024 + 5 * 32 + 9;
            let expected = (i * 7 + channel + 11 + 1) as u8;
            assert_eq!(train.image(3)[(5 * 32 + 9) * 3 + channel], expected, "channel {channel}");
        }
        assert!(!train.synthetic && train.classes() == 10);
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let message = |records| load_two(directory.path(), records).unwrap_err().to_string();
        assert_says(&message(2), &["data_batch_1.bin", "not found", "cifar-10-binary.tar.gz"]);

        write_tiny(directory.path());
        // Complete records of another number: a download truncated between two records.
        assert_says(&message(3), &["data_batch_1.bin", "9219 bytes", "found 6146 (2 whole records)"]);
        let third = directory.path().join("data_batch_3.bin");
        let bytes = fs::read(&third).unwrap();
        fs::write(&third, &bytes[..6000]).unwrap();
        assert_says(&message(2), &["data_batch_3.bin", "6146", "found 6000 (1 record and 2927 bytes over)"]);
        let mut wrong = bytes;
        wrong[RECORD] = 10;
        fs::write(&third, wrong).unwrap();
        assert_says(&message(2), &["data_batch_3.bin", "record 1 ", "label 10", "0 to 9"]);
    }

    /// A record of CIFAR-100 with a constant byte in each plane.
    fn record_100(coarse: u8, fine: u8, color: [u8; 3]) -> Vec<u8> {
        let mut record = vec![coarse, fine];
        record.extend(color.iter().flat_map(|&byte| [byte; SIDE * SIDE]));
        record
    }

    #[test]
    fn the_fine_label_is_the_second_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.bin");
        fs::write(&path, [record_100(4, 0, [1, 2, 3]), record_100(14, 99, [7, 8, 9])].concat()).unwrap();
        let set = load_100(&path, "CIFAR-100 test", 2).unwrap();
        assert_eq!(set.labels, [0, 99]);
        assert_eq!(
            (set.image(0)[..4].to_vec(), set.image(1)[3069..].to_vec()),
            (vec![1, 2, 3, 1], vec![7, 8, 9])
        );
        assert_eq!((set.len(), set.images.len(), set.name.as_str()), (2, 2 * IMAGE, "CIFAR-100 test"));
        assert_eq!((set.classes(), set.class_names[99].as_str()), (100, "worm"));
        assert!(CLASS_NAMES_100.is_sorted());

        let names: Vec<String> = (0..100).map(|class| format!("name {class}")).collect();
        fs::write(directory.path().join(NAMES_FILE_100), names.join("\r\n") + "\n\n").unwrap();
        assert_eq!(load_100(&path, "", 2).unwrap().class_names, names);
    }

    #[test]
    fn wrong_files_of_cifar_100_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.bin");
        let message = |records| load_100(&path, "", records).unwrap_err().to_string();
        assert_says(&message(1), &["test.bin", "not found", "CIFAR-100", "cifar-100-binary.tar.gz"]);
        fs::write(&path, &record_100(0, 0, [0; 3])[..3000]).unwrap();
        assert_says(&message(1), &["test.bin", "3074 bytes", "found 3000", "CIFAR-100"]);
        fs::write(&path, record_100(19, 100, [0; 3])).unwrap();
        assert_says(&message(1), &["test.bin", "record 0 ", "label 100", "0 to 99", "CIFAR-100"]);
        fs::write(directory.path().join(NAMES_FILE_100), "apple\nbaby\n").unwrap();
        assert_says(&message(1), &[NAMES_FILE_100, "expected 100", "found 2"]);
    }

    /// Checks the real files, if the environment names them.
    #[test]
    fn official_files() {
        let directory =
            std::env::var_os("JEM_DATA").map(|root| Path::new(&root).join("cifar-10-batches-bin"));
        let Some(directory) = directory.filter(|directory| directory.is_dir()) else {
            // Bypass libtest's capture, so that this is shown when the test passes.
            use std::io::Write as _;
            let line = "data::cifar: $JEM_DATA has no CIFAR-10: ran without the official files";
            writeln!(std::io::stderr(), "{line}").unwrap();
            return;
        };
        let (train, test) = load(&directory).unwrap();
        let python = directory.with_file_name(cifar_pickle::FOLDER);
        if python.is_dir() {
            assert_eq!(load(&python).unwrap(), (train.clone(), test.clone()));
        }
        let hundred = directory.with_file_name(FOLDER_100).join("test.bin");
        let python = directory.with_file_name(cifar_pickle::FOLDER_100).join("test");
        if hundred.is_file() && python.is_file() {
            let [hundred, python] = [hundred, python].map(|path| load_100(&path, "", 10_000).unwrap());
            assert_eq!(hundred, python);
        }
        for class in 0..10 {
            assert_eq!(train.labels.iter().filter(|&&label| label == class).count(), 5000);
            assert_eq!(test.labels.iter().filter(|&&label| label == class).count(), 1000);
        }
        // The mean of the red, green and blue bytes over the training set, as published.
        for (channel, published) in [125.307, 122.950, 113.865].into_iter().enumerate() {
            let sum: u64 = train.images.iter().skip(channel).step_by(3).map(|&byte| u64::from(byte)).sum();
            approx::assert_abs_diff_eq!(sum as f64 / (50_000.0 * 1024.0), published, epsilon = 2e-3);
        }
    }
}
