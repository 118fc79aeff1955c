//! The format of `torch.save` since PyTorch 1.6: a zip archive of stored entries, `NAME/data.pkl` and
//! `NAME/data/KEY` for each storage.

use std::io::{Read, Seek};

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickle};
use super::storages::{Source, unreadable};
use crate::io::elements::{ElementType, Elements};

/// The storages of an archive.
pub struct Archive<R> {
    archive: ZipArchive<R>,
    /// The folder that everything lies in, with its slash.
    folder: String,
}

/// Opens the archive and reads its pickle.
pub fn open<R: Read + Seek>(reader: &mut R, length: u64) -> Result<(Pickle, Archive<&mut R>), String> {
    let mut archive =
        ZipArchive::new(reader).map_err(|error| format!("expected a whole zip archive: {error}"))?;
    let mut folder = None;
    let mut total: u64 = 0;
    for index in 0..archive.len() {
        let entry =
            archive.by_index_raw(index).map_err(|error| format!("entry {index} of the archive: {error}"))?;
        let name =
            entry.name().map_err(|error| format!("entry {index} of the archive: {error}"))?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!(
                "entry {name} is compressed or encrypted, which torch.save never does; refused"
            ));
        }
        if entry.size() != entry.compressed_size() {
            return Err(format!("entry {name} is stored with two sizes"));
        }
        total = total.saturating_add(entry.size());
        if let Some(top) = name.strip_suffix("data.pkl") {
            folder.get_or_insert_with(|| top.to_owned());
        }
        if name.ends_with("constants.pkl") {
            return Err("is a TorchScript archive, which holds code; save model.state_dict() instead".into());
        }
    }
    // Entries that share bytes would be read more often than they are there.
    if total > length {
        return Err(format!("its entries have {total} bytes together, the file {length}; refused"));
    }
    let folder = folder.ok_or("is a zip archive without data.pkl, so none of torch.save")?;
    let mut archive = Archive { archive, folder };
    if archive.text("byteorder")?.is_some_and(|order| order.trim() != "little") {
        return Err("was saved on a big-endian machine; save it again on another".into());
    }
    let bytes = archive.small("data.pkl")?.ok_or("has no data.pkl")?;
    let (pickle, _) = pickle::read(&bytes)?;
    Ok((pickle, archive))
}

impl<R: Read + Seek> Archive<R> {
    /// The bytes of a small entry, if it is there.
    fn small(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let name = format!("{}{name}", self.folder);
        let Some(index) = self.archive.index_for_name(&name) else { return Ok(None) };
        let mut entry = self.archive.by_index(index).map_err(|error| format!("entry {name}: {error}"))?;
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

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        Ok(self.small(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn index(&self, key: &str) -> Result<usize, String> {
        let name = format!("{}data/{key}", self.folder);
        self.archive.index_for_name(&name).ok_or_else(|| format!("there is no entry {name} in the archive"))
    }
}

impl<R: Read + Seek> Source for Archive<R> {
    fn bytes(&mut self, key: &str) -> Result<u64, String> {
        let index = self.index(key)?;
        let entry = self.archive.by_index_raw(index).map_err(|error| format!("storage {key}: {error}"))?;
        Ok(entry.size())
    }

    fn read(&mut self, key: &str, kind: ElementType, count: usize) -> Result<Elements, String> {
        let index = self.index(key)?;
        let mut entry = self.archive.by_index(index).map_err(|error| format!("storage {key}: {error}"))?;
        kind.read(&mut entry, count).map_err(|error| unreadable(key, &error))
    }
}
