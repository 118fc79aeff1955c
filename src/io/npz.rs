//! NumPy `.npz` files: arrays by name, each a `.npy` file in a zip archive.

use std::io::{Cursor, Read, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::elements::Array;
use super::{atomic, npy};
use crate::error::{Error, Result};

/// Writes arrays, uncompressed as `numpy.savez` does, atomically. The same arrays give the same bytes.
///
/// # Errors
/// [`Error::File`] for a shape that does not fit its elements or a name given twice; [`Error::Io`] when writing fails.
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
/// [`Error::Io`], or [`Error::File`] with the array and what is wrong with it.
pub fn read(path: &Path) -> Result<Vec<(String, Array)>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    parse(&bytes).map_err(|message| Error::file(path, message))
}

/// Reads the bytes of a file. What is inflated is at most what deflate can make of the entry's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, Array)>, String> {
    // The most that a byte of deflate's output stands for, rounded up.
    const LARGEST_RATIO: u64 = 1040;
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("expected a .npz file: {error}"))?;
    let mut arrays = Vec::new();
    let mut compressed: u64 = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| format!("entry {index}: {error}"))?;
        let name = entry.name().map_err(|error| format!("entry {index}: {error}"))?.into_owned();
        compressed = compressed.saturating_add(entry.compressed_size());
        let most = entry.compressed_size().saturating_mul(LARGEST_RATIO);
        if compressed > bytes.len() as u64 || entry.size() > most {
            return Err(format!("array {name}: its sizes do not fit the archive; refused"));
        }
        let mut contents = Vec::new();
        let read = entry.by_ref().take(most).read_to_end(&mut contents);
        read.map_err(|error| format!("array {name}: cannot be read: {error}"))?;
        let array = npy::parse(&contents).map_err(|message| format!("array {name}: {message}"))?;
        arrays.push((name.strip_suffix(".npy").unwrap_or(&name).to_owned(), array));
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::elements::Elements;

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
    fn damaged_archives_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        write(&path, &arrays()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(parse(&bytes[..bytes.len() - 30]).unwrap_err().contains("expected a .npz file"));
        assert!(parse(b"not a zip").unwrap_err().contains("expected a .npz file"));
        let mut wrong = bytes.clone();
        // A number of logits: the checksum of the entry does not fit any more.
        let at = wrong.windows(4).position(|w| w == 1.5f32.to_le_bytes()).unwrap();
        wrong[at] ^= 1;
        assert!(parse(&wrong).unwrap_err().contains("array logits.npy"));
        let twice = [arrays(), arrays()].concat();
        assert!(write(&path, &twice).unwrap_err().to_string().contains("a.npz"));
        let misfit = Array { shape: vec![5], elements: Elements::U8(vec![0; 4]) };
        assert!(write(&path, &[("x".into(), misfit)]).unwrap_err().to_string().contains("array x"));
    }
}
