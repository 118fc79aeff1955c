//! Archives on the network and their expected contents.

use super::cifar;

/// An archive on the network and its expected contents.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The address, `http` or `https`.
    pub url: String,
    /// The MD5 of the archive, in lower-case hexadecimal.
    pub md5: String,
    /// The most bytes to download.
    pub max_bytes: u64,
    /// The directory within the archive, and in the cache.
    pub folder: String,
    /// The files to unpack from `folder`, with the size that each must have.
    pub members: Vec<(String, u64)>,
}

impl Archive {
    /// The binary version of CIFAR-10, from its authors.
    pub fn cifar10() -> Self {
        let size = (cifar::RECORD * cifar::RECORDS_PER_FILE) as u64;
        let files = cifar::TRAIN_FILES.iter().chain([&cifar::TEST_FILE]);
        Self {
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".into(),
            md5: "c32a1d4ab5d03f1284b67883e8d87530".into(),
            max_bytes: 180_000_000,
            folder: cifar::FOLDER.into(),
            members: files.map(|&file| (file.into(), size)).collect(),
        }
    }

    /// The file name of the archive: the last part of its address.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("archive")
    }
}
