//! The format of `torch.save` since PyTorch 1.6: a zip archive of stored entries, `NAME/data.pkl` and
//! `NAME/data/KEY` for each storage. TorchScript's archives are such archives, with code beside the data.
//!
//! Zip tools that pack such an archive again compress the entries, may change the folder, and add entries of their own.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use zip::read::{ZipFile, ZipReadOptions};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickle};
use super::storages::{Source, unreadable};
use crate::io::archive::{self, DEFLATE_RATIO};
use crate::io::elements::{ElementType, Elements};

/// The entry with the metadata strings of this library, a JSON object. PyTorch does not read it.
pub(super) const METADATA: &str = "jem.json";
/// The pickle of an archive.
const PICKLE: &str = "data.pkl";
/// The usual endings of checkpoints.
const CHECKPOINTS: [&str; 7] = ["pt", "pth", "ckpt", "th", "tar", "bin", "safetensors"];

/// The storages of an archive.
pub struct Archive<R> {
    archive: ZipArchive<R>,
    /// The folder that contains all entries, with its slash.
    folder: String,
    /// Whether the entries have checksums: torch.save can be told to write zeros
    /// (`torch.serialization.set_crc32_options`), and TorchScript does.
    has_checksums: bool,
}

/// Opens the archive and reads its pickle.
pub fn open<R: Read + Seek>(reader: R) -> Result<(Pickle, Archive<R>), String> {
    let mut archive = archive::open(reader)?;
    let folder = folder(&mut archive)?;
    let mut archive = Archive { archive, folder, has_checksums: false };
    let order = archive.small("byteorder")?;
    match order.as_deref().map(<[u8]>::trim_ascii) {
        None | Some(b"little") => {}
        Some(b"big") => return Err("was saved on a big-endian machine; save it again on another".into()),
        Some(_) => return Err("its order of bytes is neither little nor big".into()),
    }
    let bytes = archive.small(PICKLE)?.ok_or("has no data.pkl")?;
    let index = archive.find(PICKLE).ok_or("has no data.pkl")?;
    archive.has_checksums = archive.archive.by_index_data(index).is_ok_and(|entry| entry.crc32() != 0);
    let (pickle, _) = pickle::read(&bytes)?;
    Ok((pickle, archive))
}

