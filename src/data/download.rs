//! Fetches CIFAR-10: downloads one archive, resumes a truncated download, verifies it and unpacks it.

#[cfg(feature = "download")]
mod http;

use super::archive::Archive;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// The state of a download, or of pictures that are decoded, passed to its observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer<'a> {
    /// The server starts to send `file` after the `have` bytes that are here; `total` is its size, if the server states
    /// it.
    Begins {
        /// The name of the file.
        file: &'a str,
        /// The bytes that are here.
        have: u64,
        /// The size of the complete file in bytes.
        total: Option<u64>,
    },
    /// The number of bytes that are here.
    Has(u64),
    /// `done` of `files` pictures are decoded.
    Decodes {
        /// The decoded pictures.
        done: usize,
        /// All pictures.
        files: usize,
    },
    /// The download or the decoding has ended, complete or not.
    Ends,
}

/// Receives the state of slow work on data whenever it changes.
pub type Observer<'a> = &'a dyn Fn(Transfer<'_>);

/// An [`Observer`] that does nothing.
pub fn unobserved(_: Transfer<'_>) {}

/// The availability of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The directory that holds the files of the set.
    Ready(PathBuf),
    /// The set is not on this machine and cannot be downloaded: there is no connection, or the server refuses.
    Unavailable {
        /// The reason, in one line, with the address.
        reason: String,
    },
}

/// Downloads `archive` into the directory `cache` (which is created), unpacks it there and returns its folder. An
/// interrupted download is resumed, in this or a later call. Without the feature `download` an archive that is not in
/// `cache` is unavailable.
///
/// # Errors
/// [`Error::File`](crate::Error::File) when the downloaded file is not the archive (its MD5 or a file in it is wrong);
/// [`Error::Io`](crate::Error::Io) when the cache cannot be written. A failure of the network is not an error but
/// [`Fetched::Unavailable`].
pub fn fetch(archive: &Archive, cache: &Path, observer: Observer) -> Result<Fetched> {
    let folder = cache.join(&archive.folder);
    if folder.is_dir() {
        return Ok(Fetched::Ready(folder));
    }
    #[cfg(feature = "download")]
    let unavailable = http::fetch(archive, cache, observer)?;
    #[cfg(not(feature = "download"))]
    let unavailable = {
        let _ = observer;
        Some("this build cannot download: its feature `download` is off")
    };
    Ok(match unavailable {
        Some(reason) => Fetched::Unavailable { reason: format!("{}: {reason}", archive.url) },
        None => Fetched::Ready(folder),
    })
}
