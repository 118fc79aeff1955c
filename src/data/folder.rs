//! Picture files: a folder of them, or some that are named.
//!
//! If all pictures of a folder are in sub-folders, the sub-folders are the classes, in the order of
//! [`natural::compare`](super::natural::compare): numbers by value, all else by characters. A folder without sub-folders
//! may have a file `labels.csv` with the classes instead. Hidden files are ignored; links are followed.

use crate::words::counted;
use std::path::{Path, PathBuf};

use super::decode::is_read;
use super::download::Observer;
use super::images::{Images, Pixels};
use super::listing::{self, Listing};
use super::picture_cache;
use super::pictures::Pictures;
use super::reading::{ClassOrder, ReadOptions};
use super::{labels, range};
use crate::error::{Error, Result};
use crate::io::ending;

/// The truncated files that a note names.
const NAMED: usize = 3;

/// Reads the images in `folder` and its sub-folders, sorted by class and path. The result is grey if all images are;
/// otherwise grey images are repeated over the channels.
///
/// # Errors
/// [`Error::File`] when there is no image, an image cannot be decoded, or a sub-folder that would be a class has no
/// image; [`Error::Setting`] of `size` when images that are not scaled differ in size; the errors of [`labels::read`];
/// [`Error::Io`] when something cannot be read.
pub fn load(folder: &Path, options: &ReadOptions, observer: Observer) -> Result<Images> {
    let listing = Listing::of(folder)?;
    let mut notes: Vec<String> =
        listing.passed_over().map(|passed| format!("{}: {passed}", folder.display())).into_iter().collect();
    let mut files = listing.files;
    let sub_folders = listing::classes(folder, &mut files, options.class_order);
    let lone = listing::labels_of(folder);
    let (labels, class_names) = match (&options.labels, sub_folders?) {
        (None, Some((labels, class_names))) => (Some(labels), class_names),
        (None, None) if lone.is_none() => {
            notes.extend(unclassified(folder, &files));
            (None, Vec::new())
        }
        (given, _) => {
            let file = given.as_deref().or(lone.as_deref()).expect("there is one of the two");
            let read = labels::read(file, folder, &files, options.class_order)?;
            if given.is_none() {
                notes.push(format!("classes are those of {}", file.display()));
            }
            notes.extend(read.note);
            (Some(read.labels), read.class_names)
        }
    };
    if options.class_order == ClassOrder::Text
        && !class_names.is_sorted_by(|a, b| super::natural::compare(a, b).is_lt())
    {
        notes.push(format!(
            "{}: classes are ordered by characters ({}, …), as when this run began",
            folder.display(),
            class_names.iter().take(4).cloned().collect::<Vec<_>>().join(", ")
        ));
    }
    let name = folder.display().to_string();
    let images = read(files, name, options, observer, notes)?;
    Ok(Images { labels, class_names, ..images })
}

/// Reads the picture files `files`, at least one, in this order.
///
/// # Errors
/// The errors of [`load`] about files and sizes.
pub fn load_files(files: Vec<PathBuf>, options: &ReadOptions, observer: Observer) -> Result<Images> {
    if options.labels.is_some() {
        let message = "names the classes of the images of a folder, found single files";
        return Err(Error::setting("labels", message));
    }
    let name = match files.as_slice() {
        [file] => file.display().to_string(),
        files => format!("{} files", files.len()),
    };
    read(files, name, options, observer, Vec::new())
}

/// Whether the name of `path` is that of a picture that [`load`] reads.
pub fn is_picture(path: &Path) -> bool {
    ending(path).as_deref().is_some_and(is_read)
}

fn read(
    files: Vec<PathBuf>,
    name: String,
    options: &ReadOptions,
    observer: Observer,
    mut notes: Vec<String>,
) -> Result<Images> {
    let Pictures { width, height, channels, mut pixels, truncated } =
        picture_cache::decode(&files, &name, options, observer, &mut notes)?;
    if !truncated.is_empty() {
        let mut names: Vec<String> =
            truncated.iter().take(NAMED).map(|&file| files[file].display().to_string()).collect();
        if truncated.len() > NAMED {
            names.push("…".into());
        }
        notes.push(format!(
            "{}, grey where pixels are missing: {}",
            counted(truncated.len(), "truncated image"),
            names.join(", ")
        ));
    }
    notes.extend(range::bytes(&mut pixels, options.range, &name));
    Ok(Images {
        pixels: Pixels::Bytes(pixels),
        count: files.len(),
        height,
        width,
        channels,
        labels: None,
        class_names: Vec::new(),
        name,
        files: Some(files),
        notes,
    })
}

/// The note for a folder with sub-folders that are no classes, because a file is beside them.
fn unclassified(folder: &Path, files: &[PathBuf]) -> Option<String> {
    let is_inside = |file: &&PathBuf| file.parent() != Some(folder);
    files.iter().any(|file| is_inside(&file)).then_some(())?;
    let beside = files.iter().find(|file| !is_inside(file))?;
    Some(format!("{} is in no sub-folder, so the sub-folders are no classes", beside.display()))
}

#[cfg(test)]
mod tests;
