//! NumPy `.npy` files: one array each, C order, little endian.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use super::atomic;
use super::elements::{self, Array, ElementType, Elements};
use crate::error::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The bytes before the header's text: the magic, two version bytes and the length of the text.
const PREFIX: usize = 10;
/// The alignment of the data in bytes.
const ALIGN: usize = 64;
/// The longest header in bytes; a shape of 64 sizes needs a tenth of it.
const MAX_HEADER: u32 = 1 << 16;
/// The maximum number of dimensions (as in NumPy itself).
const MAX_DIMENSIONS: usize = 64;

/// Writes elements of `shape` ([n, c, h, w] for images) as version 1.0, atomically.
///
/// # Errors
/// [`Error::File`] when the shape does not match the elements; [`Error::Io`] when writing fails.
pub fn write(path: &Path, shape: &[usize], elements: &Elements) -> Result<()> {
    let header = header(shape, elements).map_err(|message| Error::file(path, message))?;
    atomic::write(path, |file| {
        file.write_all(&header)?;
        elements.write(file)
    })
}

/// The bytes before the elements: the magic, the version, and the header's text.
pub(super) fn header(shape: &[usize], elements: &Elements) -> Result<Vec<u8>, String> {
    if shape.iter().product::<usize>() != elements.len() {
        return Err(format!("shape {shape:?} does not fit {} elements", elements.len()));
    }
    let descr = match elements {
        Elements::F32(_) => "<f4",
        Elements::U32(_) => "<u4",
        Elements::I64(_) => "<i8",
        Elements::U8(_) => "|u1",
    };
    // A tuple with one element has a comma in Python.
    let mut sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    if shape.len() > 1 {
        sizes.truncate(sizes.len() - 2);
    } else {
        sizes = sizes.trim_end().into();
    }
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let length = (PREFIX + text.len() + 1).next_multiple_of(ALIGN) - PREFIX;
    text.push_str(&" ".repeat(length - 1 - text.len()));
    text.push('\n');
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend((length as u16).to_le_bytes());
    header.extend(text.as_bytes());
    Ok(header)
}

/// Reads a numeric array; floats of any width become 32-bit, integers other than `u1` and `u4` become 64-bit. Allocates
/// no more than the size of the file justifies.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened; [`Error::File`] when it is not a complete `.npy` file of such elements
/// in C order.
pub fn read(path: &Path) -> Result<Array> {
    read_typed(path).map(|(array, _)| array)
}

/// Reads as [`read`] does, and says whether the elements are booleans.
///
/// # Errors
/// The errors of [`read`].
pub fn read_typed(path: &Path) -> Result<(Array, bool)> {
    let file = super::open_regular(path)?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    typed_from(&mut BufReader::new(file), length).map_err(|message| Error::file(path, message))
}

/// Parses the bytes of a file.
///
/// # Errors
/// A description of the first problem.
pub fn parse(bytes: &[u8]) -> Result<Array, String> {
    typed_from(&mut &*bytes, bytes.len() as u64).map(|(array, _)| array)
}

/// Reads a file of `length` bytes; returns the array and whether its elements are booleans. Its shape must account for
/// all bytes before anything is allocated.
pub(super) fn typed_from(reader: &mut impl Read, length: u64) -> Result<(Array, bool), String> {
    let mut prefix = [0; PREFIX];
    let read = reader.read_exact(&mut prefix);
    if read.is_err() || prefix[..6] != *MAGIC {
        return Err("expected a .npy file, but it does not begin as one".into());
    }
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let [.., major, _, low, high] = prefix;
    let (start, header_bytes) = match major {
        1 => (PREFIX, u32::from(u16::from_le_bytes([low, high]))),
        2 | 3 => {
            let mut rest = [0; 2];
            reader.read_exact(&mut rest).map_err(unreadable)?;
            (PREFIX + 2, u32::from_le_bytes([low, high, rest[0], rest[1]]))
        }
        other => return Err(format!("expected .npy version 1, 2 or 3, found {other}")),
    };
    let rest = length.saturating_sub(start as u64);
    if u64::from(header_bytes) > rest || header_bytes > MAX_HEADER {
        return Err(format!("the header has {header_bytes} bytes, but the file ends after {rest}"));
    }
    let mut text = vec![0; header_bytes as usize];
    reader.read_exact(&mut text).map_err(unreadable)?;
    let text = std::str::from_utf8(&text).map_err(|_| "the header is not text".to_owned())?;
    let header = Header::parse(text)?;
    if header.fortran_order {
        return Err("expected C order, found Fortran order; save numpy.ascontiguousarray(array)".into());
    }
    let kind = match header.descr {
        "<f8" => ElementType::F64,
        "<f4" => ElementType::F32,
        "<f2" => ElementType::F16,
        "<i8" => ElementType::I64,
        "<i4" => ElementType::I32,
        "<i2" => ElementType::I16,
        "|i1" => ElementType::I8,
        "<u4" => ElementType::U32,
        "<u2" => ElementType::U16,
        "|u1" | "|b1" => ElementType::U8,
        other => {
            return Err(format!(
                "expected floats or integers of little-endian order, found {:?}",
                clip(other)
            ));
        }
    };
    let rest = rest - u64::from(header_bytes);
    // A hostile shape cannot request more memory than the file has bytes.
    let count = elements::count(&header.shape);
    let bytes = count.and_then(|count| count.checked_mul(kind.bytes()));
    let Some(count) = count.filter(|_| bytes.is_some_and(|bytes| bytes as u64 == rest)) else {
        return Err(format!(
            "shape {:?} of {} needs {} bytes of data, found {rest}; the file is truncated or damaged",
            header.shape,
            header.descr,
            bytes.map_or("too many".into(), |bytes| bytes.to_string()),
        ));
    };
    let elements = kind.read(reader, count).map_err(unreadable)?;
    let boolean = header.descr == "|b1";
    Ok((Array { shape: header.shape, elements }, boolean))
}

