//! Unpacks an archive: all of the expected files or none, and nothing else.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::archive::Archive;
use crate::error::{Error, Result};
use crate::io::atomic;

/// Allowance for tar's headers and padding, and for other files in the archive.
const OVERHEAD: u64 = 1 << 20;

/// Unpacks the members of `archive` from the file `packed` into `cache/FOLDER`, which appears complete or not at all.
/// Other entries of the archive, links and paths that lead elsewhere are ignored.
///
/// # Errors
/// [`Error::File`] when a member is missing or has another size, or the archive is damaged;
/// [`Error::Io`] when the cache cannot be written.
pub(super) fn unpack(packed: &Path, archive: &Archive, cache: &Path) -> Result<()> {
    let temporary = cache.join(format!(".{}.{}.tmp", archive.folder, std::process::id()));
    let folder = cache.join(&archive.folder);
    let result = unpack_into(packed, archive, &temporary).and_then(|()| {
        match fs::rename(&temporary, &folder) {
            // Another process has unpacked it first.
            Err(_) if folder.is_dir() => Ok(()),
            result => result.map_err(Error::io(&folder)),
        }?;
        atomic::sync_directory(cache).map_err(Error::io(cache))
    });
    if temporary.is_dir() {
        // Report the first error, not one of the clean-up.
        let _ = fs::remove_dir_all(&temporary);
    }
    result
}

fn unpack_into(packed: &Path, archive: &Archive, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(Error::io(directory))?;
    let damaged = |error: io::Error| Error::file(packed, format!("not a whole tar.gz archive: {error}"));
    let wanted: u64 = archive.members.iter().map(|(_, size)| size).sum();
    let packed_file = File::open(packed).map_err(Error::io(packed))?;
    // An archive that expands beyond its expected size is cut off here, and reported as truncated.
    let stream = GzDecoder::new(BufReader::new(packed_file)).take(wanted + OVERHEAD);
    let mut missing: Vec<&(String, u64)> = archive.members.iter().collect();
    for entry in tar::Archive::new(stream).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path_bytes().into_owned();
        let found =
            missing.iter().position(|(name, _)| path == format!("{}/{name}", archive.folder).as_bytes());
        let (Some(index), true) = (found, entry.header().entry_type().is_file()) else { continue };
        let (name, size) = missing.remove(index);
        if entry.size() != *size {
            return Err(Error::file(
                packed,
                format!("{name} in the archive: expected {size} bytes, found {}", entry.size()),
            ));
        }
        let to = directory.join(name);
        let mut file = File::create_new(&to).map_err(Error::io(&to))?;
        // Reads fail for a damaged archive, writes for a full disk; both errors name the file.
        let mut data = Vec::new();
        entry.read_to_end(&mut data).map_err(damaged)?;
        if data.len() as u64 != *size {
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        io::Write::write_all(&mut file, &data).map_err(Error::io(&to))?;
        file.sync_all().map_err(Error::io(&to))?;
    }
    if let Some((name, _)) = missing.first() {
        return Err(Error::file(
            packed,
            format!("expected {}/{name} in the archive, found none", archive.folder),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use tar::{EntryType, Header};

    use super::*;
    use crate::says::assert_says;

    /// An archive with entries of any path, type and data, written beside `cache`.
    fn pack(directory: &Path, entries: &[(&str, EntryType, &[u8])]) -> std::path::PathBuf {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, kind, data) in entries {
            let mut header = Header::new_gnu();
            // `set_path` would refuse an attacker's path.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(data.len() as u64);
            header.set_cksum();
            tar.append(&header, *data).unwrap();
        }
        let path = directory.join("packed.tar.gz");
        fs::write(&path, tar.into_inner().unwrap().finish().unwrap()).unwrap();
        path
    }

    fn archive() -> Archive {
        Archive {
            url: String::new(),
            md5: String::new(),
            max_bytes: 0,
            folder: "set".into(),
            members: vec![("a.bin".into(), 3)],
        }
    }

    #[test]
    fn only_expected_files_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        fs::create_dir(&cache).unwrap();
        let file = EntryType::Regular;
        let packed = pack(
            directory.path(),
            &[
                ("../evil.bin", file, b"bad"),
                ("set/../../evil.bin", file, b"bad"),
                ("/set/a.bin", file, b"bad"),
                ("set/a.bin", EntryType::Symlink, b""),
                ("set/a.bin", file, b"abc"),
                ("set/a.bin", file, b"bad"),
                ("set/other.bin", file, b"bad"),
            ],
        );
        unpack(&packed, &archive(), &cache).unwrap();
        assert_eq!(fs::read(cache.join("set/a.bin")).unwrap(), b"abc");
        assert_eq!(fs::read_dir(cache.join("set")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_wrong_archive_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        fs::create_dir(&cache).unwrap();
        let big = vec![0; 3 << 20];
        let file = EntryType::Regular;
        for (entries, part) in [
            (&[("set/a.bin", file, &b"abcd"[..])][..], "expected 3 bytes, found 4"),
            (&[("set/b.bin", file, &b"abc"[..])], "expected set/a.bin"),
            (&[("set/b.bin", file, &big[..]), ("set/a.bin", file, b"abc")], "not a whole tar.gz"),
        ] {
            let packed = pack(directory.path(), entries);
            let error = unpack(&packed, &archive(), &cache).unwrap_err().to_string();
            assert_says(&error, &[part, "packed.tar.gz"]);
            assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
        }
        let packed = directory.path().join("packed.tar.gz");
        fs::write(&packed, b"<html>").unwrap();
        assert!(unpack(&packed, &archive(), &cache).unwrap_err().to_string().contains("not a whole tar.gz"));
    }
}
