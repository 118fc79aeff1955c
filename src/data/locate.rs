//! Finds data sets on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::cifar;
use super::download::{self, Fetched, Observer};
use crate::error::{Error, Result};
use crate::user::{cache_directory, variable};

/// The environment variable that names a directory of data sets.
pub const VARIABLE: &str = "JEM_DATA";

/// The location of a data set within a directory of data sets.
#[derive(Debug, Clone)]
pub struct Place {
    /// The sub-directory for its files, such as `cifar-10-batches-bin`.
    pub folder: &'static str,
    /// The files that identify its directory: any one of them is enough.
    pub files: Vec<String>,
    /// Whether its directory must be named `folder`, because other sets have files of the same names.
    pub by_name: bool,
}

impl Place {
    /// Finds the directory of the set: in `asked` only, if given, else in `$JEM_DATA`, `./data` and the user's cache
    /// directory, in this order. Each may hold the files or have a sub-directory [`Self::folder`] that does. The first
    /// directory with any of the files is returned, so that an incomplete set is reported by the missing file.
    ///
    /// # Errors
    /// The directories that were searched, when none of them has any of the files.
    pub fn find(&self, asked: Option<&Path>) -> Result<PathBuf, Vec<PathBuf>> {
        self.first_of(self.candidates(asked, variable(VARIABLE), cache_directory(variable).as_deref()))
    }

    /// The directories to search, in order.
    fn candidates(
        &self,
        asked: Option<&Path>,
        variable: Option<OsString>,
        cache: Option<&Path>,
    ) -> Vec<PathBuf> {
        let roots = match asked {
            Some(asked) => vec![asked.to_owned()],
            None => variable
                .map(PathBuf::from)
                .into_iter()
                .chain([PathBuf::from("data")])
                .chain(cache.map(Path::to_owned))
                .collect(),
        };
        let named = |root: &Path| root.file_name().is_some_and(|name| name == self.folder);
        let with_child = |root: PathBuf| {
            let child = root.join(self.folder);
            let itself = (!self.by_name || named(&root)).then_some(root);
            [Some(child), itself].into_iter().flatten()
        };
        roots.into_iter().flat_map(with_child).collect()
    }

    /// The `candidates` of [`Self::find`] that are named after the set, as text for a message.
    pub(super) fn list(&self, candidates: &[PathBuf]) -> String {
        let own = candidates.iter().filter(|path| path.ends_with(self.folder));
        own.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    }

    fn first_of(&self, candidates: Vec<PathBuf>) -> Result<PathBuf, Vec<PathBuf>> {
        let holds_some = |directory: &PathBuf| self.files.iter().any(|file| directory.join(file).is_file());
        candidates.iter().find(|directory| holds_some(directory)).cloned().ok_or(candidates)
    }
}

/// Checks that the user's directory of data sets exists: `asked` if it is given, else `$JEM_DATA` if it is set.
///
/// # Errors
/// [`Error::Setting`] with the path.
pub fn check(asked: Option<&Path>) -> Result<()> {
    let (name, directory) = match (asked, variable(VARIABLE)) {
        (Some(asked), _) => ("directory", asked.to_owned()),
        (None, Some(value)) => (VARIABLE, PathBuf::from(value)),
        (None, None) => return Ok(()),
    };
    if directory.is_dir() {
        return Ok(());
    }
    Err(Error::setting(name, format!("{} is not a directory", directory.display())))
}

/// Finds the directory of CIFAR-10's binary files as [`Place::find`] does. If it is not found, the set is downloaded to
/// the user's cache directory, with reports to `observer`.
///
/// # Errors
/// The errors of [`check`]. [`Error::Setting`] when `asked` is given and does not hold the set: it is never replaced by
/// another directory. Otherwise the errors of [`download::fetch`].
pub fn cifar10(asked: Option<&Path>, observer: Observer) -> Result<Fetched> {
    check(asked)?;
    let place = cifar10_place();
    let looked = match place.find(asked) {
        Ok(found) => return Ok(Fetched::Ready(found)),
        Err(candidates) => place.list(&candidates),
    };
    if asked.is_some() {
        return Err(Error::setting(
            "directory",
            format!(
                "expected CIFAR-10's {} to {} in {looked}; unpack cifar-10-binary.tar.gz there, or name no directory \
                 to download it",
                cifar::TRAIN_FILES[0],
                cifar::TEST_FILE
            ),
        ));
    }
    let Some(cache) = cache_directory(variable) else {
        return Ok(Fetched::Unavailable {
            reason: format!("not in {looked}, and there is no cache directory"),
        });
    };
    Ok(match download::fetch(&Archive::cifar10(), &cache, observer)? {
        Fetched::Unavailable { reason } => {
            Fetched::Unavailable { reason: format!("not in {looked}; {reason}") }
        }
        ready @ Fetched::Ready(_) => ready,
    })
}

pub(super) fn cifar10_place() -> Place {
    let files = cifar::TRAIN_FILES.iter().chain([&cifar::TEST_FILE]);
    Place { folder: cifar::FOLDER, files: files.map(|&file| file.into()).collect(), by_name: false }
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
        let place = cifar10_place();
        let look = || place.first_of(place.candidates(None, Some(first.clone().into()), Some(&second))).ok();
        assert_eq!(look(), None);
        fs::write(child.join(cifar::TEST_FILE), "").unwrap();
        assert_eq!(look().as_ref(), Some(&child));
        assert_eq!(place.find(Some(&second)).as_ref(), Ok(&child));
        assert_eq!(place.find(Some(&child)).as_ref(), Ok(&child));
        // A directory named by the user is the only one searched.
        assert_eq!(
            place.first_of(place.candidates(Some(&first), None, Some(&second))),
            Err(vec![first.join(cifar::FOLDER), first.clone()])
        );
        fs::write(first.join(cifar::TRAIN_FILES[2]), "").unwrap();
        assert_eq!(look().as_ref(), Some(&first));
    }

    #[test]
    fn files_that_other_sets_have_too_count_in_a_directory_of_the_right_name_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mnist");
        fs::create_dir(&folder).unwrap();
        let place = |folder| Place { folder, files: vec!["labels".into()], by_name: true };
        for directory in [root.path(), &folder] {
            fs::write(directory.join("labels"), "").unwrap();
        }
        assert_eq!(place("mnist").find(Some(root.path())).as_ref(), Ok(&folder));
        assert_eq!(place("mnist").find(Some(&folder)).as_ref(), Ok(&folder));
        assert_eq!(
            place("fashion-mnist").find(Some(&folder)),
            Err(vec![folder.join("fashion-mnist")]),
            "the digits are no clothes"
        );
    }

    #[test]
    fn a_directory_asked_for_must_hold_the_set() {
        let root = tempfile::tempdir().unwrap();
        let message = cifar10(Some(root.path()), &download::unobserved).unwrap_err().to_string();
        let child = root.path().join(cifar::FOLDER);
        for part in ["directory", &child.display().to_string(), "data_batch_1.bin", "cifar-10-binary.tar.gz"]
        {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert_eq!(message.lines().count(), 1);
    }
}
