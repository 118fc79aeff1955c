//! Decodes many picture files in parallel, into images of one size.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::decode::{self, Header};
use super::download::{Observer, Transfer};
use super::reading::ReadOptions;
use super::scale;
use crate::error::{Error, Result};
use crate::io::open_regular;
use crate::io::png::Picture;

/// The files that are decoded between two reports of progress.
const CHUNK: usize = 256;
/// The sizes that an error gives an example of.
const EXAMPLES: usize = 3;

/// Decoded pictures of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 if all pictures are grey, else 3.
    pub channels: usize,
    /// NHWC, in the order of the files.
    pub pixels: Vec<u8>,
    /// The files that end early, by number.
    pub truncated: Vec<usize>,
}

impl Pictures {
    /// Decodes `files`, at least one, of which errors about sizes speak as `name`.
    ///
    /// # Errors
    /// [`Error::Setting`] of `size` when the pictures differ in size and are not scaled; [`Error::File`] when one
    /// cannot be decoded; [`Error::Io`] when one cannot be read.
    pub fn decode(files: &[PathBuf], name: &str, options: &ReadOptions, observer: Observer) -> Result<Self> {
        let mut all = Self { width: 0, height: 0, channels: 1, pixels: Vec::new(), truncated: Vec::new() };
        for (number, chunk) in files.chunks(CHUNK).enumerate() {
            let first = number * CHUNK;
            if first > 0 {
                observer(Transfer::Decodes { done: first, files: files.len() });
            }
            let decoded: Vec<_> = chunk.par_iter().map(|file| read(file, options)).collect();
            for (index, decoded) in decoded.into_iter().enumerate() {
                let decoded = decoded?;
                if first + index == 0 {
                    (all.width, all.height) = (decoded.picture.width, decoded.picture.height);
                    let bytes = decoded.picture.pixels.len().saturating_mul(files.len());
                    all.pixels
                        .try_reserve_exact(bytes)
                        .map_err(|_| too_large(&all, files.len(), bytes, name))?;
                } else if (all.width, all.height) != (decoded.picture.width, decoded.picture.height) {
                    observer(Transfer::Ends);
                    return Err(sizes(files, name));
                }
                if decoded.truncated {
                    all.truncated.push(first + index);
                }
                all.push(&decoded.picture);
            }
        }
        observer(Transfer::Ends);
        Ok(all)
    }

    /// Appends a picture. The first one with colour turns all into RGB.
    fn push(&mut self, picture: &Picture) {
        let triple = |pixels: &[u8]| pixels.iter().flat_map(|&value| [value; 3]).collect::<Vec<_>>();
        match (self.channels, picture.channels) {
            (1, 3) => {
                self.pixels = triple(&self.pixels);
                self.channels = 3;
                self.pixels.extend(&picture.pixels);
            }
            (3, 1) => self.pixels.extend(triple(&picture.pixels)),
            _ => self.pixels.extend(&picture.pixels),
        }
    }
}

fn bytes_of(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(file)?.read_to_end(&mut bytes).map_err(Error::io(file))?;
    Ok(bytes)
}

fn read(file: &Path, options: &ReadOptions) -> Result<decode::Decoded> {
    let bytes = bytes_of(file)?;
    let wrong = |message: String| Error::file(file, message);
    let mut decoded = decode::decode_any(&bytes, options.allow_truncated).map_err(wrong)?;
    if let Some(side) = options.size {
        decoded.picture = scale::to_square(decoded.picture, side).map_err(wrong)?;
    }
    Ok(decoded)
}

/// The error for `count` pictures like the first one, which take `bytes` bytes.
fn too_large(first: &Pictures, count: usize, bytes: usize, name: &str) -> Error {
    let Pictures { width, height, .. } = first;
    let gigabytes = bytes as f64 / 1e9;
    let message = format!(
        "expected images that fit into memory in {name}, found {count} of {width}x{height}, which take {gigabytes:.0} GB"
    );
    Error::setting("size", message)
}

/// The error for `files` of several sizes.
fn sizes(files: &[PathBuf], name: &str) -> Error {
    let header = |file: &PathBuf| -> Result<Header> {
        let bytes = bytes_of(file)?;
        decode::header(&bytes).map_err(|message| Error::file(file, message))
    };
    let headers: Result<Vec<Header>> = files.par_iter().map(header).collect();
    let headers = match headers {
        Ok(headers) => headers,
        Err(error) => return error,
    };
    // The first file of each size, by area.
    let mut found = BTreeMap::new();
    for (file, Header { width, height, .. }) in files.iter().zip(headers) {
        found.entry((width * height, width, height)).or_insert(file);
    }
    let text = |(_, width, height): &(usize, usize, usize)| format!("{width}x{height}");
    let (Some((least, _)), Some((most, _))) = (found.first_key_value(), found.last_key_value()) else {
        return Error::file(name, "changed while it was read");
    };
    let mut examples: Vec<String> = found
        .iter()
        .rev()
        .take(EXAMPLES)
        .map(|(size, file)| {
            format!("{} is {}", file.strip_prefix(name).unwrap_or(file).display(), text(size))
        })
        .collect();
    if found.len() > EXAMPLES {
        examples.push("…".into());
    }
    let message = format!(
        "expected images of one size in {name}, found {} sizes, from {} to {} ({})",
        found.len(),
        text(least),
        text(most),
        examples.join(", ")
    );
    Error::setting("size", message)
}
