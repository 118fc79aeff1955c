//! Writes the zip format of `torch.save`: a state dict, with metadata in an entry that PyTorch does not read.

use std::io::{Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::zip::METADATA;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::io::checkpoint::Checkpoint;
use crate::io::elements::{Elements, count};

/// The folder of the entries, which `torch.load` takes from the first entry.
const FOLDER: &str = "archive";
/// The alignment of the storages in the file, in bytes, as in files of `torch.save`, for `torch.load(mmap=True)`.
const ALIGNMENT: u16 = 64;

/// Writes `file` atomically as a state dict for `torch.load`, also with `weights_only`. Unsigned 32-bit integers,
/// which PyTorch mostly lacks, become signed 64-bit ones. Equal contents make identical files.
///
/// # Errors
/// [`Error::File`] for a shape that does not match its elements; [`Error::Io`] when writing fails.
pub fn write(path: &Path, file: &Checkpoint) -> Result<()> {
    for (name, shape, elements) in &file.tensors {
        if count(shape) != Some(elements.len()) {
            let message =
                format!("tensor {name}: expected shape {shape:?}, found {} elements", elements.len());
            return Err(Error::file(path, message));
        }
    }
    let metadata = serde_json::to_vec(&file.metadata).expect("strings");
    atomic::write(path, |out| Ok(archive(out, &file.tensors, &metadata)?))
}

fn archive(
    out: impl Write + Seek,
    tensors: &[(String, Vec<usize>, Elements)],
    metadata: &[u8],
) -> zip::result::ZipResult<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new(out);
    for (name, bytes) in [
        ("data.pkl", pickle(tensors).as_slice()),
        ("byteorder", b"little"),
        ("version", b"3\n"),
        (METADATA, metadata),
    ] {
        archive.start_file(format!("{FOLDER}/{name}"), options)?;
        archive.write_all(bytes)?;
    }
    for (key, (.., elements)) in tensors.iter().enumerate() {
        let options =
            options.with_alignment(ALIGNMENT).large_file(elements.len() as u64 * 8 >= u64::from(u32::MAX));
        archive.start_file(format!("{FOLDER}/data/{key}"), options)?;
        match elements {
            Elements::U32(values) => {
                Elements::I64(values.iter().copied().map(i64::from).collect()).write(&mut archive)?;
            }
            other => other.write(&mut archive)?,
        }
    }
    archive.finish()?;
    Ok(())
}

/// The pickle of an ordered dictionary of tensors, in protocol 2. Each tensor has the storage with the key of its
/// position.
fn pickle(tensors: &[(String, Vec<usize>, Elements)]) -> Vec<u8> {
    let mut out = Pickler(vec![0x80, 2]);
    out.ordered_dict();
    out.0.push(b'(');
    for (key, (name, shape, elements)) in tensors.iter().enumerate() {
        out.text(name);
        out.global("torch._utils", "_rebuild_tensor_v2");
        out.tuple(|out| {
            out.tuple(|out| {
                out.text("storage");
                out.global("torch", storage(elements));
                out.text(&key.to_string());
                out.text("cpu");
                out.int(elements.len());
            });
            // The persistent identifier of the storage becomes the storage.
            out.0.push(b'Q');
            out.int(0);
            out.tuple(|out| shape.iter().for_each(|&size| out.int(size)));
            out.tuple(|out| strides(shape).for_each(|stride| out.int(stride)));
            // requires_grad: False.
            out.0.push(0x89);
            out.ordered_dict();
        });
        out.0.push(b'R');
    }
    out.0.extend(b"u.");
    out.0
}

fn storage(elements: &Elements) -> &'static str {
    match elements {
        Elements::F32(_) => "FloatStorage",
        Elements::U32(_) | Elements::I64(_) => "LongStorage",
        Elements::U8(_) => "ByteStorage",
    }
}

/// The row-major strides of `shape`, in elements.
fn strides(shape: &[usize]) -> impl Iterator<Item = usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().map(|&size| size.max(1)).product())
}

/// The bytes of a pickle.
struct Pickler(Vec<u8>);

impl Pickler {
    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
    }

    fn int(&mut self, value: usize) {
        if let Ok(small) = i32::try_from(value) {
            self.0.push(b'J');
            self.0.extend(small.to_le_bytes());
        } else {
            self.0.extend([0x8a, 8]);
            self.0.extend((value as i64).to_le_bytes());
        }
    }

    fn tuple(&mut self, items: impl FnOnce(&mut Self)) {
        self.0.push(b'(');
        items(self);
        self.0.push(b't');
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend(b")R");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::state_file;
    use std::collections::BTreeMap;

    fn example() -> Checkpoint {
        let tensor = |name: &str, shape: &[usize], elements| (name.to_owned(), shape.to_vec(), elements);
        Checkpoint {
            tensors: vec![
                tensor("conv.weight", &[2, 1, 3], Elements::F32((0..6).map(|i| i as f32 - 2.5).collect())),
                tensor("a scalar", &[], Elements::F32(vec![7.0])),
                tensor("nothing", &[3, 0, 2], Elements::F32(Vec::new())),
                tensor("count", &[1], Elements::I64(vec![-(1 << 40)])),
                tensor("mask", &[4], Elements::U8(vec![0, 1, 254, 255])),
            ],
            metadata: BTreeMap::from([("recipe".to_owned(), "steps = 20\n\"é\"".to_owned())]),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.pt");
        let mut file = example();
        write(&path, &file).unwrap();
        let read = state_file::read(&path).unwrap();
        assert_eq!(read.facts.metadata, file.metadata);
        assert_eq!(read.facts.format, "PyTorch zip");
        let tensors = |file: &Checkpoint| {
            file.tensors
                .iter()
                .map(|(name, shape, elements)| (name.clone(), shape.clone(), elements.clone()))
                .collect::<Vec<_>>()
        };
        let found: Vec<_> =
            read.tensors.into_iter().map(|(name, array)| (name, array.shape, array.elements)).collect();
        assert_eq!(found, tensors(&file));
        let before = std::fs::read(&path).unwrap();
        write(&path, &file).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before, "equal contents");
        file.tensors[0].1 = vec![7];
        let error = write(&path, &file).unwrap_err().to_string();
        assert!(error.contains("conv.weight") && error.contains("[7]"), "{error}");
    }

    #[test]
    fn storages_are_aligned() {
        let mut out = std::io::Cursor::new(Vec::new());
        archive(&mut out, &example().tensors, b"{}").unwrap();
        let mut archive = zip::ZipArchive::new(out).unwrap();
        for key in 0..example().tensors.len() {
            let entry = archive.by_name(&format!("{FOLDER}/data/{key}")).unwrap();
            assert_eq!(entry.data_start().unwrap() % u64::from(ALIGNMENT), 0, "storage {key}");
        }
    }
}
