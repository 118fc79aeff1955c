//! CIFAR-10 in its official binary layout.
//!
//! Six files of 10,000 records; a record is a label byte (0 to 9) and 3,072 bytes: the 32x32 red
//! plane, then green, then blue, each row by row.

use std::fs;
use std::path::Path;

use super::Dataset;
use crate::error::{Error, Result};

/// Rows and columns of an image.
pub const SIDE: usize = 32;
/// Channels of a pixel.
pub const CHANNELS: usize = 3;
/// Bytes of a record: the label and the three planes.
pub const RECORD: usize = 1 + CHANNELS * SIDE * SIDE;
/// Records in each official file.
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

/// Reads the training set (50,000 images) and the test set (10,000) from the directory `directory`
/// that holds the `.bin` files.
///
/// # Errors
/// [`Error::File`] for a missing file, one of the wrong size, or a label above 9.
pub fn load(directory: &Path) -> Result<(Dataset, Dataset)> {
    load_counted(directory, RECORDS_PER_FILE)
}

fn load_counted(directory: &Path, records_per_file: usize) -> Result<(Dataset, Dataset)> {
    let mut train = empty("CIFAR-10 train");
    for file in TRAIN_FILES {
        read_file(&directory.join(file), records_per_file, &mut train)?;
    }
    let mut test = empty("CIFAR-10 test");
    read_file(&directory.join(TEST_FILE), records_per_file, &mut test)?;
    Ok((train, test))
}

fn empty(name: &str) -> Dataset {
    Dataset {
        name: name.into(),
        synthetic: false,
        images: Vec::new(),
        labels: Vec::new(),
        height: SIDE,
        width: SIDE,
        channels: CHANNELS,
        class_names: CLASS_NAMES.map(String::from).to_vec(),
    }
}

/// Appends the records of `path`, planar to interleaved.
fn read_file(path: &Path, records: usize, into: &mut Dataset) -> Result<()> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::file(
                path,
                "not found; expected a file of CIFAR-10's binary version: unpack cifar-10-binary.tar.gz \
                 and give the directory that holds data_batch_1.bin",
            ));
        }
        Err(error) => return Err(Error::io(path)(error)),
    };
    check_size(path, size, records)?;
    let bytes = fs::read(path).map_err(Error::io(path))?;
    check_size(path, bytes.len() as u64, records)?;

    let plane = SIDE * SIDE;
    into.images.reserve(records * CHANNELS * plane);
    for (number, record) in bytes.chunks_exact(RECORD).enumerate() {
        let label = u32::from(record[0]);
        if label as usize >= CLASS_NAMES.len() {
            return Err(Error::file(
                path,
                format!(
                    "record {number} has label {label}, expected 0 to 9; the file is damaged or not of \
                     CIFAR-10's binary version: download it again"
                ),
            ));
        }
        into.labels.push(label);
        let (red, rest) = record[1..].split_at(plane);
        let (green, blue) = rest.split_at(plane);
        for ((&red, &green), &blue) in red.iter().zip(green).zip(blue) {
            into.images.extend_from_slice(&[red, green, blue]);
        }
    }
    Ok(())
}

fn check_size(path: &Path, size: u64, records: usize) -> Result<()> {
    let record = RECORD as u64;
    let expected = records as u64 * record;
    if size == expected {
        return Ok(());
    }
    let holds = if size.is_multiple_of(record) {
        format!("{} whole records", size / record)
    } else {
        format!("{} records and {} bytes over", size / record, size % record)
    };
    Err(Error::file(
        path,
        format!(
            "expected {expected} bytes ({records} records of {RECORD}), found {size} ({holds}); the file is \
             truncated or not of CIFAR-10's binary version: download it again"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a tiny set with two records a file: label by file and record, pixels by position.
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

    #[test]
    fn planes_become_interleaved_pixels() {
        let directory = tempfile::tempdir().unwrap();
        write_tiny(directory.path());
        let (train, test) = load_counted(directory.path(), 2).unwrap();
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
        let message = |records| load_counted(directory.path(), records).unwrap_err().to_string();
        let contains = |text: &str, parts: &[&str]| {
            for part in parts {
                assert!(text.contains(part), "{part:?} is not in {text:?}");
            }
            assert_eq!(text.lines().count(), 1);
        };
        contains(&message(2), &["data_batch_1.bin", "not found", "cifar-10-binary.tar.gz"]);

        write_tiny(directory.path());
        // Whole records of another number: a download cut at a record's edge.
        contains(&message(3), &["data_batch_1.bin", "9219 bytes", "found 6146 (2 whole records)"]);
        let third = directory.path().join("data_batch_3.bin");
        let bytes = fs::read(&third).unwrap();
        fs::write(&third, &bytes[..6000]).unwrap();
        contains(&message(2), &["data_batch_3.bin", "6146", "found 6000 (1 records and 2927 bytes over)"]);
        let mut wrong = bytes;
        wrong[RECORD] = 10;
        fs::write(&third, wrong).unwrap();
        contains(&message(2), &["data_batch_3.bin", "record 1 ", "label 10", "0 to 9"]);
    }

    /// The real files, where the environment names them.
    #[test]
    fn official_files() {
        let directory =
            std::env::var_os("JEM_DATA").map(|root| Path::new(&root).join("cifar-10-batches-bin"));
        let Some(directory) = directory.filter(|directory| directory.is_dir()) else {
            // Past libtest's capture, so that it is seen when the test passes.
            use std::io::Write as _;
            let line = "data::cifar: $JEM_DATA has no CIFAR-10: ran without the official files";
            writeln!(std::io::stderr(), "{line}").unwrap();
            return;
        };
        let (train, test) = load(&directory).unwrap();
        assert_eq!((train.len(), test.len()), (50_000, 10_000));
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
