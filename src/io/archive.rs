//! Zip archives in which each name and each byte range belongs to one entry.
//!
//! The `zip` crate reads the directory of entries. This module refuses archives that PyTorch and NumPy never write, and
//! those that claim more data than their bytes or that readers could interpret differently.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

/// The highest compression ratio of deflate: 258 bytes from a match of two bits.
pub(super) const DEFLATE_RATIO: u64 = 1032;

/// Opens an archive that starts at the beginning of its file.
///
/// # Errors
/// A description of the first problem.
pub(super) fn open<R: Read + Seek>(reader: R) -> Result<ZipArchive<R>, String> {
    // The offset is set, not detected. PyTorch writes two records of 76 bytes after the directory. If the first entry
    // of the directory also has 76 bytes, which depends on the length of its name, the detection takes the second entry
    // for the first.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, reader)
        .map_err(|error| format!("expected a whole zip archive: {error}"))?;
    if archive.has_duplicate_names() {
        return Err("two entries of the archive have one name; refused".into());
    }
    match archive.has_overlapping_entries() {
        Ok(false) => Ok(archive),
        Ok(true) => Err("entries of the archive overlap or lie outside it; refused".into()),
        Err(error) => Err(format!("the archive is damaged: {error}")),
    }
}
