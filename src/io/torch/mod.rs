//! Files of `torch.save`: the zip format (PyTorch 1.6 and later) and the legacy one.
//!
//! Both hold a pickle ([`pickle`]) of nested dictionaries with tensors, which are views of storages, and the data of
//! the storages. [`TorchFile::dictionaries`] lists the dictionaries of tensors by names and shapes alone;
//! [`TorchFile::load`] reads the tensors of one. No code of a file is run, reads and allocations are bounded by the
//! length of the file (deflated entries by what they can expand to).

mod dictionaries;
mod facts;
mod legacy;
mod modules;
pub mod pickle;
mod storages;
pub mod write;
mod zip;

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek, SeekFrom};

use super::elements::{Array, ElementType, Elements};
use dictionaries::Found;
use facts::Told;
use pickle::{Id, Pickle};
use storages::{Source, Storages};

/// The key of the chains of a JEM.
const REPLAY_BUFFER: &str = "replay_buffer";

/// A file of `torch.save`, before its tensors are read.
#[derive(Debug)]
pub struct TorchFile<R> {
    /// The name of the format.
    pub format: &'static str,
    /// The metadata strings of a file that [`write::write`] wrote.
    pub metadata: BTreeMap<String, String>,
    pickle: Pickle,
    data: Data<R>,
    found: Vec<Found>,
}

/// A dictionary of tensors, before they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionary {
    /// The keys from the root to the dictionary, joined by dots; empty for the root.
    pub key: String,
    /// Names and shapes, in the order of the file.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Tensors that cannot be read, such as sparse ones, each with the reason. With any, the dictionary cannot be
    /// loaded.
    pub unreadable: Vec<(String, String)>,
    /// The class, if this is a whole pickled module rather than a state dict.
    pub class: Option<String>,
    /// Whether nested dictionaries were joined, with dots between their names.
    pub flattened: bool,
}

/// The tensors of a dictionary, and what lies beside it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The tensors, in the order of the file.
    pub tensors: Vec<(String, Array)>,
    /// The tensor `replay_buffer`, in the dictionary or beside it.
    pub replay_buffer: Option<Array>,
    /// Numbers and strings beside the dictionary, as text, then tensors with one number.
    pub scalars: Vec<(String, String)>,
    /// Other entries in or beside the dictionary, such as an optimizer's.
    pub ignored: Vec<String>,
}

/// The data of the storages, in either format.
enum Data<R> {
    Zip(zip::Archive<R>),
    Legacy(legacy::Data<R>),
}

impl<R> std::fmt::Debug for Data<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zip(_) => "Zip",
            Self::Legacy(_) => "Legacy",
        })
    }
}

impl<R: Read + Seek> Source for Data<R> {
    fn bytes(&mut self, key: &str) -> Result<u64, String> {
        match self {
            Self::Zip(archive) => archive.bytes(key),
            Self::Legacy(data) => data.bytes(key),
        }
    }

    fn read(&mut self, key: &str, kind: ElementType, count: usize) -> Result<Elements, String> {
        match self {
            Self::Zip(archive) => archive.read(key, kind, count),
            Self::Legacy(data) => data.read(key, kind, count),
        }
    }
}

/// Whether a file that begins with `start` is from `torch.save`.
pub fn is_torch(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(&[0x80]) || start.starts_with(legacy::MAGIC_TEXT)
}

/// Whether a file is a tar archive, the format of `torch.save` before PyTorch 0.2.
pub fn is_tar(reader: &mut (impl Read + Seek)) -> bool {
    let mut magic = [0; 5];
    let read = reader.seek(SeekFrom::Start(257)).and_then(|_| reader.read_exact(&mut magic));
    read.is_ok() && magic == *b"ustar"
}

