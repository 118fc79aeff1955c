//! Fetching CIFAR-10: one archive, resumed where it was cut, checked, then unpacked.

#[cfg(feature = "download")]
mod http;

use super::archive::Archive;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// The state of a download, given to its observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer<'a> {
    /// The server begins to send `file` behind the `have` bytes that are here; `total` is its size, if the server says.
    Begins {
        /// The name of the file.
        file: &'a str,
        /// Bytes that are here.
        have: u64,
        /// Bytes of the whole file.
        total: Option<u64>,
    },
    /// So many bytes are here.
    Has(u64),
    /// The download has ended, whole or not.
    Ends,
}

/// Receives the state of a download whenever it changes.
pub type Observer<'a> = &'a dyn Fn(Transfer<'_>);

/// An [`Observer`] that does nothing.
pub fn unobserved(_: Transfer<'_>) {}

/// Whether a data set could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The directory that holds its files.
    Ready(PathBuf),
    /// It is not here and the network does not give it: no connection, or the server refuses.
    Unavailable {
        /// Why, in one line, with the address.
        reason: String,
    },
}

/// Downloads `archive` into the directory `cache` (which is created), unpacks it there and returns
/// its folder. What an interrupted download left behind is continued, now or in a later call.
/// Without the feature `download` an archive that is not in `cache` is unavailable.
///
/// # Errors
/// [`Error::File`](crate::Error::File) when what came is not the archive (its MD5 or a file in it is wrong);
/// [`Error::Io`](crate::Error::Io) when the cache cannot be written. Failures of the network are no errors but
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
