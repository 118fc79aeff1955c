//! The format of `torch.save` since PyTorch 1.6: a zip archive of stored entries, `NAME/data.pkl` and
//! `NAME/data/KEY` for each storage.

use std::io::{Read, Seek};

use zip::read::{ZipFile, ZipReadOptions};
use zip::result::ZipResult;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickle};
use super::storages::{Source, unreadable};
use crate::io::archive;
use crate::io::elements::{ElementType, Elements};

/// The storages of an archive.
pub struct Archive<R> {
    archive: ZipArchive<R>,
    /// The folder that contains all entries, with its slash.
    folder: String,
}

/// Opens the archive and reads its pickle.
pub fn open<R: Read + Seek>(reader: &mut R) -> Result<(Pickle, Archive<&mut R>), String> {
    let mut archive = archive::open(reader)?;
    let mut folder = None;
    for index in 0..archive.len() {
        let fail = |error: &dyn std::fmt::Display| format!("entry {index} of the archive: {error}");
        let entry = archive.by_index_raw(index).map_err(|error| fail(&error))?;
        let name = entry.name().map_err(|error| fail(&error))?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!(
                "entry {name:?} is compressed or encrypted, which torch.save never does; refused"
            ));
        }
        // If the two sizes differ, the larger could request more memory than the file has bytes.
        if entry.size() != entry.compressed_size() {
            return Err(format!("entry {name:?} is stored with two sizes; refused"));
        }
        if let Some((top, rest)) = name.split_once('/') {
            if rest == "data.pkl" {
                folder.get_or_insert_with(|| format!("{top}/"));
            }
            if rest == "constants.pkl" {
                return Err(
                    "is a TorchScript archive, which holds code; save model.state_dict() instead".into()
                );
            }
        }
    }
    let folder = folder.ok_or("is a zip archive without data.pkl, so none of torch.save")?;
    let mut archive = Archive { archive, folder };
    let order = archive.small("byteorder")?;
    match order.as_deref().map(<[u8]>::trim_ascii) {
        None | Some(b"little") => {}
        Some(b"big") => return Err("was saved on a big-endian machine; save it again on another".into()),
        Some(_) => return Err("its order of bytes is neither little nor big".into()),
    }
    let bytes = archive.small("data.pkl")?.ok_or("has no data.pkl")?;
    let (pickle, _) = pickle::read(&bytes)?;
    Ok((pickle, archive))
}

impl<R: Read + Seek> Archive<R> {
    /// The bytes of a small entry, if it exists.
    fn small(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let name = format!("{}{name}", self.folder);
        let Some(index) = self.archive.index_for_name(&name) else { return Ok(None) };
        let mut entry = opened(&mut self.archive, index).map_err(|error| format!("entry {name}: {error}"))?;
        if entry.size() > pickle::MAX_BYTES as u64 {
            return Err(format!(
                "entry {name} has {} bytes, expected at most {}",
                entry.size(),
                pickle::MAX_BYTES
            ));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| format!("entry {name} cannot be read: {error}"))?;
        Ok(Some(bytes))
    }

    fn index(&self, key: &str) -> Result<usize, String> {
        let name = format!("{}data/{key}", self.folder);
        self.archive.index_for_name(&name).ok_or_else(|| format!("there is no entry {name} in the archive"))
    }
}

impl<R: Read + Seek> Source for Archive<R> {
    fn bytes(&mut self, key: &str) -> Result<u64, String> {
        let index = self.index(key)?;
        let entry = self.archive.by_index_data(index).map_err(|error| format!("storage {key}: {error}"))?;
        Ok(entry.size())
    }

    fn read(&mut self, key: &str, kind: ElementType, count: usize) -> Result<Elements, String> {
        let index = self.index(key)?;
        let mut entry =
            opened(&mut self.archive, index).map_err(|error| format!("storage {key}: {error}"))?;
        let elements = kind.read(&mut entry, count).map_err(|error| unreadable(key, &error))?;
        // Reading to the end compares the checksum.
        match entry.read(&mut [0]) {
            Ok(0) => Ok(elements),
            Ok(_) => Err(format!("storage {key} is longer than its entry says")),
            Err(error) => Err(unreadable(key, &error)),
        }
    }
}

/// Opens an entry. Its checksum is compared unless it is 0: torch.save can be told to write zeros
/// (`torch.serialization.set_crc32_options`).
fn opened<R: Read + Seek>(archive: &mut ZipArchive<R>, index: usize) -> ZipResult<ZipFile<'_, R>> {
    let unknown = archive.by_index_data(index)?.crc32() == 0;
    archive.by_index_with_options(index, ZipReadOptions::new().ignore_crc32(unknown))
}
