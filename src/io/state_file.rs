//! Files with the tensors of a network, from `torch.save` or in safetensors. The contents determine the format.
//!
//! [`open`] lists what a file holds by names and shapes; [`Opened::load`] reads one dictionary of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::elements::Array;
pub use super::torch::Dictionary;
use super::torch::TorchFile;
use super::{one_line, open_regular, safetensors, torch};
use crate::error::{Error, Result};

/// The tensor with the chains of a JEM.
const REPLAY_BUFFER: &str = "replay_buffer";
/// The usual keys of a state dict, in the order in which [`read`] tries them.
const KEYS: [&str; 6] = ["model_state_dict", "state_dict", "model", "net", "network", "weights"];

/// An opened file: its dictionaries of tensors, before any tensor is read.
#[derive(Debug)]
pub struct Opened<R = BufReader<File>> {
    path: PathBuf,
    dictionaries: Vec<Dictionary>,
    facts: Facts,
    contents: Contents<R>,
}

/// The rest of a file whose header or pickle has been read.
#[derive(Debug)]
enum Contents<R> {
    Safetensors(R, u64),
    Torch(TorchFile<R>),
}

/// The tensors of a network, with the other contents of their file.
#[derive(Debug, Clone, PartialEq)]
pub struct StateFile {
    /// Tensors by name, in the order of the file.
    pub tensors: Vec<(String, Array)>,
    /// The replay buffer of a JEM, [n, c, h, w].
    pub replay_buffer: Option<Array>,
    /// The other contents of the file.
    pub facts: Facts,
}

/// A summary of a file besides its tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The format, such as `PyTorch zip`.
    pub format: &'static str,
    /// The keys of the state dict, joined by dots.
    pub key: Option<String>,
    /// The beginning of the tensors' names that the network's own names lack, such as `module.`.
    pub prefix: Option<String>,
    /// The class, if the tensors are from a whole pickled module.
    pub class: Option<String>,
    /// Numbers and strings beside the state dict, as text, such as an accuracy or an epoch: the first 100.
    pub scalars: Vec<(String, String)>,
    /// Entries that were ignored, such as an optimizer's, with the classes of objects: the first 100.
    pub ignored: Vec<String>,
    /// The number of chains in the replay buffer of a safetensors file; `None` without one, and for other formats.
    pub chains: Option<usize>,
    /// The metadata strings of a safetensors file, or of an exported `.pt`.
    pub metadata: BTreeMap<String, String>,
}

impl fmt::Display for Facts {
    /// Formats the facts in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format)?;
        if let Some(key) = &self.key {
            write!(f, ", {key}")?;
        }
        if let Some(class) = &self.class {
            write!(f, ", the tensors of a {class}")?;
        }
        if let Some(prefix) = &self.prefix {
            write!(f, ", under {prefix}")?;
        }
        for (name, text) in &self.scalars {
            write!(f, ", {} {text}", name.escape_debug())?;
        }
        for (index, name) in self.ignored.iter().enumerate() {
            let before = if index == 0 { "; left out: " } else { ", " };
            write!(f, "{before}{}", name.escape_debug())?;
        }
        Ok(())
    }
}

/// Opens a file, whatever its extension, and lists its dictionaries of tensors. Reads no tensor.
///
/// # Errors
/// [`Error::Io`], or [`Error::File`] with the problem.
pub fn open(path: &Path) -> Result<Opened> {
    let file = open_regular(path)?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if metadata.is_dir() {
        return Err(Error::file(path, "is a directory, expected a file"));
    }
    let opened = Opened::from_reader(BufReader::new(file), metadata.len());
    let opened = opened.map_err(|message| Error::file(path, message))?;
    Ok(Opened { path: path.to_owned(), ..opened })
}

/// Reads the usual dictionary of a file: the first of `model_state_dict`,
/// `state_dict`, `model`, `net`, `network` and `weights`, or the root, or the only one. Holds its data in memory once.
///
/// # Errors
/// [`Error::Io`], or [`Error::File`] with the problem or the refused content.
pub fn read(path: &Path) -> Result<StateFile> {
    let opened = open(path)?;
    let file = opened.usual().and_then(|usual| opened.load_dictionary(usual));
    file.map_err(|message| Error::file(path, message))
}

/// Reads the usual dictionary of a file of `length` bytes from `reader`, as [`read`] does.
///
/// # Errors
/// The problem or the refused content, in one line.
pub fn parse(reader: &mut (impl Read + Seek), length: u64) -> Result<StateFile, String> {
    let opened = Opened::from_reader(reader, length)?;
    let usual = opened.usual()?;
    opened.load_dictionary(usual)
}

impl<R: Read + Seek> Opened<R> {
    /// Opens a file of `length` bytes.
    ///
    /// # Errors
    /// The problem, in one line.
    pub fn from_reader(reader: R, length: u64) -> Result<Self, String> {
        opened(reader, length).map_err(one_line)
    }

    /// The dictionaries of tensors: in the order of the file, flattened ones last.
    pub fn dictionaries(&self) -> &[Dictionary] {
        &self.dictionaries
    }

    /// The format, the metadata, and what the file holds beside the dictionaries.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Reads the tensors of a dictionary, and the replay buffer in it or beside it. The facts tell what lies in and
    /// beside this dictionary.
    ///
    /// # Errors
    /// [`Error::File`] with the first tensor that cannot be read, and the reason.
    pub fn load(self, dictionary: usize) -> Result<StateFile> {
        let path = self.path.clone();
        self.load_dictionary(dictionary).map_err(|message| Error::file(path, message))
    }

