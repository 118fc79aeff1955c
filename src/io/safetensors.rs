//! Reads safetensors files tensor by tensor: the header is small, and the data are read directly into the result.
//!
//! Files of [`Checkpoint::save`](super::checkpoint::Checkpoint::save) have a checksum in their metadata, which is
//! verified; other files have none.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use flate2::{Crc, CrcReader};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::elements::{self, Array, ElementType};
use super::one_line;

/// The longest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// The metadata key of the checksum.
pub(super) const CHECKSUM: &str = "checksum";
/// The metadata key and value of files that must have a checksum. Otherwise damage to the checksum's key would go
/// unnoticed.
pub const FORMAT: (&str, &str) = ("format", "jem-checkpoint-2");
/// The formats that this version reads, and the beginning of the name of each.
const FORMATS: [&str; 2] = ["jem-checkpoint-1", FORMAT.1];
const FAMILY: &str = "jem-checkpoint-";

/// Name, type and shape of a tensor, and the CRC-32 of its bytes.
pub(super) type Summary<'a> = (&'a str, String, &'a [usize], u32);

/// The checksum of a file's contents, independent of their order: the CRC-32 of all `tensors` and `metadata`.
pub(super) fn checksum(mut tensors: Vec<Summary<'_>>, metadata: &BTreeMap<String, String>) -> String {
    tensors.sort_unstable();
    let rest: BTreeMap<_, _> = metadata.iter().filter(|(key, _)| *key != CHECKSUM).collect();
    let mut crc = Crc::new();
    crc.update(&serde_json::to_vec(&(tensors, rest)).expect("strings and integers are valid JSON"));
    format!("crc32 {:08x}", crc.sum())
}

/// Tensors by name, in the order of the file, and the metadata strings without the checksum.
pub type Contents = (Vec<(String, Array)>, BTreeMap<String, String>);

/// Whether a file of `length` bytes that begins with `start` looks like safetensors: the header's length, then a brace.
pub fn is_safetensors(start: &[u8; 9], length: u64) -> bool {
    let [header @ .., brace] = *start;
    u64::from_le_bytes(header).checked_add(8).is_some_and(|end| end <= length) && brace == b'{'
}

/// Reads a file of `length` bytes.
///
/// # Errors
/// A description of the first problem, or the tensor with an unsupported type.
pub fn read(reader: &mut (impl Read + Seek), length: u64) -> Result<Contents, String> {
    read_without(reader, length, &[])
}

/// Reads a file of `length` bytes as [`read`] does, without the tensors that `left_out` names. The checksum covers
/// their bytes too.
///
/// # Errors
/// The errors of [`read`].
pub fn read_without(
    reader: &mut (impl Read + Seek),
    length: u64,
    left_out: &[&str],
) -> Result<Contents, String> {
    contents(reader, length, left_out).map_err(one_line)
}

/// The names and shapes of the tensors of a file of `length` bytes, and its metadata strings without the checksum.
///
/// # Errors
/// A description of the first problem.
pub fn names(reader: &mut (impl Read + Seek), length: u64) -> Result<Names, String> {
    let (header, _) = header(reader, length).map_err(one_line)?;
    let mut names = Names::default();
    for name in header.offset_keys() {
        let info = header.info(&name).ok_or_else(|| one_line(format!("tensor {name} has no entry")))?;
        match element_type(info.dtype) {
            Some(_) => names.tensors.push((name, info.shape.clone())),
            None => names.unreadable.push((name, unsupported(info.dtype))),
        }
    }
    names.metadata = metadata(&header);
    names.metadata.remove(CHECKSUM);
    Ok(names)
}

/// The header of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Names and shapes, in the order of the file.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// The tensors of types that are not supported, with the reasons.
    pub unreadable: Vec<(String, String)>,
    /// The metadata strings without the checksum.
    pub metadata: BTreeMap<String, String>,
}

fn unsupported(kind: Dtype) -> String {
    format!("type {kind} is not supported; save it as F32")
}

/// The header, and the position of the data.
fn header(reader: &mut (impl Read + Seek), length: u64) -> Result<(Metadata, u64), String> {
    let mut size = [0; 8];
    if length < 8 {
        return Err(format!("its header is missing: {length} bytes"));
    }
    reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_exact(&mut size)).map_err(unreadable)?;
    let size = u64::from_le_bytes(size);
    let begin = size.checked_add(8).filter(|&begin| begin <= length && size <= MAX_HEADER);
    let begin = begin.ok_or_else(|| format!("its header has {size} bytes, the file {length}"))?;
    let mut header = vec![0; size as usize];
    reader.read_exact(&mut header).map_err(unreadable)?;
    let header =
        serde_json::from_slice(&header).map_err(|error| format!("its header is damaged: {error}"))?;
    Ok((header, begin))
}

