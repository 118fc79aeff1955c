//! Finds data sets on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::download::{self, Fetched, Observer};
use super::{cifar, cifar_pickle};
use crate::error::{Error, Result};
use crate::user::{cache_directory, variable};

/// The environment variable that names a directory of data sets.
pub const VARIABLE: &str = "JEM_DATA";

/// The locations of a data set within a directory of data sets, one for each layout of its files.
#[derive(Debug, Clone)]
pub struct Place {
    /// The layouts, the preferred one first.
    pub layouts: Vec<Layout>,
}

/// The files of a data set in one layout.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The sub-directory for the files, such as `cifar-10-batches-bin` or `MNIST/raw`.
    pub folder: &'static str,
    /// The files that identify the directory: any one of them is enough.
    pub files: Vec<String>,
    /// Whether the directory must be named `folder`, because other sets have files of the same names.
    pub by_name: bool,
}

/// A directory to search, and the files that identify it.
type Candidate<'a> = (PathBuf, &'a Layout);

impl Place {
    /// Finds the directory of the set: in `asked` only, if given, else in `$JEM_DATA`, `./data` and the user's cache
    /// directory, in this order. Each may hold the files, or have a sub-directory [`Layout::folder`] that does. The
    /// first directory with any of the files is returned, so that an incomplete set is reported by the missing file.
    ///
    /// # Errors
    /// The directories that were searched, when none of them has any of the files.
    pub fn find(&self, asked: Option<&Path>) -> Result<PathBuf, Vec<PathBuf>> {
        first_of(self.candidates(asked, variable(VARIABLE), cache_directory(variable).as_deref()))
    }

    /// The directories to search, in order.
    fn candidates(
        &self,
        asked: Option<&Path>,
        variable: Option<OsString>,
        cache: Option<&Path>,
    ) -> Vec<Candidate<'_>> {
        let roots = match asked {
            Some(asked) => vec![asked.to_owned()],
            None => variable
                .map(PathBuf::from)
                .into_iter()
                .chain([PathBuf::from("data")])
                .chain(cache.map(Path::to_owned))
                .collect(),
        };
        let of = |root: &PathBuf| {
            let layouts = self.layouts.iter();
            layouts.flat_map(|layout| layout.under(root).map(move |path| (path, layout))).collect::<Vec<_>>()
        };
        roots.iter().flat_map(of).collect()
    }

    /// The `candidates` of [`Self::find`] that are named after the set in its preferred layout, as text for a message.
    pub(super) fn list(&self, candidates: &[PathBuf]) -> String {
        let preferred = self.layouts.first().map_or("", |layout| layout.folder);
        let own = candidates.iter().filter(|path| path.ends_with(preferred));
        own.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    }
}

impl Layout {
    /// The directories in `root` that may hold the files: the sub-directory, its rest if `root` is named after its
    /// beginning (`MNIST` of `MNIST/raw`), and `root` itself.
    fn under(&self, root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
        let rest = Path::new(self.folder).ancestors().skip(1).find_map(|begin| {
            let is_begun = !begin.as_os_str().is_empty() && root.ends_with(begin);
            Path::new(self.folder).strip_prefix(begin).ok().filter(|_| is_begun)
        });
        let itself = !self.by_name || root.ends_with(self.folder);
        let rest = rest.map(|rest| root.join(rest));
        [Some(root.join(self.folder)), rest, itself.then(|| root.to_owned())].into_iter().flatten()
    }
}

fn first_of(candidates: Vec<Candidate<'_>>) -> Result<PathBuf, Vec<PathBuf>> {
    let holds_some =
        |(directory, layout): &&Candidate<'_>| layout.files.iter().any(|file| directory.join(file).is_file());
    match candidates.iter().find(holds_some) {
        Some((found, _)) => Ok(found.clone()),
        None => Err(candidates.into_iter().map(|(directory, _)| directory).collect()),
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

/// Finds the directory of CIFAR-10's files as [`Place::find`] does. If it is not found, the set is downloaded to
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
                "expected CIFAR-10's {} to {} in {looked}; unpack cifar-10-binary.tar.gz or cifar-10-python.tar.gz \
                 there, or name no directory to download it",
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
    let files = || cifar::TRAIN_FILES.iter().chain([&cifar::TEST_FILE]);
    let binary = files().map(|&file| file.into()).collect();
    let pickled = files().map(|&file| cifar::pickled(file).into()).collect();
    let layout = |folder, files| Layout { folder, files, by_name: false };
    Place { layouts: vec![layout(cifar::FOLDER, binary), layout(cifar_pickle::FOLDER, pickled)] }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::says::assert_says;

    #[test]
    fn the_directory_itself_or_its_child_in_order() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        let child = second.join(cifar::FOLDER);
        for directory in [&first, &child] {
            fs::create_dir_all(directory).unwrap();
        }
        let place = cifar10_place();
        let look = || first_of(place.candidates(None, Some(first.clone().into()), Some(&second))).ok();
        assert_eq!(look(), None);
        fs::write(child.join(cifar::TEST_FILE), "").unwrap();
        assert_eq!(look().as_ref(), Some(&child));
        assert_eq!(place.find(Some(&second)).as_ref(), Ok(&child));
        assert_eq!(place.find(Some(&child)).as_ref(), Ok(&child));
        // A directory named by the user is the only one searched.
        let python = first.join(cifar_pickle::FOLDER);
        assert_eq!(
            first_of(place.candidates(Some(&first), None, Some(&second))),
            Err(vec![first.join(cifar::FOLDER), first.clone(), python, first.clone()])
        );
        fs::write(first.join(cifar::TRAIN_FILES[2]), "").unwrap();
        assert_eq!(look().as_ref(), Some(&first));
    }

    #[test]
    fn files_that_other_sets_have_too_count_in_a_directory_of_the_right_name_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mnist");
        fs::create_dir(&folder).unwrap();
        let place =
            |folder| Place { layouts: vec![Layout { folder, files: vec!["labels".into()], by_name: true }] };
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

    /// torchvision's `MNIST/raw` is found from each of its three directories.
    #[test]
    fn a_folder_in_a_folder_is_found_from_either() {
        let root = tempfile::tempdir().unwrap();
        let (outer, raw) = (root.path().join("MNIST"), root.path().join("MNIST/raw"));
        fs::create_dir_all(&raw).unwrap();
        fs::write(raw.join("labels"), "").unwrap();
        let layout = |folder| Layout { folder, files: vec!["labels".into()], by_name: true };
        let place = Place { layouts: vec![layout("mnist"), layout("MNIST/raw")] };
        for directory in [root.path(), &outer, &raw] {
            assert_eq!(place.find(Some(directory)).as_ref(), Ok(&raw), "{}", directory.display());
        }
        let other = Place { layouts: vec![layout("FashionMNIST/raw")] };
        for directory in [root.path(), &outer, &raw] {
            assert!(other.find(Some(directory)).is_err(), "{}", directory.display());
        }
    }

    #[test]
    fn a_directory_asked_for_must_hold_the_set() {
        let root = tempfile::tempdir().unwrap();
        let message = cifar10(Some(root.path()), &download::unobserved).unwrap_err().to_string();
        let child = root.path().join(cifar::FOLDER);
        let child = child.display().to_string();
        assert_says(&message, &["directory", &child, "data_batch_1.bin", "cifar-10-binary.tar.gz"]);
    }
}