    /// Reads the tensors of a dictionary as [`Self::load`] does, without a replay buffer.
    ///
    /// # Errors
    /// The errors of [`Self::load`].
    pub fn load_without_chains(self, dictionary: usize) -> Result<StateFile> {
        let path = self.path.clone();
        let loaded = self.loaded(dictionary, &[REPLAY_BUFFER]);
        let file = loaded.map_err(|message| Error::file(path, one_line(message)))?;
        Ok(StateFile { replay_buffer: None, ..file })
    }

    /// Reads the tensors of a dictionary as [`Self::load`] does.
    ///
    /// # Errors
    /// The first tensor that cannot be read, and the reason, in one line.
    pub fn load_dictionary(self, dictionary: usize) -> Result<StateFile, String> {
        self.loaded(dictionary, &[]).map_err(one_line)
    }

    fn loaded(self, dictionary: usize, left_out: &[&str]) -> Result<StateFile, String> {
        let mut facts = self.facts;
        match self.contents {
            Contents::Safetensors(mut reader, length) => {
                let (mut tensors, metadata) = safetensors::read_without(&mut reader, length, left_out)?;
                let at = tensors.iter().position(|(name, _)| name == REPLAY_BUFFER);
                let replay_buffer = at.map(|at| tensors.remove(at).1);
                facts.metadata = metadata;
                Ok(StateFile { tensors, replay_buffer, facts })
            }
            Contents::Torch(file) => {
                if let Some(chosen) = self.dictionaries.get(dictionary) {
                    facts.key = (!chosen.key.is_empty()).then(|| chosen.key.clone());
                    facts.class = chosen.class.clone();
                }
                let loaded = file.load(dictionary)?;
                (facts.scalars, facts.ignored) = (loaded.scalars, loaded.ignored);
                Ok(StateFile { tensors: loaded.tensors, replay_buffer: loaded.replay_buffer, facts })
            }
        }
    }

    /// The dictionary that [`read`] takes.
    fn usual(&self) -> Result<usize, String> {
        let under = |key: &str| self.dictionaries.iter().position(|dictionary| dictionary.key == key);
        let usual = KEYS.iter().copied().chain([""]).find_map(under);
        match (usual, self.dictionaries.as_slice()) {
            (Some(usual), _) => Ok(usual),
            (None, [_]) => Ok(0),
            (None, several) => {
                let keys: Vec<&str> =
                    several.iter().map(|dictionary| dictionary.key.as_str()).take(8).collect();
                Err(one_line(format!(
                    "expected one dictionary of tensors, or one under {}, found {}: {}",
                    KEYS.join(", "),
                    several.len(),
                    keys.join(", ")
                )))
            }
        }
    }
}

fn opened<R: Read + Seek>(mut reader: R, length: u64) -> Result<Opened<R>, String> {
    let path = PathBuf::new();
    let mut start = [0; 9];
    let short = || format!("expected a checkpoint of PyTorch or a safetensors file, found {length} bytes");
    reader.read_exact(&mut start).map_err(|_| short())?;
    // Before pickles, whose first byte may also be the first byte of a header's length.
    if safetensors::is_safetensors(&start, length) {
        let safetensors::Names { mut tensors, unreadable, metadata } =
            safetensors::names(&mut reader, length)?;
        let chains = tensors.iter().find(|(name, _)| name == REPLAY_BUFFER);
        let chains = chains.and_then(|(_, shape)| shape.first().copied());
        tensors.retain(|(name, _)| name != REPLAY_BUFFER);
        let dictionaries = vec![Dictionary { tensors, unreadable, ..Dictionary::default() }];
        let facts = Facts { format: "safetensors", chains, metadata, ..Facts::default() };
        return Ok(Opened { path, dictionaries, facts, contents: Contents::Safetensors(reader, length) });
    }
    if torch::is_torch(&start) {
        let file = torch::open(reader, length)?;
        let (scalars, ignored) = file.beside();
        let metadata = file.metadata.clone();
        let facts = Facts { format: file.format, scalars, ignored, metadata, ..Facts::default() };
        return Ok(Opened {
            path,
            dictionaries: file.dictionaries(),
            facts,
            contents: Contents::Torch(file),
        });
    }
    if torch::is_tar(&mut reader) {
        return Err(
            "is a tar archive, as torch.save wrote before PyTorch 0.2; load it there and save it again \
                    with a newer PyTorch"
                .into(),
        );
    }
    let found: String =
        start.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' }).collect();
    Err(format!("expected a checkpoint of PyTorch or a safetensors file, but it begins with {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::checkpoint::Checkpoint;

    #[test]
    fn a_safetensors_file_is_one_whatever_its_headers_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let mut firsts = std::collections::BTreeSet::new();
        for padding in 0..256 {
            let mut checkpoint = Checkpoint::default();
            checkpoint.push_f32("weight", &[2], vec![1.0, 2.0]);
            checkpoint.metadata.insert("padding".into(), "x".repeat(padding));
            checkpoint.save(&path).unwrap();
            firsts.insert(std::fs::read(&path).unwrap()[0]);
            let file = read(&path).unwrap_or_else(|error| panic!("{padding}: {error}"));
            assert_eq!(file.facts.format, "safetensors");
        }
        assert!(firsts.contains(&0x80) && firsts.contains(&b'P'), "{firsts:?}");
    }
}
