//! The user's directories, the environment variables that name others, and the files in them.

use std::ffi::OsString;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The value of an environment variable, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The user's directory for files that can be created or downloaded again: `jem` in `$XDG_CACHE_HOME`, `~/.cache`,
/// `~/Library/Caches` (macOS) or `%LOCALAPPDATA%` (Windows).
pub(crate) fn cache_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = |child: &str| Some(PathBuf::from(variable("HOME")?).join(child));
    let parent = if cfg!(windows) {
        variable("LOCALAPPDATA").map(PathBuf::from)
    } else if let Some(xdg) = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        Some(xdg)
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        home(".cache")
    };
    Some(parent?.join("jem"))
}

/// Reads a file that the user did not name on the command line. Refuses a pipe, from which a read might never return.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(Error::new(ErrorKind::InvalidInput, "is not a regular file"));
    }
    std::fs::read(path)
}

/// Reads UTF-8 text in the same way as [`read`].
pub(crate) fn read_to_string(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let [file, pipe] = ["file", "pipe"].map(|name| directory.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read_to_string(&pipe).unwrap_err().to_string().contains("is not a regular file"));
        assert_eq!(read(&file).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_to_string(&file).unwrap(), "text");
    }

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_cache_is_the_users() {
        let with = |pairs: &'static [(&str, &str)]| {
            cache_directory(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()))
        };
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/jem".into()));
        // The XDG specification says to ignore relative paths there.
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]), Some("/h/.cache/jem".into()));
        assert_eq!(with(&[]), None);
    }
}
