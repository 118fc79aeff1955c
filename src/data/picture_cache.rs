//! Decoded pictures, kept in files between runs.
//!
//! A file is named by a digest of the format's version, the options, and each picture's path, length and time of
//! modification; a changed picture makes another file. Each has a checksum: a damaged one is decoded again. Small sets
//! are not kept. After a file is written the least recently used ones leave until all have at most 4 GiB.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::{Digest as _, Md5};

use super::download::Observer;
use super::pictures::Pictures;
use super::reading::ReadOptions;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::user::{cache_directory, variable};

/// The environment variable that names the directory of the files; `none` turns them off.
pub const VARIABLE: &str = "JEM_IMAGE_CACHE";

/// The first bytes of a file. Another way to decode or scale takes another number.
const MAGIC: [u8; 8] = *b"jemimgs1";
/// The extension of the files.
const ENDING: &str = "images";
/// The most bytes of all files.
const MOST: u64 = 4 << 30;
/// Sets whose files have fewer bytes are decoded each time.
const LEAST: u64 = 1 << 20;
/// The age from which a picture's time of modification tells its versions apart.
const SETTLED: Duration = Duration::from_secs(2);
/// The age from which a temporary file is taken to be left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The directory that [`VARIABLE`] names, else `images` in the user's cache directory; `None` if the variable is `none`
/// or there is no directory.
pub fn directory() -> Option<PathBuf> {
    match variable(VARIABLE) {
        Some(value) if value == "none" => None,
        Some(value) => Some(value.into()),
        None => Some(cache_directory(variable)?.join("images")),
    }
}

/// Decodes `files` as [`Pictures::decode`] does, or takes what an earlier call kept in the directory `options.cache`.
/// A directory that cannot be written is a note.
///
/// # Errors
/// The errors of [`Pictures::decode`].
pub(super) fn decode(
    files: &[PathBuf],
    name: &str,
    options: &ReadOptions,
    observer: Observer,
    notes: &mut Vec<String>,
) -> Result<Pictures> {
    let kept = options.cache.as_deref().and_then(|directory| {
        let (digest, bytes, newest) = identity(files, options)?;
        (bytes >= LEAST).then(|| (directory.join(format!("{}.{ENDING}", hex(&digest))), digest, newest))
    });
    let Some((path, digest, newest)) = kept else { return Pictures::decode(files, name, options, observer) };
    match load(&path, &digest, files.len()) {
        Ok(Some(pictures)) => {
            // The time of modification is that of the last use.
            let _ = fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(pictures);
        }
        Ok(None) => {}
        Err(message) => tracing::warn!("{}: {message}; decoding all images again", path.display()),
    }
    let pictures = Pictures::decode(files, name, options, observer)?;
    let settled = newest.elapsed().is_ok_and(|age| age >= SETTLED);
    // A picture that changed meanwhile has another identity.
    let unchanged = || identity(files, options).is_some_and(|(again, ..)| again == digest);
    if settled
        && (pictures.pixels.len() as u64) < MOST / 2
        && unchanged()
        && let Err(error) = store(&path, &digest, &pictures)
    {
        notes.push(format!("decoded images cannot be kept: {error}"));
    }
    Ok(pictures)
}

