//! Atomic file writes: a file is written to a temporary name, synced, then renamed, so it is complete or absent.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The most symbolic links to follow in a chain, the same number as on Linux.
const MOST_LINKS: usize = 40;

/// Writes `path` through `fill`. A reader sees the old file or the complete new one, even after a crash or a power cut:
/// the contents are synced before the rename, the directory after it. If `path` is a symbolic link, the file that it
/// names is written and the link is kept.
///
/// # Errors
/// [`Error::Io`] with `path`; the temporary file is removed. Also if `path` is a device or a pipe, which a rename would
/// replace.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let target = regular(path)?;
    let temporary = temporary_name(&target).ok_or_else(|| Error::file(path, "is not the name of a file"))?;
    let attempt = || {
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        fill(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        drop(writer);
        fs::rename(&temporary, &target)
    };
    if let Err(error) = attempt() {
        // Report the error of the write, not one of the clean-up.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(path)(error));
    }
    sync_directory(directory_of(&target)).map_err(Error::io(path))
}

/// Follows symbolic links at `path`, even to a file that does not exist yet; returns `path` itself if it is not a link.
///
/// # Errors
/// [`Error::Io`] with `path` if it is a device, a pipe or similar, or if the links form a cycle.
pub fn regular(path: &Path) -> Result<PathBuf> {
    let wrong = |message| Err(Error::io(path)(std::io::Error::new(ErrorKind::InvalidInput, message)));
    // A rename onto a directory fails by itself.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return wrong("is not a regular file; name one, or a file that does not exist yet");
    }
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&target) {
            // A relative link is relative to its own folder; `join` keeps an absolute one.
            Ok(link) => target = directory_of(&target).join(link),
            Err(_) => return Ok(target),
        }
    }
    wrong("is a symbolic link in a circle of links")
}

/// The directory that contains `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name `.NAME.PID.tmp` beside `path`: on the same file system, so that the rename is atomic. `None` if `path` has
/// no file name.
fn temporary_name(path: &Path) -> Option<PathBuf> {
    let name = format!(".{}.{}.tmp", path.file_name()?.to_string_lossy(), std::process::id());
    Some(directory_of(path).join(name))
}

/// Syncs `directory`, so that a rename in it survives a power cut. Does nothing where directories cannot be synced,
/// such as on some network file systems.
pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Removes the temporary files that killed processes left in `directory`; accepts a missing directory.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be read or a file cannot be removed.
#[cfg(any(test, feature = "train"))]
pub(crate) fn remove_temporary(directory: &Path) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        result => result.map_err(Error::io(directory))?,
    };
    for entry in entries.flatten() {
        if is_temporary(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    Ok(())
}

/// Whether `name` has the form of [`temporary_name`].
#[cfg(any(test, feature = "train"))]
fn is_temporary(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    let process = inner.and_then(|inner| inner.rsplit_once('.')).map(|(_, process)| process);
    process.is_some_and(|process| !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.bin");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("file.bin: disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_stay_and_links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| directory.path().join(name));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        fs::write(&file, b"old").unwrap();
        write(&link, |file| file.write_all(b"new")).unwrap();
        assert!(link.is_symlink() && fs::read(&file).unwrap() == b"new");

        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [&pipe, Path::new("/dev/null")] {
            let error = write(path, |file| file.write_all(b"new")).unwrap_err().to_string();
            assert!(error.contains("is not a regular file"), "{error}");
            assert!(!fs::metadata(path).unwrap().is_file());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_files_that_do_not_exist_yet_and_named_in_errors() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let [outer, inner, file] =
            ["outer", "below/inner", "below/file"].map(|name| directory.path().join(name));
        fs::create_dir(directory.path().join("below")).unwrap();
        symlink("below/inner", &outer).unwrap();
        // A link relative to its own folder.
        symlink("file", &inner).unwrap();
        assert_eq!(regular(&outer).unwrap(), file);
        write(&outer, |file| file.write_all(b"new")).unwrap();
        assert!(outer.is_symlink() && inner.is_symlink() && !file.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");

        let failed = write(&outer, |_| Err(std::io::Error::other("disk full"))).unwrap_err();
        assert_eq!(failed.to_string(), format!("{}: disk full", outer.display()));
        let circle = directory.path().join("circle");
        symlink("circle", &circle).unwrap();
        let error = write(&circle, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("circle: is a symbolic link in a circle"), "{error}");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let path = here.join("file.bin");
        let left = temporary_name(&path).unwrap();
        let others = [".hidden", ".a.tmp", ".a.b.tmp", "a.1.tmp", "file.bin"];
        for name in others {
            fs::write(here.join(name), "").unwrap();
        }
        fs::write(&left, "half").unwrap();
        remove_temporary(here).unwrap();
        assert!(!left.exists());
        assert!(others.iter().all(|name| here.join(name).exists()));
        remove_temporary(&here.join("absent")).unwrap();
    }
}
