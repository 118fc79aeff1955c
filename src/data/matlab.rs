//! MATLAB 5 MAT-files (`save -v6`, `-v7`): reads the numeric arrays in them.
//!
//! A file is a header of 128 bytes, then data elements: a tag with a type and a number of bytes, then the bytes. Up to
//! four bytes may be stored in the tag itself. A variable is a `miMATRIX` element that contains elements, each padded
//! to 8 bytes: flags, dimensions, name, values. A `miCOMPRESSED` element is a zlib stream of one such element. Source:
//! MATLAB's "MAT-File Format".

use std::io::{self, Read};

use flate2::read::ZlibDecoder;

use super::declared::{DEFLATE_RATIO, broken, read_declared};

/// The size of the file header in bytes.
const HEADER: usize = 128;
/// Types of data elements; the numeric types are in [`Storage`].
const INT8: u32 = 1;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// The classes of full numeric arrays, from double to `uint64`.
const NUMERIC_CLASSES: std::ops::RangeInclusive<u32> = 6..=15;
/// The flag of an array with imaginary parts.
const COMPLEX: u32 = 0x800;
/// The maximum number of dimensions.
const MAX_DIMENSIONS: u64 = 32;
/// The longest supported name of a variable; MATLAB's have up to 63 characters.
const MAX_NAME: u64 = 255;

/// The storage type of the numbers of an array: MATLAB uses the smallest type that holds the values, whatever the class
/// of the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say what they are")]
pub enum Storage {
    Int8,
    Uint8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Single,
    Double,
    Int64,
    Uint64,
}

impl Storage {
    /// The storage for a data element's type; `None` if the type is not numeric.
    fn of(kind: u32) -> Option<Self> {
        Some(match kind {
            INT8 => Self::Int8,
            2 => Self::Uint8,
            3 => Self::Int16,
            4 => Self::Uint16,
            INT32 => Self::Int32,
            UINT32 => Self::Uint32,
            7 => Self::Single,
            9 => Self::Double,
            12 => Self::Int64,
            13 => Self::Uint64,
            _ => return None,
        })
    }

    /// The size of one number in bytes.
    fn bytes(self) -> u64 {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Uint32 | Self::Single => 4,
            Self::Double | Self::Int64 | Self::Uint64 => 8,
        }
    }
}

/// An array of real numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// The sizes; the first index varies fastest. MATLAB drops sizes of 1 after the second.
    pub dimensions: Vec<usize>,
    /// The type of the stored numbers.
    pub storage: Storage,
    /// The numbers as stored, in the byte order of the file.
    pub data: Vec<u8>,
    big_endian: bool,
}

impl Array {
    /// The numbers as floats; 64-bit integers beyond 2^53 are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.storage {
            Storage::Int8 => self.decode(|bytes| f64::from(i8::from_le_bytes(bytes))),
            Storage::Uint8 => self.decode(|bytes| f64::from(u8::from_le_bytes(bytes))),
            Storage::Int16 => self.decode(|bytes| f64::from(i16::from_le_bytes(bytes))),
            Storage::Uint16 => self.decode(|bytes| f64::from(u16::from_le_bytes(bytes))),
            Storage::Int32 => self.decode(|bytes| f64::from(i32::from_le_bytes(bytes))),
            Storage::Uint32 => self.decode(|bytes| f64::from(u32::from_le_bytes(bytes))),
            Storage::Single => self.decode(|bytes| f64::from(f32::from_le_bytes(bytes))),
            Storage::Double => self.decode(f64::from_le_bytes),
            Storage::Int64 => self.decode(|bytes| i64::from_le_bytes(bytes) as f64),
            Storage::Uint64 => self.decode(|bytes| u64::from_le_bytes(bytes) as f64),
        }
    }

    /// Decodes each number with `of` from its bytes in little-endian order.
    fn decode<const N: usize>(&self, of: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        let numbers = self.data.as_chunks::<N>().0.iter();
        numbers
            .map(|&(mut bytes)| {
                if self.big_endian {
                    bytes.reverse();
                }
                of(bytes)
            })
            .collect()
    }
}

