//! The idx format of MNIST: one array of bytes, plain or gzipped.
//!
//! Two zero bytes, the type of the elements (8: bytes), the number of dimensions, the sizes as
//! big-endian 32-bit integers, then the elements, the last index fastest.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::declared::{DEFLATE_RATIO, broken, read_declared};
use crate::error::{Error, Result};

/// The only element type that is supported.
const BYTES: u8 = 8;
/// The maximum number of dimensions.
const MAX_DIMENSIONS: u8 = 8;
/// The first bytes of a gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An array of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The sizes, outermost first.
    pub shape: Vec<usize>,
    /// The elements, row-major; their number is the product of the sizes.
    pub elements: Vec<u8>,
}

/// Reads the file `path`, which may be gzipped under any name.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened; the errors of [`read`] as [`Error::File`].
pub fn read_file(path: &Path) -> Result<Idx> {
    let file = File::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    read(BufReader::new(file), size).map_err(|message| Error::file(path, message))
}

/// Reads an array from `source`, which has `size` bytes. Allocates at most that, or, if it is gzipped, as much as
/// deflate can expand it to.
///
/// # Errors
/// When it is not an idx array of bytes, ends early or continues after its elements.
pub fn read(mut source: impl BufRead, size: u64) -> Result<Idx, String> {
    if source.fill_buf().map_err(|error| broken(&error))?.starts_with(&GZIP) {
        // The single-member decoder: an idx file has one member.
        return read_plain(GzDecoder::new(source), size.saturating_mul(DEFLATE_RATIO));
    }
    read_plain(source, size)
}

/// Reads an array from `source`, which holds at most `at_most` bytes.
fn read_plain(mut source: impl Read, at_most: u64) -> Result<Idx, String> {
    let [zero_0, zero_1, kind, dimensions] = bytes(&mut source)?;
    if [zero_0, zero_1, kind] != [0, 0, BYTES] {
        return Err(format!(
            "expected an idx array of bytes, which begins with 0, 0, 8, found {zero_0}, {zero_1}, {kind}"
        ));
    }
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(format!("expected 1 to {MAX_DIMENSIONS} dimensions, found {dimensions}"));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(u32::from_be_bytes(bytes(&mut source)?) as usize);
    }
    let count = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    let count = count.ok_or_else(|| format!("shape {shape:?} is too large"))?;
    let header = 4 + 4 * u64::from(dimensions);
    let elements = read_declared(&mut source, count, at_most.saturating_sub(header))
        .map_err(|message| format!("shape {shape:?}: {message}"))?;
    // Reading to the end also verifies gzip's checksum.
    if source.read(&mut [0]).map_err(|error| broken(&error))? != 0 {
        return Err(format!(
            "shape {shape:?} needs {count} bytes of data, but the file continues after them"
        ));
    }
    Ok(Idx { shape, elements })
}

fn bytes<const N: usize>(source: &mut impl Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(|error| broken(&error))?;
    Ok(bytes)
}

/// A file with the array `elements` of `shape`, for tests.
#[cfg(test)]
pub(super) fn file(shape: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, BYTES, shape.len() as u8];
    file.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(elements);
    file
}

/// `bytes` gzipped, for tests.
#[cfg(test)]
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::says::assert_says;

    fn parse(bytes: &[u8]) -> Result<Idx, String> {
        read(bytes, bytes.len() as u64)
    }

    #[test]
    fn plain_and_gzipped_arrays_are_the_same() {
        let elements: Vec<u8> = (0..24).collect();
        let plain = file(&[2, 3, 4], &elements);
        let expected = Idx { shape: vec![2, 3, 4], elements };
        assert_eq!(parse(&plain), Ok(expected.clone()));
        assert_eq!(parse(&gzip(&plain)), Ok(expected));
        assert_eq!(parse(&file(&[0], &[])), Ok(Idx { shape: vec![0], elements: vec![] }));
    }

    #[test]
    fn hostile_files_are_refused() {
        let mut flipped = gzip(&file(&[3], &[1, 2, 3]));
        let checksum = flipped.len() - 8;
        flipped[checksum] ^= 1;
        let whole = gzip(&file(&[300], &[7; 300]));
        for (bytes, part) in [
            (vec![], "truncated"),
            (vec![0, 0, 8], "truncated"),
            (b"\x89PNG\r\n\x1a\n".to_vec(), "found 137, 80, 78"),
            (vec![0, 0, 13, 1, 0, 0, 0, 0], "found 0, 0, 13"),
            (file(&[], &[]), "1 to 8 dimensions, found 0"),
            (file(&[1; 9], &[0]), "found 9"),
            (file(&[2, 3], &[0])[..9].to_vec(), "truncated"),
            // The count is false: more, far more, and less than the elements present.
            (file(&[4], &[0; 3]), "[4]: the header declares 4 bytes of data, but at most 3"),
            (file(&[u32::MAX, 28, 28], &[0; 9]), "declares 3367254359280 bytes of data, but at most 9"),
            (file(&[u32::MAX; 8], &[0; 9]), "too large"),
            (file(&[3], &[0; 4]), "continues"),
            (gzip(&file(&[4], &[0; 3])), "declares 4 bytes of data, found 3"),
            (gzip(&file(&[3], &[0; 4])), "continues"),
            (gzip(&file(&[u32::MAX, 28, 28], &[0; 9])), "but at most"),
            (whole[..whole.len() - 12].to_vec(), "truncated"),
            (flipped, "corrupt"),
        ] {
            assert_says(&parse(&bytes).unwrap_err(), &[part]);
        }
    }
}