/// The digest of what decides the pixels, the bytes of all files, and the newest time of modification.
fn identity(files: &[PathBuf], options: &ReadOptions) -> Option<([u8; 16], u64, SystemTime)> {
    let mut digest = Md5::new();
    digest.update(MAGIC);
    digest.update(format!("{:?} {}", options.size, options.allow_truncated));
    let (mut bytes, mut newest) = (0, UNIX_EPOCH);
    for file in files {
        let path = std::path::absolute(file).ok()?;
        let metadata = fs::metadata(&path).ok()?;
        let modified = metadata.modified().ok()?;
        let time = modified.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let name = path.as_os_str().as_encoded_bytes();
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update(metadata.len().to_le_bytes());
        digest.update(time.to_le_bytes());
        (bytes, newest) = (bytes + metadata.len(), newest.max(modified));
    }
    Some((digest.finalize().into(), bytes, newest))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sizes that a file holds before the numbers of the truncated pictures and the pixels.
const SIZES: usize = 5;

/// Writes `pictures` to `path`, then removes old files beside it.
fn store(path: &Path, identity: &[u8; 16], pictures: &Pictures) -> Result<()> {
    let directory = atomic::directory_of(path);
    fs::create_dir_all(directory).map_err(Error::io(directory))?;
    let Pictures { width, height, channels, pixels, truncated } = pictures;
    let sizes = [*width, *height, *channels, truncated.len(), pixels.len()];
    let numbers: Vec<u8> = sizes.iter().chain(truncated).flat_map(|&n| (n as u64).to_le_bytes()).collect();
    let checksum = Md5::new().chain_update(identity).chain_update(&numbers).chain_update(pixels).finalize();
    atomic::write(path, |file| {
        file.write_all(&MAGIC)?;
        file.write_all(&checksum)?;
        file.write_all(&numbers)?;
        file.write_all(pixels)
    })?;
    clean(directory, path, MOST);
    Ok(())
}

/// The pictures in `path`; `None` if there is no such file.
fn load(path: &Path, identity: &[u8; 16], count: usize) -> Result<Option<Pictures>, String> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if !metadata.is_file() => return Err("is not a file".into()),
        Ok(metadata) => metadata,
    };
    let damaged = || "is damaged".to_owned();
    let unreadable = |error: std::io::Error| error.to_string();
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let mut start = [0; MAGIC.len() + 16 + 8 * SIZES];
    file.read_exact(&mut start).map_err(|_| damaged())?;
    let (magic, rest) = start.split_at(MAGIC.len());
    let (checksum, numbers) = rest.split_at(16);
    let sizes: Vec<usize> =
        numbers.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes) as usize).collect();
    let &[width, height, channels, truncated, length] = &sizes[..] else { return Err(damaged()) };
    let expected = truncated.checked_mul(8).and_then(|n| n.checked_add(length)?.checked_add(start.len()));
    if magic != MAGIC || expected != Some(metadata.len() as usize) {
        return Err(damaged());
    }
    let mut list = vec![0; 8 * truncated];
    file.read_exact(&mut list).map_err(unreadable)?;
    let mut pixels = vec![0; length];
    file.read_exact(&mut pixels).map_err(unreadable)?;
    let digest = Md5::new()
        .chain_update(identity)
        .chain_update(numbers)
        .chain_update(&list)
        .chain_update(&pixels)
        .finalize();
    if digest[..] != *checksum || width * height * channels * count != length {
        return Err(damaged());
    }
    let truncated = list.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes) as usize).collect();
    Ok(Some(Pictures { width, height, channels, pixels, truncated }))
}

/// Removes abandoned temporary files, then the least recently used files until all have at most `most` bytes. Keeps
/// `path`. Failures are ignored: another process may be cleaning too.
fn clean(directory: &Path, path: &Path, most: u64) {
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let Ok(metadata) = entry.metadata() else { continue };
        let Ok(modified) = metadata.modified() else { continue };
        if name.starts_with('.') && name.contains(ENDING) && name.ends_with(".tmp") {
            if modified.elapsed().is_ok_and(|age| age >= ABANDONED) {
                let _ = fs::remove_file(path);
            }
        } else if path.extension().is_some_and(|ending| ending == ENDING) {
            kept.push((modified, metadata.len(), path));
        }
    }
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, old) in kept {
        if total > most && old != path && fs::remove_file(old).is_ok() {
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(value: u8) -> Pictures {
        Pictures { width: 2, height: 1, channels: 3, pixels: vec![value; 12], truncated: vec![1] }
    }

    #[test]
    fn damage_is_noticed_at_every_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.images");
        assert_eq!(load(&path, &[7; 16], 2), Ok(None));
        store(&path, &[7; 16], &pictures(3)).unwrap();
        assert_eq!(load(&path, &[7; 16], 2), Ok(Some(pictures(3))));
        assert!(load(&path, &[8; 16], 2).is_err(), "of another set");
        assert!(load(&path, &[7; 16], 1).is_err(), "of another number of pictures");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, damaged).unwrap();
            assert!(load(&path, &[7; 16], 2).is_err(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(load(&path, &[7; 16], 2).is_err(), "cut to {at}");
        }
    }

    #[test]
    fn the_least_recently_used_leave_first() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let old = |name: &str, hours: u64| {
            fs::write(at(name), [0; 100]).unwrap();
            let time = SystemTime::now() - Duration::from_secs(3600 * hours);
            fs::File::options().append(true).open(at(name)).unwrap().set_modified(time).unwrap();
        };
        for (name, hours) in [("a.images", 3), ("b.images", 5), ("c.images", 4), ("notes.txt", 9)] {
            old(name, hours);
        }
        old(".d.images.12.tmp", 2);
        fs::write(at(".e.images.13.tmp"), "").unwrap();
        clean(directory.path(), &at("b.images"), 250);
        let left = |name: &str| at(name).exists();
        assert!(left("a.images") && left("b.images") && left("notes.txt") && left(".e.images.13.tmp"));
        assert!(!left("c.images") && !left(".d.images.12.tmp"));
    }
}