/// Reads the variables `wanted` from `source`, which has `size` bytes, and nothing after the last of them. Skips other
/// variables. Allocates at most the elements of the variables, each bounded by `size` or, if compressed, by the size
/// that deflate can expand its stream to.
///
/// # Errors
/// When it is not a MAT-file of version 5, is damaged, or lacks a wanted variable of real numbers.
pub fn read<const N: usize>(
    mut source: impl Read,
    size: u64,
    wanted: [&str; N],
) -> Result<[Array; N], String> {
    let big_endian = read_header(&mut source)?;
    let mut left = size.saturating_sub(HEADER as u64);
    let mut found = [const { None }; N];
    while let Some(missing) = found.iter().position(Option::is_none) {
        if left == 0 {
            return Err(format!(
                "expected a variable {} that is an array of numbers, found none",
                wanted[missing]
            ));
        }
        let mut elements = Elements { source: (&mut source).take(left), big_endian };
        let Tag { kind, bytes, inside } = elements.tag()?;
        let bytes = if inside.is_some() { 0 } else { bytes };
        left = elements.source.limit() - bytes;
        let mut element = (&mut source).take(bytes);
        let array = match kind {
            MATRIX => matrix(&mut element, bytes, big_endian, &wanted)?,
            COMPRESSED => compressed_matrix(&mut element, bytes, big_endian, &wanted)?,
            _ => None,
        };
        if let Some((index, array)) = array
            && found[index].replace(array).is_some()
        {
            return Err(format!("expected one variable {}, found two", wanted[index]));
        }
        io::copy(&mut element, &mut io::sink()).map_err(|error| broken(&error))?;
    }
    Ok(found.map(|array| array.expect("the loop ends when all are found")))
}

/// Reads the header of a file; returns whether its numbers are big-endian.
fn read_header(source: &mut impl Read) -> Result<bool, String> {
    let mut header = [0; HEADER];
    source.read_exact(&mut header).map_err(|error| broken(&error))?;
    let [.., version_0, version_1, order_0, order_1] = header;
    let (version, big_endian) = match &[order_0, order_1] {
        b"IM" => (u16::from_le_bytes([version_0, version_1]), false),
        b"MI" => (u16::from_be_bytes([version_0, version_1]), true),
        _ => return Err("expected a MATLAB 5 MAT-file, but it does not begin as one".into()),
    };
    match version {
        0x0100 => Ok(big_endian),
        0x0200 => Err("expected a MATLAB 5 MAT-file, found version 7.3 (HDF5); save it with -v7".into()),
        other => Err(format!("expected a MAT-file of version 0x0100, found {other:#06x}")),
    }
}

/// Reads a matrix from a zlib stream of `bytes` bytes; see [`matrix`].
fn compressed_matrix(
    source: &mut impl Read,
    bytes: u64,
    big_endian: bool,
    wanted: &[&str],
) -> Result<Option<(usize, Array)>, String> {
    let mut stream = ZlibDecoder::new(source);
    let at_most = bytes.saturating_mul(DEFLATE_RATIO);
    let mut elements = Elements { source: (&mut stream).take(at_most), big_endian };
    let tag = elements.tag()?;
    if tag.kind != MATRIX {
        return Err(format!("expected a matrix in a compressed element, found type {}", tag.kind));
    }
    let mut element = (&mut stream).take(tag.bytes);
    let Some(found) = matrix(&mut element, tag.bytes, big_endian, wanted)? else { return Ok(None) };
    // Read to the end of the stream, to verify its checksum.
    io::copy(&mut element, &mut io::sink()).map_err(|error| broken(&error))?;
    let missing = element.limit();
    if missing != 0 || stream.read(&mut [0]).map_err(|error| broken(&error))? != 0 {
        let name = wanted[found.0];
        let what = if missing == 0 { "continues after its end" } else { "is truncated" };
        return Err(format!("the compressed variable {name} {what}; the file is damaged"));
    }
    Ok(Some(found))
}

