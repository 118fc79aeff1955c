//! Files that are whole or absent: written to a temporary name, synced, then renamed.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `path` through `fill`. A reader sees the old file or the whole new one, also after a
/// crash or a power cut: the contents are synced before the rename, the directory after it. A symbolic link stays one,
/// and the file that it names is written.
///
/// # Errors
/// [`Error::Io`] naming `path`; the temporary file is removed. Also if `path` is a device or a pipe, which a rename
/// would replace.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let path = &regular(path)?;
    let temporary = temporary_name(path)?;
    let attempt = || {
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        fill(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        drop(writer);
        fs::rename(&temporary, path)
    };
    if let Err(error) = attempt() {
        // The write's own error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(path)(error));
    }
    sync_directory(directory_of(path)).map_err(Error::io(path))
}

/// The file that `path` names, behind symbolic links; `path` itself if there is none yet.
///
/// # Errors
/// [`Error::Io`] if it is a device, a pipe or the like.
pub fn regular(path: &Path) -> Result<PathBuf> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&target) {
        // A rename onto a directory fails by itself.
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
            let message = "is not a regular file: name one that is, or that does not exist yet";
            Err(Error::io(path)(std::io::Error::new(ErrorKind::InvalidInput, message)))
        }
        _ => Ok(target),
    }
}

/// The directory that holds `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `.NAME.PID.tmp` beside `path`: on the same file system, so that the rename is atomic.
fn temporary_name(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::file(path, "is not the name of a file"))?;
    let name = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
    Ok(directory_of(path).join(name))
}

/// Makes a rename in `directory` survive a power cut, where the system can sync a directory: some network file
/// systems cannot.
pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Removes the temporary files that killed processes left in `directory`; a missing directory has none.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be read or a file not be removed.
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

/// Whether `name` is one of [`temporary_name`]'s.
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
