use std::fs;
use std::path::PathBuf;

use super::*;
use crate::data::download::unobserved;
use crate::data::{cifar_pickle, idx};
use crate::says::assert_says;

fn set(name: &str) -> NamedSet {
    name.parse().unwrap()
}

fn error(name: &str, root: &Path, parts: &[&str]) {
    assert_says(&set(name).load(Some(root), &unobserved).unwrap_err().to_string(), parts);
}

#[test]
fn names_are_read_as_they_are_written() {
    for named in NamedSet::all() {
        assert_eq!(set(&named.to_string()), named);
    }
    for wrong in ["mnist", "mnist:extra", "imagenet:test", "MNIST:test", ""] {
        let message = wrong.parse::<NamedSet>().unwrap_err().to_string();
        let found = format!("found {wrong:?}");
        assert_says(&message, &[&found, "cifar10:test", "svhn:extra", "fashion-mnist:train"]);
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
    error("mnist:train", root.path(), &["mnist:train", "train-images-idx3-ubyte (or .gz)", &looked, "http"]);
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