/// Reads a matrix element of `bytes` bytes if it is numeric and one of `wanted`; returns its index in `wanted` and the
/// array. Only the beginning of any other element is read.
fn matrix(
    source: &mut impl Read,
    bytes: u64,
    big_endian: bool,
    wanted: &[&str],
) -> Result<Option<(usize, Array)>, String> {
    let mut elements = Elements { source: source.take(bytes), big_endian };
    let flags = elements.words(UINT32, "flags", 2)?;
    let &[flags, _] = flags.as_slice() else {
        return Err(format!("expected 2 words of flags, found {}", flags.len()));
    };
    if !NUMERIC_CLASSES.contains(&(flags & 0xff)) {
        return Ok(None);
    }
    let dimensions: Vec<usize> =
        elements.words(INT32, "dimensions", MAX_DIMENSIONS)?.into_iter().map(|size| size as usize).collect();
    let name = elements.element(INT8, "a name", MAX_NAME)?;
    let Some(index) = wanted.iter().position(|wanted| wanted.as_bytes() == name) else { return Ok(None) };
    let name = wanted[index];
    if flags & COMPLEX != 0 {
        return Err(format!("variable {name}: expected real numbers, found complex ones"));
    }
    let tag = elements.tag()?;
    let storage = Storage::of(tag.kind)
        .ok_or_else(|| format!("variable {name}: expected numbers, found elements of type {}", tag.kind))?;
    // A negative size is a large unsigned one.
    let expected = dimensions.iter().try_fold(storage.bytes(), |all, &size| all.checked_mul(size as u64));
    if expected != Some(tag.bytes) {
        return Err(format!(
            "variable {name}: dimensions {dimensions:?} of {storage:?} need {} bytes, found {}; the file is \
             damaged",
            expected.map_or("too many".into(), |bytes| bytes.to_string()),
            tag.bytes
        ));
    }
    let data = elements.data(&tag).map_err(|message| format!("variable {name}: {message}"))?;
    Ok(Some((index, Array { dimensions, storage, data, big_endian })))
}

/// The tag of a data element.
struct Tag {
    kind: u32,
    bytes: u64,
    /// The data and their padding, if they are in the tag.
    inside: Option<[u8; 4]>,
}

/// A sequence of data elements, within the limit of `source`.
struct Elements<R> {
    source: io::Take<R>,
    big_endian: bool,
}

impl<R: Read> Elements<R> {
    fn word(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn next_bytes(&mut self) -> Result<[u8; 4], String> {
        let mut bytes = [0; 4];
        self.source.read_exact(&mut bytes).map_err(|error| broken(&error))?;
        Ok(bytes)
    }

    /// Reads the next tag, whose data must be in it or within the limit.
    fn tag(&mut self) -> Result<Tag, String> {
        let first = self.next_bytes()?;
        let second = self.next_bytes()?;
        let first = self.word(first);
        if first >> 16 != 0 {
            let (kind, bytes) = (first & 0xffff, first >> 16);
            if bytes > 4 {
                return Err(format!("expected at most 4 bytes in a small data element, found {bytes}"));
            }
            return Ok(Tag { kind, bytes: u64::from(bytes), inside: Some(second) });
        }
        let (bytes, left) = (u64::from(self.word(second)), self.source.limit());
        if bytes > left {
            return Err(format!(
                "a data element of {bytes} bytes, but at most {left} can follow; the file is truncated or \
                 damaged"
            ));
        }
        Ok(Tag { kind: first, bytes, inside: None })
    }

    /// Reads the data of the element with tag `tag`, without the padding.
    fn data(&mut self, tag: &Tag) -> Result<Vec<u8>, String> {
        if let Some(inside) = tag.inside {
            return Ok(inside[..tag.bytes as usize].to_vec());
        }
        let at_most = self.source.limit();
        read_declared(&mut self.source, tag.bytes, at_most)
    }

    /// Reads the data of the next element, which is `what`, of type `kind` and at most `at_most` bytes; skips its
    /// padding.
    fn element(&mut self, kind: u32, what: &str, at_most: u64) -> Result<Vec<u8>, String> {
        let tag = self.tag()?;
        if tag.kind != kind || tag.bytes > at_most {
            return Err(format!(
                "expected {what}: at most {at_most} bytes of type {kind}, found {} of type {}; the file is damaged",
                tag.bytes, tag.kind
            ));
        }
        let data = self.data(&tag)?;
        if tag.inside.is_none() {
            let padding = tag.bytes.next_multiple_of(8) - tag.bytes;
            io::copy(&mut (&mut self.source).take(padding), &mut io::sink())
                .map_err(|error| broken(&error))?;
        }
        Ok(data)
    }

    /// Reads the next element as words, at most `at_most` of them.
    fn words(&mut self, kind: u32, what: &str, at_most: u64) -> Result<Vec<u32>, String> {
        let data = self.element(kind, what, 4 * at_most)?;
        Ok(data.as_chunks::<4>().0.iter().map(|&bytes| self.word(bytes)).collect())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod writer;
