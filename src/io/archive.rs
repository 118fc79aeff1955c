//! Zip archives whose entries are one name and one place each.
//!
//! The `zip` crate reads the directory of entries; what PyTorch and NumPy never write, and what would let an archive
//! hold more than its bytes or mean different things to different readers, is refused here.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

/// Opens an archive that begins where its file does.
///
/// # Errors
/// What is wrong with it.
pub(super) fn open<R: Read + Seek>(reader: R) -> Result<ZipArchive<R>, String> {
    // Said, not detected. PyTorch writes two records of 76 bytes behind the directory; where the directory's first entry
    // has as many, which the length of the file's name decides, the detection takes the second entry for the first.
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