/// The folder of the pickle, with its slash.
fn folder<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<String, String> {
    let mut folder: Option<String> = None;
    let mut otherwise = None;
    let code =
        |writer: &str| format!("is an archive of {writer}, which holds code; save state_dict() instead");
    for index in 0..archive.len() {
        let fail = |error: &dyn std::fmt::Display| format!("entry {index} of the archive: {error}");
        let entry = archive.by_index_raw(index).map_err(|error| fail(&error))?;
        let name = entry.name().map_err(|error| fail(&error))?;
        // The copies that macOS adds.
        if name.starts_with("__MACOSX/") {
            continue;
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        if base == PICKLE {
            let found = name[..name.len() - PICKLE.len()].to_owned();
            if let Some(first) = folder.replace(found.clone()) {
                return Err(format!(
                    "holds two checkpoints, {first}{PICKLE} and {found}{PICKLE}; unpack one"
                ));
            }
        }
        let ending = base.rsplit_once('.').map_or("", |(_, ending)| ending);
        match base {
            "archive_format" => otherwise = Some(code("torch.export")),
            "extern_modules" => otherwise = Some(code("torch.package")),
            _ if otherwise.is_none() && CHECKPOINTS.contains(&ending) => {
                otherwise =
                    Some(format!("is a zip archive with the file {name}; unpack it and name that file"));
            }
            _ => {}
        }
    }
    folder.ok_or_else(|| {
        otherwise.unwrap_or_else(|| "is a zip archive without data.pkl, so none of torch.save".into())
    })
}

impl<R: Read + Seek> Archive<R> {
    /// Whether the archive is one of TorchScript.
    pub fn is_script(&self) -> bool {
        self.find("constants.pkl").is_some()
    }

    /// The metadata strings that this library wrote beside the pickle; none in a file of PyTorch.
    pub fn metadata(&mut self) -> Result<BTreeMap<String, String>, String> {
        let Some(bytes) = self.small(METADATA)? else { return Ok(BTreeMap::new()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            format!("entry {}{METADATA}: expected an object of strings: {error}", self.folder)
        })
    }

    /// The bytes of a small entry, if it exists.
    fn small(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(index) = self.find(name) else { return Ok(None) };
        let name = format!("{}{name}", self.folder);
        let mut entry = opened(&mut self.archive, index).map_err(|error| format!("entry {name} {error}"))?;
        let size = entry.size();
        if size > pickle::MAX_BYTES as u64 {
            return Err(format!("entry {name} has {size} bytes, expected at most {}", pickle::MAX_BYTES));
        }
        let mut bytes = Vec::new();
        let read = entry.by_ref().take(size + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("entry {name} cannot be read: {error}"))?;
        if bytes.len() as u64 != size {
            return Err(format!("entry {name} does not have the {size} bytes that the archive states"));
        }
        Ok(Some(bytes))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.archive.index_for_name(&format!("{}{name}", self.folder))
    }

    fn index(&self, key: &str) -> Result<usize, String> {
        let name = format!("data/{key}");
        self.find(&name).ok_or_else(|| format!("there is no entry {}{name} in the archive", self.folder))
    }
}

impl<R: Read + Seek> Source for Archive<R> {
    fn bytes(&mut self, key: &str) -> Result<u64, String> {
        let index = self.index(key)?;
        let entry = opened(&mut self.archive, index).map_err(|error| format!("storage {key} {error}"))?;
        Ok(entry.size())
    }

    fn read(&mut self, key: &str, kind: ElementType, count: usize) -> Result<Elements, String> {
        let index = self.index(key)?;
        let mut entry = opened(&mut self.archive, index).map_err(|error| format!("storage {key} {error}"))?;
        let elements = kind.read(&mut entry, count).map_err(|error| unreadable(key, &error))?;
        // Reading to the end compares the checksum.
        match entry.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(format!("storage {key} is longer than its entry says")),
            Err(error) => return Err(unreadable(key, &error)),
        }
        // The checksum of zeros is not zero, so nothing computed it.
        if self.has_checksums && entry.crc32() == 0 && count > 0 && is_zero(&elements) {
            return Err(format!(
                "storage {key} was saved without its data, as under torch.serialization.skip_data or FakeTensorMode"
            ));
        }
        Ok(elements)
    }
}

fn is_zero(elements: &Elements) -> bool {
    match elements {
        Elements::F32(values) => values.iter().all(|&value| value.to_bits() == 0),
        Elements::U32(values) => values.iter().all(|&value| value == 0),
        Elements::I64(values) => values.iter().all(|&value| value == 0),
        Elements::U8(values) => values.iter().all(|&value| value == 0),
    }
}

/// Opens an entry that is stored or deflated and declares no more bytes than it can expand to. Its checksum is compared
/// unless it is 0.
fn opened<R: Read + Seek>(archive: &mut ZipArchive<R>, index: usize) -> Result<ZipFile<'_, R>, String> {
    let entry = archive.by_index_data(index).map_err(|error| error.to_string())?;
    let (size, packed, unknown) = (entry.size(), entry.compressed_size(), entry.crc32() == 0);
    if entry.encrypted() {
        return Err("is encrypted; pack the archive without a password".into());
    }
    match entry.compression() {
        // If the two sizes differ, the larger could request more memory than the file has bytes.
        CompressionMethod::Stored if size != packed => return Err("is stored with two sizes; refused".into()),
        CompressionMethod::Stored => {}
        CompressionMethod::Deflated if size > packed.saturating_mul(DEFLATE_RATIO) => {
            return Err(format!("has {size} bytes, which cannot be {packed} deflated ones; refused"));
        }
        CompressionMethod::Deflated => {}
        other => {
            return Err(format!("is compressed by {other}, which is not supported; store or deflate it"));
        }
    }
    archive
        .by_index_with_options(index, ZipReadOptions::new().ignore_crc32(unknown))
        .map_err(|error| error.to_string())
}
