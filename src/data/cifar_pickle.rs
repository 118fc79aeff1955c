//! The Python versions of CIFAR-10 and CIFAR-100, which torchvision downloads: pickles, read without running any code.
//!
//! A file is a dictionary of `data`, bytes [N, 3072] with an image in a row (the red plane, then green, then blue), and
//! the list `labels` (CIFAR-10) or `fine_labels` (CIFAR-100). Python 2 wrote the official files; copies that Python 3
//! wrote, with strings or bytes as keys, are read as well.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Dataset;
use super::cifar::{CLASS_NAMES_100, IMAGE, Version, append_image};
use crate::error::{Error, Result};
use crate::io::elements::Elements;
use crate::io::one_line;
use crate::io::torch::pickle::{self, Id, Limits, Pickle, Value};

/// The directory of the Python version of CIFAR-10 in its archive.
pub const FOLDER: &str = "cifar-10-batches-py";
/// The directory of the Python version of CIFAR-100 in its archive.
pub const FOLDER_100: &str = "cifar-100-python";
/// The file of CIFAR-100 with the names of the classes.
const META_100: &str = "meta";

/// The limits for these pickles: the largest, of CIFAR-100's training set, has 155 MB as Python 2 wrote it, 233 MB in
/// Python 3's protocol 2, and 350,000 values.
const LIMITS: Limits = Limits { bytes: 256 << 20, values: 1 << 20, numbers: 1 << 20 };

/// Appends the `records` images of the pickle `path`.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] for another content, or another number of images.
pub fn read_file(path: &Path, version: Version, records: usize, into: &mut Dataset) -> Result<()> {
    let wrong = |message: String| {
        let name = version.name();
        Error::file(path, format!("{message}; the file is damaged or not of {name}'s Python version"))
    };
    // The bytes of the file are dropped before the images are copied.
    let pickle = {
        let bytes = contents(path).map_err(|error| error.unwrap_or_else(wrong))?;
        pickle::read_within(&bytes, LIMITS).map_err(one_line).map_err(wrong)?.0
    };
    let before = into.labels.len();
    append_from(&pickle, version, &mut into.images, &mut into.labels).map_err(one_line).map_err(wrong)?;
    let found = into.labels.len() - before;
    if found != records {
        return Err(wrong(format!("expected {records} images, found {found}")));
    }
    Ok(())
}

/// The names of CIFAR-100's fine classes in the file `meta` of `directory`; `None` without the file.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] for another content than 100 names.
pub fn fine_names(directory: &Path) -> Result<Option<Vec<String>>> {
    let path = directory.join(META_100);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |message: String| Error::file(&path, message);
    let bytes = contents(&path).map_err(|error| error.unwrap_or_else(wrong))?;
    let (pickle, _) = pickle::read(&bytes).map_err(one_line).map_err(wrong)?;
    let names = pickle.string_entry(pickle.root, "fine_label_names").map(|names| pickle.get(names));
    let names: Vec<String> = match names {
        Some(Value::Sequence(names)) => names.iter().filter_map(|&name| string(&pickle, name)).collect(),
        _ => Vec::new(),
    };
    if names.len() != CLASS_NAMES_100.len() {
        return Err(wrong(format!("expected fine_label_names, 100 names of classes, found {}", names.len())));
    }
    Ok(Some(names))
}

/// A string, as text or as ASCII bytes.
fn string(pickle: &Pickle, id: Id) -> Option<String> {
    match pickle.get(id) {
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(bytes) if bytes.is_ascii() => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        _ => None,
    }
}