/// Opens a file of `length` bytes and finds its dictionaries of tensors.
///
/// # Errors
/// A description of the first problem, or of a file without a dictionary of tensors.
pub fn open<R: Read + Seek>(mut reader: R, length: u64) -> Result<TorchFile<R>, String> {
    let mut start = [0; 4];
    let head = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_exact(&mut start));
    head.map_err(|error| format!("cannot be read: {error}"))?;
    let (format, metadata, pickle, data) = if start == *b"PK\x03\x04" {
        let (pickle, mut archive) = zip::open(reader)?;
        let format = if archive.is_script() { SCRIPT } else { "PyTorch zip" };
        (format, archive.metadata()?, pickle, Data::Zip(archive))
    } else {
        let (pickle, data) = legacy::open(reader, length)?;
        ("PyTorch legacy", BTreeMap::new(), pickle, Data::Legacy(data))
    };
    let found = dictionaries::find(&pickle)?;
    if found.is_empty() && format == SCRIPT {
        return Err(
            "is a TorchScript archive whose tensors are constants of its code, as torch.jit.freeze leaves \
                    them; save state_dict() of the module before it is frozen"
                .into(),
        );
    }
    if found.is_empty() {
        let found = dictionaries::described(&pickle);
        return Err(format!("expected a dictionary of tensors (a state dict) under any key, found {found}"));
    }
    Ok(TorchFile { format, metadata, pickle, data, found })
}

/// The format of `torch.jit.save`.
const SCRIPT: &str = "TorchScript, whose code is not read";

impl<R: Read + Seek> TorchFile<R> {
    /// The dictionaries of tensors: in the order of the file, flattened ones last.
    pub fn dictionaries(&self) -> Vec<Dictionary> {
        let shapes = |found: &Found| {
            let shape =
                |&(ref name, id): &(String, Id)| (name.clone(), dictionaries::shape(&self.pickle, id));
            found.tensors.iter().map(shape).collect()
        };
        let dictionary = |found: &Found| Dictionary {
            key: found.segments.join("."),
            tensors: shapes(found),
            unreadable: found.unreadable.clone(),
            class: found.class.clone(),
            flattened: found.flattened,
        };
        self.found.iter().map(dictionary).collect()
    }

    /// The numbers and strings, and the other entries, beside the dictionaries.
    pub fn beside(&self) -> (Vec<(String, String)>, Vec<String>) {
        let told = Told::beside_all(&self.pickle, &self.found);
        (told.scalars, told.ignored)
    }

    /// Reads the tensors of a dictionary.
    ///
    /// # Errors
    /// The first tensor that cannot be read, with the reason; two tensors of one name.
    pub fn load(self, dictionary: usize) -> Result<Loaded, String> {
        let found =
            self.found.get(dictionary).ok_or_else(|| format!("there is no dictionary {dictionary}"))?;
        if let Some((name, reason)) = found.unreadable.first() {
            return Err(format!("tensor {name}: {reason}"));
        }
        let told = Told::beside(&self.pickle, found);
        let chains = told.replay_buffers.iter().map(|&id| (REPLAY_BUFFER, id));
        let named = || found.tensors.iter().map(|(name, id)| (name.as_str(), *id)).chain(chains.clone());
        let mut names = HashSet::new();
        if let Some((name, _)) = named().find(|(name, _)| !names.insert(*name)) {
            return Err(format!("two tensors are called {name:?}"));
        }
        let numbers = told.numbers.iter().map(|(name, id)| (name.as_str(), *id));
        let wanted: Vec<(&str, Id)> = named().chain(numbers).collect();
        let ids: Vec<Id> = wanted.iter().map(|&(_, id)| id).collect();
        let arrays = Storages::new(self.data).arrays(&self.pickle, &ids, |index| wanted[index].0)?;
        let mut arrays = arrays.into_iter();
        let tensors = found.tensors.iter().map(|(name, _)| name.clone()).zip(&mut arrays).collect();
        let replay_buffer = told.replay_buffers.first().and_then(|_| arrays.next());
        let mut scalars = told.scalars;
        for ((name, _), array) in told.numbers.into_iter().zip(arrays) {
            if scalars.len() < facts::MAX_FACTS {
                scalars.push((name, array.elements.first().unwrap_or_default()));
            }
        }
        Ok(Loaded { tensors, replay_buffer, scalars, ignored: told.ignored })
    }
}

#[cfg(test)]
mod opaque_tests;
#[cfg(test)]
mod tests;
