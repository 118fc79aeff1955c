//! Files with the tensors of a network, from `torch.save` or in safetensors. The contents determine the format.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::elements::Array;
use super::{one_line, safetensors, torch};
use crate::error::{Error, Result};

/// The tensor with the chains of a JEM.
const REPLAY_BUFFER: &str = "replay_buffer";

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
    /// The key of the state dict.
    pub key: Option<String>,
    /// The beginning of the tensors' names that the network's own names lack, such as `module.`.
    pub prefix: Option<String>,
    /// Numbers and strings beside the state dict, as text, such as an accuracy or an epoch: the first 100.
    pub scalars: Vec<(String, String)>,
    /// Entries that were ignored, such as an optimizer's: the first 100.
    pub ignored: Vec<String>,
    /// The metadata strings of a safetensors file.
    pub metadata: BTreeMap<String, String>,
}

impl fmt::Display for Facts {
    /// Formats the facts in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format)?;
        if let Some(key) = &self.key {
            write!(f, ", {key}")?;
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

/// Reads a file, whatever its extension. Holds its data in memory once.
///
/// # Errors
/// [`Error::Io`], or [`Error::File`] with the problem or the refused content.
pub fn read(path: &Path) -> Result<StateFile> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if metadata.is_dir() {
        return Err(Error::file(path, "is a directory, expected a file"));
    }
    parse(&mut BufReader::new(file), metadata.len()).map_err(|message| Error::file(path, message))
}

/// Reads a file of `length` bytes from `reader`.
///
/// # Errors
/// The problem or the refused content, in one line.
pub fn parse(reader: &mut (impl Read + Seek), length: u64) -> Result<StateFile, String> {
    contents(reader, length).map_err(one_line)
}

fn contents(reader: &mut (impl Read + Seek), length: u64) -> Result<StateFile, String> {
    let mut start = [0; 9];
    let short = || format!("expected a checkpoint of PyTorch or a safetensors file, found {length} bytes");
    reader.read_exact(&mut start).map_err(|_| short())?;
    // Before pickles, whose first byte may also be the first byte of a header's length.
    if safetensors::is_safetensors(&start, length) {
        let (mut tensors, metadata) = safetensors::read(reader, length)?;
        let at = tensors.iter().position(|(name, _)| name == REPLAY_BUFFER);
        let replay_buffer = at.map(|at| tensors.remove(at).1);
        let facts = Facts { format: "safetensors", metadata, ..Facts::default() };
        return Ok(StateFile { tensors, replay_buffer, facts });
    }
    if torch::is_torch(&start) {
        let file = torch::read(reader, length)?;
        let facts = Facts {
            format: file.format,
            key: file.key,
            prefix: None,
            scalars: file.scalars,
            ignored: file.ignored,
            metadata: BTreeMap::new(),
        };
        return Ok(StateFile { tensors: file.tensors, replay_buffer: file.replay_buffer, facts });
    }
    if torch::is_tar(reader) {
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