fn metadata(header: &Metadata) -> BTreeMap<String, String> {
    header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn unreadable(error: std::io::Error) -> String {
    format!("cannot be read: {error}")
}

fn contents(reader: &mut (impl Read + Seek), length: u64, left_out: &[&str]) -> Result<Contents, String> {
    let (header, begin) = header(reader, length)?;
    let mut tensors = Vec::new();
    let mut sums = Vec::new();
    let mut end = begin;
    for name in header.offset_keys() {
        let info = header.info(&name).ok_or_else(|| format!("tensor {name} has no entry"))?;
        let kind =
            element_type(info.dtype).ok_or_else(|| format!("tensor {name}: {}", unsupported(info.dtype)))?;
        let count = elements::count(&info.shape);
        let bytes = count.and_then(|count| count.checked_mul(kind.bytes())).map(|bytes| bytes as u64);
        let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let fits = bytes.is_some_and(|bytes| from.checked_add(bytes) == Some(to) && bytes <= length - end);
        let (Some(count), true) = (count, fits && from == end - begin) else {
            return Err(format!(
                "tensor {name} {:?} of {} is to be bytes {from} to {to} of the data, which has {}; the file is \
                 truncated or damaged",
                info.shape,
                info.dtype,
                length - begin
            ));
        };
        let mut summed = CrcReader::new(&mut *reader);
        let failed = |error| format!("tensor {name} {}", unreadable(error));
        let elements = match left_out.contains(&name.as_str()) {
            true => {
                std::io::copy(&mut (&mut summed).take(to - from), &mut std::io::sink()).map_err(failed)?;
                None
            }
            false => Some(kind.read(&mut summed, count).map_err(failed)?),
        };
        sums.push((info.dtype.to_string(), summed.crc().sum()));
        end += to - from;
        tensors.push((name, info.shape.clone(), elements));
    }
    if end != length {
        return Err(format!("its tensors end at byte {end}, the file at {length}; it is damaged"));
    }
    let mut metadata = metadata(&header);
    let format = metadata.get(FORMAT.0).filter(|format| format.starts_with(FAMILY));
    if let Some(format) = format.filter(|format| !FORMATS.contains(&format.as_str())) {
        return Err(format!(
            "its format is {format}, and this version reads up to {}: a newer version wrote it, or it is damaged",
            FORMAT.1
        ));
    }
    let found = tensors.iter().zip(sums).map(|((name, shape, _), (kind, crc))| {
        let (name, shape): (&String, &Vec<usize>) = (name, shape);
        (name.as_str(), kind, shape.as_slice(), crc)
    });
    let found = checksum(found.collect(), &metadata);
    match metadata.remove(CHECKSUM) {
        Some(stated) if stated != found => {
            return Err(format!(
                "its checksum is to be {stated}, its contents have {found}: it is damaged, or was changed by a \
                 program that kept the metadata {CHECKSUM} and {} of the old contents",
                FORMAT.0
            ));
        }
        None if metadata.get(FORMAT.0).is_some_and(|format| format == FORMAT.1) => {
            return Err(format!("its checksum is missing, which {} has: it is damaged", FORMAT.1));
        }
        _ => {}
    }
    let kept = |(name, shape, elements): (String, Vec<usize>, Option<_>)| {
        Some((name, Array { shape, elements: elements? }))
    };
    Ok((tensors.into_iter().filter_map(kept).collect(), metadata))
}

fn element_type(dtype: Dtype) -> Option<ElementType> {
    Some(match dtype {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U16 => ElementType::U16,
        Dtype::U32 => ElementType::U32,
        Dtype::U8 | Dtype::BOOL => ElementType::U8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_type_that_is_not_supported_is_listed_with_the_reason() {
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"C64","shape":[1],"data_offsets":[4,12]},"__metadata__":{"note":"n","checksum":"c"}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 12]].concat();
        let names = names(&mut Cursor::new(&bytes), bytes.len() as u64).unwrap();
        assert_eq!(names.tensors, [("a".to_owned(), vec![1])]);
        assert_eq!(
            names.unreadable,
            [("b".to_owned(), "type C64 is not supported; save it as F32".to_owned())]
        );
        assert_eq!(names.metadata, BTreeMap::from([("note".to_owned(), "n".to_owned())]));
        let message = read(&mut Cursor::new(&bytes), bytes.len() as u64).unwrap_err();
        assert_eq!(message, "tensor b: type C64 is not supported; save it as F32");
    }
}
