//! The user's own directories, and environment variables that name others.

use std::ffi::OsString;
use std::path::PathBuf;

/// An environment variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The user's directory for files that can be made or fetched again: `jem` in `$XDG_CACHE_HOME`,
/// `~/.cache`, `~/Library/Caches` (macOS) or `%LOCALAPPDATA%` (Windows).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_cache_is_the_users() {
        let with = |pairs: &'static [(&str, &str)]| {
            cache_directory(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()))
        };
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/jem".into()));
        // A relative path there is to be ignored, says the XDG specification.
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]), Some("/h/.cache/jem".into()));
        assert_eq!(with(&[]), None);
    }
}
