//! The picture files of a folder, their classes, and the files that are passed over.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::decode::{FORMATS, is_read};
use super::natural;
use super::reading::ClassOrder;
use crate::error::{Error, Result};
use crate::io::ending;

/// The deepest nesting of folders; deeper, a link is assumed to form a cycle.
const MAX_DEPTH: usize = 32;
/// The extensions of images that are not read.
const UNREAD: [&str; 21] = [
    "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "psd", "svg", "tga", "ico", "exr", "hdr", "dng",
    "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2",
];
/// The most extensions that a note names.
const NAMED: usize = 6;

/// The file of labels that a folder without classes may have.
pub const LABELS: &str = "labels.csv";

/// Whether a file with this name holds the labels of its folder: the name is [`LABELS`] in any case.
pub fn is_labels(name: &OsStr) -> bool {
    name.eq_ignore_ascii_case(LABELS)
}

/// The file of labels of `folder`; [`LABELS`] itself is preferred to other spellings.
pub fn labels_of(folder: &Path) -> Option<PathBuf> {
    let own = folder.join(LABELS);
    if own.is_file() {
        return Some(own);
    }
    let others = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut others: Vec<PathBuf> =
        others.filter(|entry| is_labels(&entry.file_name())).map(|entry| entry.path()).collect();
    others.retain(|path| path.is_file());
    others.into_iter().min()
}

/// The picture files of a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// The paths, sorted.
    pub files: Vec<PathBuf>,
    /// The number of other files by extension, in lower case.
    passed: BTreeMap<String, usize>,
}

impl Listing {
    /// Lists `folder` and its sub-folders. Hidden files are ignored; links are followed.
    ///
    /// # Errors
    /// [`Error::File`] when there is no picture, for a folder with the name of a picture, or when a link leads back;
    /// [`Error::Io`] when a folder cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut listing = Self::default();
        listing.collect(folder, 0)?;
        listing.files.sort();
        if listing.files.is_empty() {
            let also = listing.passed_over().map(|passed| format!(", {passed}")).unwrap_or_default();
            let message = format!("expected {FORMATS} images in this folder, found none{also}");
            return Err(Error::file(folder, message));
        }
        Ok(listing)
    }

    fn collect(&mut self, folder: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} folders within each other; does a link lead back?");
            return Err(Error::file(folder, message));
        }
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let entry = entry.map_err(Error::io(folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let ending = ending(&path);
            let is_picture = ending.as_deref().is_some_and(is_read);
            if path.is_dir() {
                let before = self.files.len();
                self.collect(&path, depth + 1)?;
                if is_picture && self.files.len() == before {
                    return Err(Error::file(path, "is a folder without images, expected an image file"));
                }
            } else if is_picture && (path.is_file() || !path.exists()) {
                // A link to nothing is an error when it is read; a pipe or a device is no picture.
                self.files.push(path);
            } else if !is_labels(&entry.file_name()) {
                *self.passed.entry(ending.unwrap_or_default()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// The files that are passed over, by extension; `None` if there are none.
    pub fn passed_over(&self) -> Option<String> {
        let total: usize = self.passed.values().sum();
        if total == 0 {
            return None;
        }
        let mut by_count: Vec<_> = self.passed.iter().collect();
        by_count.sort_by_key(|&(ending, &count)| (usize::MAX - count, ending));
        let name =
            |ending: &str| if ending.is_empty() { "without extension".into() } else { format!(".{ending}") };
        let mut parts: Vec<String> =
            by_count.iter().take(NAMED).map(|(ending, count)| format!("{count} {}", name(ending))).collect();
        let others: usize = by_count.iter().skip(NAMED).map(|(_, count)| **count).sum();
        if others > 0 {
            parts.push(format!("{others} others"));
        }
        let images: Vec<String> = self
            .passed
            .keys()
            .filter(|ending| UNREAD.contains(&ending.as_str()))
            .map(|ending| name(ending))
            .collect();
        let images = match images.is_empty() {
            true => String::new(),
            false => format!("; {} images are not read: convert them to JPEG or PNG", images.join(", ")),
        };
        let files = if total == 1 { "file" } else { "files" };
        Some(format!("passed over {total} {files}: {}{images}", parts.join(", ")))
    }
}

/// The class of each of `files`, which are sorted by class, and the names of the classes, if all files are in
/// sub-folders of `folder`.
///
/// # Errors
/// [`Error::File`] for a sub-folder without a picture, which would be a class.
pub fn classes(
    folder: &Path,
    files: &mut [PathBuf],
    order: ClassOrder,
) -> Result<Option<(Vec<u32>, Vec<String>)>> {
    let class = |file: &Path| {
        let mut inside = file.strip_prefix(folder).unwrap_or(file).components();
        let (class, _) = (inside.next()?, inside.next()?);
        Some(class.as_os_str().to_string_lossy().into_owned())
    };
    if files.iter().any(|file| class(file).is_none()) {
        return Ok(None);
    }
    let of = |file: &PathBuf| class(file).expect("all files are in sub-folders");
    if order == ClassOrder::Natural {
        // Stable: the files of a class stay sorted by path.
        files.sort_by(|a, b| natural::compare(&of(a), &of(b)));
    }
    let (mut labels, mut names) = (Vec::new(), Vec::<String>::new());
    for file in &*files {
        let class = of(file);
        if names.last() != Some(&class) {
            names.push(class);
        }
        labels.push(names.len() as u32 - 1);
    }
    // A class without images would shift the labels of the following classes.
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') && !names.contains(&name) {
            let message = "expected an image in each sub-folder, as each is a class, found none; remove it";
            return Err(Error::file(entry.path(), message));
        }
    }
    Ok(Some((labels, names)))
}
