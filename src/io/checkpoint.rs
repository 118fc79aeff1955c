//! Named tensors and string metadata in safetensors files.
//!
//! Equal contents make identical files: names are sorted, also those of the metadata, which the safetensors crate's own
//! writer does not sort. Tensors with wider elements come first, so that all are aligned; the header is padded to 8
//! bytes. A checksum of everything is stored as one more metadata string, so other programs can open the file, and
//! damage is detected when it is loaded.

mod rotation;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, BufReader, Write};
use std::path::Path;

use flate2::CrcWriter;
use serde_json::{Map, Value, json};

use super::atomic;
use super::elements::Elements;
use super::safetensors;
use crate::error::{Error, Result};
pub use rotation::{list_numbered, numbered, rotate};

/// The contents of a checkpoint file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// Name, shape and elements of each tensor; names are unique, and [`Checkpoint::load`] sorts them.
    pub tensors: Vec<(String, Vec<usize>, Elements)>,
    /// The metadata strings by key, without the checksum.
    pub metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Adds a tensor of floats.
    pub fn push_f32(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f32>) {
        self.tensors.push((name.into(), shape.to_vec(), Elements::F32(values)));
    }

    /// Writes the file atomically: a crash leaves the old file or the complete new one.
    ///
    /// # Errors
    /// [`Error::File`] for two tensors with the same name or a shape that does not match its elements; [`Error::Io`]
    /// when writing fails.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut sorted: Vec<_> = self.tensors.iter().collect();
        sorted.sort_by(|a, b| b.2.element_bytes().cmp(&a.2.element_bytes()).then(a.0.cmp(&b.0)));
        let header = header(path, &sorted, &self.metadata)?;
        atomic::write(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            sorted.iter().try_for_each(|(_, _, data)| data.write(file))
        })
    }

    /// Reads a file that [`Checkpoint::save`] (or any safetensors writer) wrote.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::File`] when it is not a complete safetensors file, its checksum
    /// (if it has one) does not match, or a tensor has a type that [`ElementType`](super::elements::ElementType) lacks.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_without(path, &[])
    }

    /// Reads a file as [`Checkpoint::load`] does, without the tensors that `left_out` names: their bytes are verified
    /// but not kept.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::load`].
    pub fn load_without(path: &Path, left_out: &[&str]) -> Result<Self> {
        let file = fs::File::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let read = safetensors::read_without(&mut BufReader::new(file), length, left_out);
        let (tensors, metadata) = read.map_err(|message| {
            Error::file(
                path,
                format!(
                    "expected a whole safetensors file, found {length} bytes that are not one ({message}); use an \
                     older checkpoint"
                ),
            )
        })?;
        let mut tensors: Vec<_> =
            tensors.into_iter().map(|(name, array)| (name, array.shape, array.elements)).collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { tensors, metadata })
    }

    /// The floats of tensor `name`, which must have shape `shape`. `path`, the file of the checkpoint, is for the
    /// message.
    ///
    /// # Errors
    /// [`Error::File`] when the tensor is missing or has another shape or type.
    pub fn f32(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&[f32]> {
        match self.find(path, name, shape, "F32")? {
            Elements::F32(values) => Ok(values),
            other => Err(wrong_type(path, name, "F32", other)),
        }
    }

    /// The integers of tensor `name`; see [`Checkpoint::f32`].
    ///
    /// # Errors
    /// [`Error::File`] when the tensor is missing or has another shape or type.
    pub fn u32(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&[u32]> {
        match self.find(path, name, shape, "U32")? {
            Elements::U32(values) => Ok(values),
            other => Err(wrong_type(path, name, "U32", other)),
        }
    }

    /// The bytes of tensor `name`; see [`Checkpoint::f32`].
    ///
    /// # Errors
    /// [`Error::File`] when the tensor is missing or has another shape or type.
    pub fn u8(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&[u8]> {
        match self.find(path, name, shape, "U8")? {
            Elements::U8(values) => Ok(values),
            other => Err(wrong_type(path, name, "U8", other)),
        }
    }

    /// The metadata string `key`.
    ///
    /// # Errors
    /// [`Error::File`] when there is none.
    pub fn text(&self, path: &Path, key: &str) -> Result<&str> {
        self.metadata.get(key).map(String::as_str).ok_or_else(|| {
            let found = list(self.metadata.keys().map(String::as_str));
            Error::file(path, format!("expected metadata {key}, found {found}"))
        })
    }

    fn find(&self, path: &Path, name: &str, shape: &[usize], kind: &str) -> Result<&Elements> {
        let Some((_, found, data)) = self.tensors.iter().find(|tensor| tensor.0 == name) else {
            let names = list(self.tensors.iter().map(|tensor| tensor.0.as_str()));
            return Err(Error::file(path, format!("expected tensor {name} {kind}{shape:?}, found {names}")));
        };
        if found != shape {
            let type_name = data.type_name();
            return Err(Error::file(
                path,
                format!(
                    "tensor {name}: expected {kind}{shape:?}, found {type_name}{found:?}; it was written by \
                     another network or recipe"
                ),
            ));
        }
        Ok(data)
    }
}

fn wrong_type(path: &Path, name: &str, expected: &str, found: &Elements) -> Error {
    Error::file(path, format!("tensor {name}: expected type {expected}, found {}", found.type_name()))
}

/// The first few names and the number of the others.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 6;
    let count = names.len();
    let shown: Vec<_> = names.take(SHOWN).collect();
    match count {
        0 => "none".into(),
        _ if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

/// The JSON header, padded with spaces to a multiple of 8 bytes.
fn header(
    path: &Path,
    sorted: &[&(String, Vec<usize>, Elements)],
    metadata: &BTreeMap<String, String>,
) -> Result<String> {
    let mut entries: BTreeMap<&str, Value> = BTreeMap::new();
    let mut names = HashSet::new();
    let mut offset = 0;
    for (name, shape, data) in sorted {
        if name == "__metadata__" || !names.insert(name) {
            return Err(Error::file(path, format!("tensor {name}: the name is reserved or given twice")));
        }
        let expected: usize = shape.iter().product();
        if expected != data.len() {
            return Err(Error::file(
                path,
                format!(
                    "tensor {name}: shape {shape:?} has {expected} elements, but {} were given",
                    data.len()
                ),
            ));
        }
        let end = offset + data.len() * data.element_bytes();
        entries
            .insert(name, json!({"dtype": data.type_name(), "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let sums = sorted.iter().map(|(name, shape, data)| {
        let mut sum = CrcWriter::new(io::sink());
        data.write(&mut sum).expect("a sink takes everything");
        (name.as_str(), data.type_name().to_owned(), shape.as_slice(), sum.crc().sum())
    });
    let checksum = safetensors::checksum(sums.collect(), metadata);
    let mut strings: Map<String, Value> =
        metadata.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    strings.insert(safetensors::CHECKSUM.into(), checksum.into());
    entries.insert("__metadata__", Value::Object(strings));
    let mut text = serde_json::to_string(&entries).expect("strings and integers are valid JSON");
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn example() -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.tensors.push(("labels".into(), vec![3], Elements::U8(vec![1, 255, 0])));
        checkpoint.push_f32("conv.weight", &[2, 1, 2], vec![1.0, -0.0, f32::MIN_POSITIVE / 4.0, 3e38]);
        checkpoint.tensors.push(("counter".into(), vec![], Elements::U32(vec![u32::MAX])));
        checkpoint.tensors.push(("batches".into(), vec![2], Elements::I64(vec![i64::MIN, 7])));
        for key in ["recipe", "iteration", "a \"quoted\"\nkey", "ü"] {
            checkpoint.metadata.insert(key.into(), format!("value of {key}"));
        }
        checkpoint
    }

    #[test]
    fn what_was_saved_comes_back_and_the_bytes_do_not_depend_on_the_order() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) =
            (directory.path().join("a.safetensors"), directory.path().join("b.safetensors"));
        let checkpoint = example();
        checkpoint.save(&first).unwrap();
        let loaded = Checkpoint::load(&first).unwrap();
        assert_eq!(loaded.metadata, checkpoint.metadata);
        assert_eq!(loaded.tensors.len(), 4);
        for tensor in &checkpoint.tensors {
            assert!(loaded.tensors.contains(tensor), "{tensor:?}");
        }
        // -0.0 == 0.0, so check the bits of the sign.
        let weight = loaded.f32(&first, "conv.weight", &[2, 1, 2]).unwrap();
        assert_eq!(weight[1].to_bits(), (-0.0f32).to_bits());
        assert_eq!(loaded.u32(&first, "counter", &[]).unwrap(), [u32::MAX]);
        assert_eq!(loaded.u8(&first, "labels", &[3]).unwrap(), [1, 255, 0]);
        loaded.save(&second).unwrap();
        let bytes = fs::read(&first).unwrap();
        assert_eq!(bytes, fs::read(&second).unwrap());
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(header % 8, 0);
    }

    #[test]
    fn errors_name_the_tensor_and_both_sides() {
        let path = Path::new("run/last.safetensors");
        let checkpoint = example();
        let message = checkpoint.f32(path, "conv.weight", &[2, 2]).unwrap_err().to_string();
        for part in ["run/last.safetensors", "conv.weight", "expected F32[2, 2]", "found F32[2, 1, 2]"] {
            assert!(message.contains(part), "{message}");
        }
        let message = checkpoint.f32(path, "counter", &[]).unwrap_err().to_string();
        assert!(message.contains("counter: expected type F32, found U32"), "{message}");
        let message = checkpoint.u8(path, "bias", &[1]).unwrap_err().to_string();
        assert!(message.contains("expected tensor bias U8[1], found labels, conv.weight"), "{message}");
        let message = checkpoint.text(path, "seed").unwrap_err().to_string();
        assert!(message.contains("seed") && message.contains("iteration"), "{message}");
    }

    #[test]
    fn damaged_and_impossible_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.safetensors");
        example().save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        for cut in [0, 7, 40, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            let message = Checkpoint::load(&path).unwrap_err().to_string();
            assert!(
                message.contains("c.safetensors") && message.contains(&format!("{cut} bytes")),
                "{message}"
            );
        }
        let mut twice = example();
        twice.push_f32("labels", &[1], vec![0.0]);
        assert!(twice.save(&path).unwrap_err().to_string().contains("labels"));
        let mut short = example();
        short.push_f32("bias", &[3], vec![0.0]);
        assert!(short.save(&path).unwrap_err().to_string().contains("[3] has 3 elements, but 1"));
    }

    #[test]
    fn a_tensor_that_is_left_out_is_verified() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.safetensors");
        example().save(&path).unwrap();
        let read = Checkpoint::load_without(&path, &["labels"]).unwrap();
        let mut expected = Checkpoint::load(&path).unwrap();
        expected.tensors.retain(|(name, ..)| name != "labels");
        assert_eq!(read, expected);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(3).rposition(|bytes| bytes == [1, 255, 0]).unwrap();
        bytes[at] ^= 2;
        fs::write(&path, &bytes).unwrap();
        let message = Checkpoint::load_without(&path, &["labels"]).unwrap_err().to_string();
        assert!(message.contains("checksum is to be crc32"), "{message}");
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.safetensors");
        let mut checkpoint = example();
        checkpoint.metadata.insert(safetensors::FORMAT.0.into(), safetensors::FORMAT.1.into());
        checkpoint.save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = safetensors::read(&mut io::Cursor::new(&bytes), bytes.len() as u64);
            assert!(read.is_err(), "bit {} of byte {}", bit % 8, bit / 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        // Damage the last float, little endian: the header is still valid.
        let last = bytes.len() - 4;
        bytes[last] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let message = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(
            message.contains("d.safetensors") && message.contains("checksum is to be crc32"),
            "{message}"
        );
    }

    #[test]
    fn files_of_other_programs_have_no_checksum() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("e.safetensors");
        let header = r#"{"__metadata__":{"format":"jem-checkpoint-1"},"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([7, 8]);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap().u8(&path, "x", &[2]).unwrap(), [7, 8]);
        // The safetensors crate opens our file.
        example().save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.tensor("labels").unwrap().data(), [1, 255, 0]);
    }
}
