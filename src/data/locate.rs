//! Where CIFAR-10 is on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::cifar;
use super::download::{self, Archive, Fetched};
use crate::error::{Error, Result};

/// The environment variable that names a directory of data sets.
pub const VARIABLE: &str = "JEM_DATA";

/// Finds the directory of CIFAR-10's binary files, in this order: `asked` (`--data`), `$JEM_DATA`,
/// `./data`, the user's cache directory; each may hold the files or have a child
/// `cifar-10-batches-bin` that does. Found nowhere, it is downloaded to the cache directory.
///
/// # Errors
/// [`Error::Setting`] when `asked` is given and does not hold the set: a directory named by hand is
/// never replaced by another. Otherwise as [`download::fetch`].
pub fn cifar10(asked: Option<&Path>, quiet: bool) -> Result<Fetched> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = cache_directory(variable);
    let candidates = candidates(asked, variable(VARIABLE), cache.as_deref());
    if let Some(found) = find(&candidates) {
        return Ok(Fetched::Ready(found));
    }
    let looked = list(&candidates);
    if asked.is_some() {
        return Err(Error::setting(
            "--data",
            format!(
                "expected {} to {} of CIFAR-10's binary version, looked in {looked}; unpack \
                 cifar-10-binary.tar.gz there, or leave --data out to download it",
                cifar::TRAIN_FILES[0],
                cifar::TEST_FILE
            ),
        ));
    }
    let Some(cache) = cache else {
        return Ok(Fetched::Unavailable {
            reason: format!("not in {looked}, and there is no cache directory"),
        });
    };
    Ok(match download::fetch(&Archive::cifar10(), &cache, quiet)? {
        Fetched::Unavailable { reason } => {
            Fetched::Unavailable { reason: format!("not in {looked}; {reason}") }
        }
        ready @ Fetched::Ready(_) => ready,
    })
}

/// The directories to look in, in order.
fn candidates(asked: Option<&Path>, variable: Option<OsString>, cache: Option<&Path>) -> Vec<PathBuf> {
    let roots = match asked {
        Some(asked) => vec![asked.to_owned()],
        None => variable
            .map(PathBuf::from)
            .into_iter()
            .chain([PathBuf::from("data")])
            .chain(cache.map(Path::to_owned))
            .collect(),
    };
    roots.into_iter().flat_map(|root| [root.join(cifar::FOLDER), root]).collect()
}

/// The first candidate with any of the files: an incomplete set is reported by the file it lacks.
fn find(candidates: &[PathBuf]) -> Option<PathBuf> {
    let holds_some = |directory: &Path| {
        cifar::TRAIN_FILES.iter().chain([&cifar::TEST_FILE]).any(|file| directory.join(file).is_file())
    };
    candidates.iter().find(|directory| holds_some(directory)).cloned()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The user's directory for files that can be fetched again: `jem` in `$XDG_CACHE_HOME`,
/// `~/.cache`, `~/Library/Caches` (macOS) or `%LOCALAPPDATA%` (Windows).
fn cache_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
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
    use std::fs;

    use super::*;

    #[test]
    fn the_directory_itself_or_its_child_in_order() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        let child = second.join(cifar::FOLDER);
        for directory in [&first, &child] {
            fs::create_dir_all(directory).unwrap();
        }
        let look = || find(&candidates(None, Some(first.clone().into()), Some(&second)));
        assert_eq!(look(), None);
        fs::write(child.join(cifar::TEST_FILE), "").unwrap();
        assert_eq!(look().as_ref(), Some(&child));
        assert_eq!(find(&candidates(Some(&second), None, None)).as_ref(), Some(&child));
        assert_eq!(find(&candidates(Some(&child), None, None)).as_ref(), Some(&child));
        // Asked for by hand: no other place is looked in.
        assert_eq!(find(&candidates(Some(&first), None, Some(&second))), None);
        fs::write(first.join(cifar::TRAIN_FILES[2]), "").unwrap();
        assert_eq!(look().as_ref(), Some(&first));
    }

    #[test]
    fn a_directory_asked_for_must_hold_the_set() {
        let root = tempfile::tempdir().unwrap();
        let message = cifar10(Some(root.path()), true).unwrap_err().to_string();
        let child = root.path().join(cifar::FOLDER);
        for part in ["--data", &child.display().to_string(), "data_batch_1.bin", "cifar-10-binary.tar.gz"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert_eq!(message.lines().count(), 1);
    }

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
