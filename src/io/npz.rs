//! NumPy `.npz` files: named arrays, each a `.npy` file in a zip archive.

use std::io::{BufReader, Cursor, Read, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::elements::Array;
use super::{archive, atomic, npy, one_line};
use crate::error::{Error, Result};

/// Writes arrays, uncompressed as `numpy.savez` does, atomically. Equal arrays make identical files.
///
/// # Errors
/// [`Error::File`] for a shape that does not match its elements or a duplicate name; [`Error::Io`] when writing fails.
pub fn write(path: &Path, arrays: &[(String, Array)]) -> Result<()> {
    let headers = arrays.iter().map(|(name, array)| {
        npy::header(&array.shape, &array.elements)
            .map_err(|message| Error::file(path, format!("array {name}: {message}")))
    });
    let headers = headers.collect::<Result<Vec<_>>>()?;
    atomic::write(path, |file| {
        let mut archive = ZipWriter::new(file);
        for ((name, array), header) in arrays.iter().zip(&headers) {
            let bytes = header.len() + array.elements.len() * array.elements.element_bytes();
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .last_modified_time(DateTime::default())
                .large_file(bytes >= 1 << 32);
            archive.start_file(format!("{name}.npy"), options)?;
            archive.write_all(header)?;
            array.elements.write(&mut archive)?;
        }
        archive.finish()?;
        Ok(())
    })
}

/// Reads all arrays, in the order of the archive.
///
/// # Errors
/// [`Error::Io`], or [`Error::File`] with the array and the problem.
pub fn read(path: &Path) -> Result<Vec<(String, Array)>> {
    Ok(read_typed(path)?.into_iter().map(|(name, array, _)| (name, array)).collect())
}

/// Reads as [`read`] does, and says of each array whether its elements are booleans.
///
/// # Errors
/// The errors of [`read`].
pub fn read_typed(path: &Path) -> Result<Vec<(String, Array, bool)>> {
    let file = super::open_regular(path)?;
    contents(BufReader::new(file)).map_err(|message| Error::file(path, one_line(message)))
}

/// Parses the bytes of a file.
///
/// # Errors
/// A description of the first problem.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, Array)>, String> {
    let arrays = contents(Cursor::new(bytes)).map_err(one_line)?;
    Ok(arrays.into_iter().map(|(name, array, _)| (name, array)).collect())
}