/// The Python dictionary at the beginning of the file.
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, in any order of keys.
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut rest = Cursor(text);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        rest.expect("{")?;
        while !rest.take("}") {
            let key = rest.string()?;
            rest.expect(":")?;
            match key {
                "descr" => descr = Some(rest.string()?),
                "fortran_order" if rest.take("False") => fortran_order = Some(false),
                "fortran_order" => {
                    rest.expect("True")?;
                    fortran_order = Some(true);
                }
                "shape" => shape = Some(rest.sizes()?),
                other => return Err(format!("unexpected key {:?} in the header", clip(other))),
            }
            if !rest.take(",") {
                rest.expect("}")?;
                break;
            }
        }
        if !rest.0.trim().is_empty() {
            return Err(format!("unexpected {:?} after the header", clip(rest.0)));
        }
        let missing = |key: &str| format!("the header has no {key}");
        Ok(Self {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

/// The rest of the header's text.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.0.trim_start().strip_prefix(token) else { return false };
        self.0 = rest;
        true
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        Err(format!("expected {token:?} in the header, found {:?}", clip(self.0)))
    }

    fn string(&mut self) -> Result<&'a str, String> {
        self.expect("'")?;
        let (value, rest) = self.0.split_once('\'').ok_or("a string in the header has no end")?;
        self.0 = rest;
        Ok(value)
    }

    fn sizes(&mut self) -> Result<Vec<usize>, String> {
        self.expect("(")?;
        let mut sizes = Vec::new();
        while !self.take(")") {
            self.0 = self.0.trim_start();
            let digits = self.0.len() - self.0.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, rest) = self.0.split_at(digits);
            let size = number.parse().map_err(|_| format!("expected a size, found {:?}", clip(self.0)))?;
            if sizes.len() == MAX_DIMENSIONS {
                return Err(format!("more than {MAX_DIMENSIONS} dimensions"));
            }
            sizes.push(size);
            self.0 = rest;
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}

/// The first characters of `text`, for a message.
fn clip(text: &str) -> String {
    text.trim().chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::says::assert_says;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn the_bytes_are_those_of_numpy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        write(&path, &[2, 3], &Elements::U8(vec![1, 2, 3, 4, 5, 6])).unwrap();
        // numpy.save of numpy.arange(1, 7, dtype="u1").reshape(2, 3)
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.extend(b"\n\x01\x02\x03\x04\x05\x06");
        assert_eq!(fs::read(&path).unwrap(), expected);
    }

    #[test]
    fn arrays_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        for shape in [vec![2, 1, 3, 1], vec![6], vec![]] {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 - 2.5).collect();
            let bytes = values.len() * 4;
            let array = Array { shape, elements: Elements::F32(values) };
            write(&path, &array.shape, &array.elements).unwrap();
            assert_eq!(fs::read(&path).unwrap().len() % 64, bytes % 64);
            assert_eq!(read(&path).unwrap(), array);
        }
        let one = Elements::U8(vec![1]);
        assert!(write(&path, &[4], &one).unwrap_err().to_string().contains("[4]"));
    }

    #[test]
    fn labels_in_either_integer_type() {
        let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }";
        let mut data = (-1i64).to_le_bytes().to_vec();
        data.extend(7i64.to_le_bytes());
        assert_eq!(parse(&file(header, &data)).unwrap().elements, Elements::I64(vec![-1, 7]));
        let header = "{ 'shape':(2 , ),'fortran_order':False ,'descr':'<u4'}";
        let data = [1, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(parse(&file(header, &data)).unwrap().elements, Elements::U32(vec![1, 256]));
    }

    #[test]
    fn hostile_files_are_refused() {
        let ok = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        for (bytes, part) in [
            (vec![], "does not begin"),
            (b"\x93NUMPY\x01\x00\xff\xff{}".to_vec(), "65535 bytes"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec(), "4294967295 bytes"),
            (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "found 9"),
            (file(&ok("(4,)"), &[0; 15]), "needs 16 bytes of data, found 15"),
            (file(&ok("(4,)"), &[0; 17]), "found 17"),
            (file(&ok("(4294967296, 4294967296, 4294967296)"), &[]), "too many"),
            (file(&ok("(0, 4294967296, 4294967296)"), &[]), "too many"),
            (file(&ok("(99999999999999999999999,)"), &[]), "expected a size"),
            (file(&ok("(-1,)"), &[]), "expected a size"),
            (file(&ok("(1,"), &[]), "expected a size"),
            (file(&ok("3"), &[]), "expected \"(\""),
            (file(&format!("{}x", ok("()")), &[0; 4]), "\"x\" after"),
            (file("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", &[0; 4]), "Fortran"),
            (file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", &[0; 4]), ">f4"),
            (file("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", &[0; 4]), "|O"),
            (file("{'descr': '<f4', 'shape': (1,)}", &[0; 4]), "no fortran_order"),
            (file("{'descr': '<f4', 'fortran_order': Maybe}", &[]), "\"True\""),
            (file("{'descr", &[]), "no end"),
            (file(&ok(&format!("({})", "1,".repeat(65))), &[0; 4]), "64 dimensions"),
        ] {
            assert_says(&parse(&bytes).unwrap_err(), &[part]);
        }
    }
}