/// The bytes of a file, at most those that [`LIMITS`] allow. An error is one of the file system, or a message.
fn contents(path: &Path) -> Result<Vec<u8>, Result<Error, String>> {
    let read = || {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        file.take(LIMITS.bytes as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Ok(Error::io(path)(error)))?;
    if bytes.len() > LIMITS.bytes {
        return Err(Err(format!("has more than {} bytes", LIMITS.bytes)));
    }
    Ok(bytes)
}

/// Appends the images of a pickle to `images` (planar to interleaved), and their labels to `labels`.
///
/// # Errors
/// A description of the first problem.
pub fn append(
    bytes: &[u8],
    version: Version,
    images: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), String> {
    let (pickle, _) = pickle::read_within(bytes, LIMITS).map_err(one_line)?;
    append_from(&pickle, version, images, labels).map_err(one_line)
}

fn append_from(
    pickle: &Pickle,
    version: Version,
    images: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), String> {
    let entry = |key: &str| {
        pickle.string_entry(pickle.root, key).ok_or_else(|| format!("expected a dictionary with {key}"))
    };
    let key = match version {
        Version::Cifar10 => "labels",
        Version::Cifar100 => "fine_labels",
    };
    let (data, classes) = (pickle.array(entry("data")?)?, integers(pickle, entry(key)?)?);
    let (&[count, IMAGE], Elements::U8(pixels)) = (data.shape.as_slice(), &data.elements) else {
        return Err(format!(
            "expected data of bytes [N, {IMAGE}], found {} {:?}",
            data.elements.type_name(),
            data.shape
        ));
    };
    if classes.len() != count {
        return Err(format!("expected {count} {key}, one an image, found {}", classes.len()));
    }
    let most = version.classes() as i128 - 1;
    if let Some(index) = classes.iter().position(|label| !(0..=most).contains(label)) {
        return Err(format!("image {index} has label {}, expected 0 to {most}", classes[index]));
    }
    labels.extend(classes.iter().map(|&label| label as u32));
    images.reserve(pixels.len());
    pixels.chunks_exact(IMAGE).for_each(|image| append_image(image, images));
    Ok(())
}

/// The integers of a list or of a NumPy array.
fn integers(pickle: &Pickle, id: Id) -> Result<Vec<i128>, String> {
    let integer = |&id: &Id| match pickle.get(id) {
        Value::Int(value) => Ok(*value),
        _ => Err("a label that is no integer".to_owned()),
    };
    match pickle.get(id) {
        Value::Sequence(items) => items.iter().map(integer).collect(),
        _ => match pickle.array(id)?.elements {
            Elements::U8(values) => Ok(values.into_iter().map(i128::from).collect()),
            Elements::U32(values) => Ok(values.into_iter().map(i128::from).collect()),
            Elements::I64(values) => Ok(values.into_iter().map(i128::from).collect()),
            Elements::F32(_) => Err("labels that are floats".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::cifar;
    use super::*;
    use crate::says::assert_says;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
    }

    /// The images of `cifar()` of `make.py`.
    fn images(count: usize) -> Vec<u8> {
        let byte = |image: usize, place: usize| ((7 * place + place / 1024 + image) % 256) as u8;
        let pixel = move |image, at: usize| (0..3).map(move |channel| byte(image, channel * 1024 + at));
        (0..count).flat_map(|image| (0..1024).flat_map(move |at| pixel(image, at))).collect()
    }

    #[test]
    fn pickles_of_python_2_and_3() {
        for (file, version) in
            [("cifar10_python2.pkl", Version::Cifar10), ("cifar100_python3.pkl", Version::Cifar100)]
        {
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            append(&fs::read(fixture(file)).unwrap(), version, &mut pixels, &mut labels).unwrap();
            assert_eq!((labels, pixels), (vec![1, 4], images(2)), "{file}");
        }
    }

    #[test]
    fn directories_of_the_python_version() {
        let root = tempfile::tempdir().unwrap();
        let file = fs::read(fixture("cifar10_python2.pkl")).unwrap();
        for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "test_batch"] {
            fs::write(root.path().join(name), &file).unwrap();
        }
        let message = cifar::load_train(root.path()).unwrap_err().to_string();
        assert_says(
            &message,
            &["data_batch_1", "expected 10000 images, found 2", "CIFAR-10's Python version"],
        );
        let hundred = root.path().join("test");
        fs::copy(fixture("cifar100_python3.pkl"), &hundred).unwrap();
        let set = cifar::load_100(&hundred, "CIFAR-100 test", 2).unwrap();
        assert_eq!((set.labels, set.images), (vec![1, 4], images(2)));
        assert_eq!(set.class_names[99], "worm");
        // The names in `meta`: `{"fine_label_names": [...]}`.
        let names = |count: usize| {
            let names = (0..count).map(|class| format!("U\u{3}n{class:02}"));
            format!("}}U\u{10}fine_label_names({}ls.", names.collect::<String>())
        };
        fs::write(root.path().join("meta"), names(100)).unwrap();
        assert_eq!(cifar::load_100(&hundred, "", 2).unwrap().class_names[42], "n42");
        fs::write(root.path().join("meta"), names(99)).unwrap();
        let message = cifar::load_100(&hundred, "", 2).unwrap_err().to_string();
        assert!(message.contains("meta") && message.contains("100 names of classes, found 99"), "{message}");
    }

    #[test]
    fn other_pickles_are_refused() {
        for (bytes, part) in [
            (&b"N."[..], "expected a dictionary with data"),
            (b"}U\x04dataNs.", "expected a NumPy array"),
            (b"}.", "expected a dictionary with data"),
            (b"}(U\x04datacos\nsystem\n)Ru.", "expected a NumPy array"),
            (b"", "ends"),
        ] {
            let message = append(bytes, Version::Cifar10, &mut Vec::new(), &mut Vec::new()).unwrap_err();
            assert_says(&message, &[part]);
        }
        let good = fs::read(fixture("cifar10_python2.pkl")).unwrap();
        let refused = |from: &[u8], to: &[u8], version, part: &str| {
            let at = good.windows(from.len()).position(|window| window == from).expect("the bytes");
            let changed = [&good[..at], to, &good[at + from.len()..]].concat();
            let message = append(&changed, version, &mut Vec::new(), &mut Vec::new()).unwrap_err();
            assert_says(&message, &[part]);
        };
        refused(b"labels", b"labelz", Version::Cifar10, "expected a dictionary with labels");
        refused(b"labels", b"labels", Version::Cifar100, "expected a dictionary with fine_labels");
        refused(b"(K\x01K\x04e", b"(K\x01K\x0ae", Version::Cifar10, "image 1 has label 10, expected 0 to 9");
        refused(b"(K\x01K\x04e", b"K\x01a", Version::Cifar10, "expected 2 labels, one an image, found 1");
        refused(b"(K\x01K\x04e", b"(K\x01Ne", Version::Cifar10, "no integer");
        refused(b"K\x02M\x00\x0c", b"K\x02M\x01\x0c", Version::Cifar10, "has 6144 bytes");
        refused(b"U\x02u1", b"U\x02i1", Version::Cifar10, "found I64 [2, 3072]");
    }
}