/// Reads an archive. An array must have the bytes that its header declares, and no more than deflate can expand its
/// entry to.
fn contents(reader: impl Read + Seek) -> Result<Vec<(String, Array, bool)>, String> {
    let mut archive = archive::open(reader)?;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| format!("entry {index}: {error}"))?;
        let name = entry.name().map_err(|error| format!("entry {index}: {error}"))?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let fail = |message: String| format!("array {name}: {message}");
        if entry.size() > entry.compressed_size().saturating_mul(archive::DEFLATE_RATIO) {
            return Err(fail(format!(
                "{} bytes cannot be {} deflated ones; refused",
                entry.size(),
                entry.compressed_size()
            )));
        }
        let length = entry.size();
        let (array, boolean) = npy::typed_from(&mut entry, length).map_err(fail)?;
        // Reading to the end compares the checksum.
        match entry.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(fail("is longer than its entry says".into())),
            Err(error) => return Err(fail(format!("cannot be read: {error}"))),
        }
        arrays.push((name, array, boolean));
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::elements::Elements;
    use crate::says::assert_says;

    fn arrays() -> Vec<(String, Array)> {
        let logits =
            Array { shape: vec![2, 3], elements: Elements::F32(vec![1.5, -2.0, 0.0, 3.0, 4.0, 5.0]) };
        let labels = Array { shape: vec![2], elements: Elements::I64(vec![-1, i64::MAX]) };
        let flags = Array { shape: vec![3], elements: Elements::U8(vec![0, 1, 255]) };
        [("logits", logits), ("labels", labels), ("flags", flags)]
            .map(|(name, array)| (name.into(), array))
            .to_vec()
    }

    #[test]
    fn arrays_come_back_and_the_bytes_are_always_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a.npz", "b.npz"].map(|name| directory.path().join(name));
        for path in &paths {
            write(path, &arrays()).unwrap();
            assert_eq!(read(path).unwrap(), arrays());
        }
        assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
    }

    #[test]
    fn what_numpy_has_compressed_can_be_read() {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file("zeros.npy", options).unwrap();
        let zeros = Array { shape: vec![100, 1000], elements: Elements::F32(vec![0.0; 100_000]) };
        archive.write_all(&npy::header(&zeros.shape, &zeros.elements).unwrap()).unwrap();
        zeros.elements.write(&mut archive).unwrap();
        let bytes = archive.finish().unwrap().into_inner();
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        assert_eq!(parse(&bytes).unwrap(), [("zeros".to_owned(), zeros)]);
    }

    #[test]
    fn a_small_entry_cannot_ask_for_much_memory() {
        // A megabyte of zeros after a header that declares a terabyte, then with the same size in the directory.
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file("x.npy", options).unwrap();
        let small = Array { shape: vec![1 << 20], elements: Elements::U8(vec![0; 1 << 20]) };
        let header = npy::header(&small.shape, &small.elements).unwrap();
        let refused = |bytes: &[u8]| parse(bytes).map(drop).unwrap_err();
        let text =
            String::from_utf8_lossy(&header[10..]).replace("(1048576,), }      ", "(1048576000000,), }");
        archive.write_all(&header[..10]).unwrap();
        archive.write_all(&text.as_bytes()[..header.len() - 10]).unwrap();
        small.elements.write(&mut archive).unwrap();
        let mut bytes = archive.finish().unwrap().into_inner();
        assert!(parse(&bytes).unwrap_err().contains("needs 1048576000000 bytes of data, found 1048576"));
        let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[directory + 24..][..4].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
        let message = refused(&bytes);
        assert!(message.contains("array x: 4294967294 bytes cannot be"), "{message}");
    }

    #[test]
    fn damaged_archives_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        write(&path, &arrays()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(parse(&bytes[..bytes.len() - 30]).unwrap_err().contains("whole zip archive"));
        assert!(parse(b"not a zip").unwrap_err().contains("whole zip archive"));
        let mut wrong = bytes.clone();
        // Damage a number of `logits`, so that the checksum of the entry does not match.
        let at = wrong.windows(4).position(|w| w == 1.5f32.to_le_bytes()).unwrap();
        wrong[at] ^= 1;
        assert!(parse(&wrong).unwrap_err().contains("array logits: "));
        // Damage the central directory's record of the first entry: the position of its local header, and its sizes.
        let first = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        for (at, value, part) in [
            (42, 150, "archive"),
            (42, u32::MAX, "archive"),
            (20, 100_000, "overlap or lie outside"),
            (24, 1 << 20, "cannot be"),
            (24, 200, "needs 24 bytes of data, found 72"),
        ] {
            let mut wrong = bytes.clone();
            wrong[first + at..][..4].copy_from_slice(&u32::to_le_bytes(value));
            assert_says(&parse(&wrong).unwrap_err(), &[part]);
        }
        let at = bytes.windows(10).rposition(|w| w == b"labels.npy").unwrap();
        let mut wrong = bytes.clone();
        wrong[at..at + 10].copy_from_slice(b"logits.npy");
        assert!(parse(&wrong).unwrap_err().contains("one name"));
        let twice = [arrays(), arrays()].concat();
        assert!(write(&path, &twice).unwrap_err().to_string().contains("a.npz"));
        let misfit = Array { shape: vec![5], elements: Elements::U8(vec![0; 4]) };
        assert!(write(&path, &[("x".into(), misfit)]).unwrap_err().to_string().contains("array x"));
    }
}
