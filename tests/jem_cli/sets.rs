//! Data sets in the layouts of their authors: small if the layout allows it, else of the official size as sparse files,
//! in which all records but the first are holes.

use crate::support::Place;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Pixels and labels without meaning, but different from each other.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 / (1 + i % 3) % 256) as u8).collect()
}

fn labels(count: usize, classes: usize) -> Vec<u8> {
    (0..count).map(|i| (i % classes) as u8).collect()
}

impl Place {
    /// A directory of data sets in MNIST's layout with `n` digits, for testing and for training.
    pub fn digits(&self, n: usize) -> String {
        self.idx("mnist", n)
    }

    /// The same for Fashion-MNIST.
    pub fn clothes(&self, n: usize) -> String {
        self.idx("fashion-mnist", n)
    }

    /// The same for Kuzushiji-MNIST.
    pub fn hiragana(&self, n: usize) -> String {
        self.idx("kmnist", n)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = Path::new(&self.at("data")).join(name);
        fs::create_dir_all(&folder).expect("a directory");
        folder
    }

    fn idx(&self, name: &str, n: usize) -> String {
        let folder = self.folder(name);
        let idx = |shape: &[usize], bytes: Vec<u8>| {
            let sizes = shape.iter().flat_map(|&size| (size as u32).to_be_bytes());
            [vec![0, 0, 8, shape.len() as u8], sizes.collect(), bytes].concat()
        };
        for part in ["t10k", "train"] {
            for (kind, contents) in [
                ("images-idx3", idx(&[n, 28, 28], bytes(n * 28 * 28))),
                ("labels-idx1", idx(&[n], labels(n, 10))),
            ] {
                fs::write(folder.join(format!("{part}-{kind}-ubyte")), contents).expect("a file");
            }
        }
        self.at("data")
    }

    /// `n` digits in SVHN's layout: a MAT-file for each part, with a matrix of bytes and one of doubles.
    pub fn house_numbers(&self, n: usize) -> String {
        // A type, a number of bytes, the bytes, and padding to the next multiple of 8.
        let element = |kind: u32, data: &[u8]| {
            let mut element = [&kind.to_le_bytes(), &(data.len() as u32).to_le_bytes(), data].concat();
            element.resize(element.len().next_multiple_of(8), 0);
            element
        };
        let matrix = |class: u32, name: &str, sizes: &[usize], kind: u32, data: &[u8]| {
            let flags = [class.to_le_bytes(), [0; 4]].concat();
            let sizes: Vec<u8> = sizes.iter().flat_map(|&size| (size as u32).to_le_bytes()).collect();
            let parts =
                [element(6, &flags), element(5, &sizes), element(1, name.as_bytes()), element(kind, data)];
            element(14, &parts.concat())
        };
        // 10 stands for 0.
        let digits: Vec<u8> = (0..n).flat_map(|i| ((i % 10 + 1) as f64).to_le_bytes()).collect();
        let file = [
            vec![b' '; 124],
            b"\x00\x01IM".to_vec(),
            matrix(9, "X", &[32, 32, 3, n], 2, &bytes(3 * 32 * 32 * n)),
            matrix(6, "y", &[n, 1], 9, &digits),
        ];
        for part in ["train", "test"] {
            let path = self.folder("svhn").join(format!("{part}_32x32.mat"));
            fs::write(path, file.concat()).expect("a file");
        }
        self.at("data")
    }

    /// CIFAR-10, with `n` records per file that are not all zeros.
    pub fn cifar10(&self, n: usize) -> String {
        let folder = self.folder("cifar-10-batches-bin");
        let batches = (1..=5).map(|batch| format!("data_batch_{batch}.bin"));
        for name in batches.chain(["test_batch.bin".into()]) {
            records(&folder.join(name), 1, 10, n, 10_000);
        }
        self.at("data")
    }

    /// CIFAR-100, with `n` records per file that are not all zeros.
    pub fn cifar100(&self, n: usize) -> String {
        let folder = self.folder("cifar-100-binary");
        for (name, count) in [("train.bin", 50_000), ("test.bin", 10_000)] {
            records(&folder.join(name), 2, 100, n, count);
        }
        self.at("data")
    }
}

/// A file of `count` records with some label bytes, of which the last is used, and 3,072 bytes of pixels.
fn records(path: &Path, label_bytes: usize, classes: usize, filled: usize, count: usize) {
    let record = label_bytes + 3 * 32 * 32;
    let mut contents = bytes(filled * record);
    for (record, label) in contents.chunks_exact_mut(record).zip(labels(filled, classes)) {
        record[..label_bytes].fill(0);
        record[label_bytes - 1] = label;
    }
    let mut file = File::create(path).expect("a file");
    file.write_all(&contents).expect("a file");
    file.set_len((count * record) as u64).expect("a file of the official size");
}
