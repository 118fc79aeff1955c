//! The format of `torch.save` before PyTorch 1.6: five pickles, then for each storage its number of elements and its
//! data.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::pickle::{self, Pickle, Value};
use super::storages::{Source, element_bytes, unreadable};
use crate::io::elements::{ElementType, Elements};

/// The integer at the beginning of the file, as a pickle.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// The beginning of the file in pickle protocol 1, which writes the integer as text.
pub const MAGIC_TEXT: &[u8] = b"L11954703";
/// The version that follows the integer.
const VERSION: i128 = 1001;

/// The data of the storages of a file.
pub struct Data<R> {
    reader: R,
    /// The position of the elements of each key, and their size in bytes.
    places: HashMap<String, (u64, u64)>,
}

/// Reads the pickles and finds the storages.
pub fn open<R: Read + Seek>(mut reader: R, length: u64) -> Result<(Pickle, Data<R>), String> {
    // Read the first 12 MiB: most pickles are short, while the storages behind them may be long.
    let parsed = pickles(&mut reader, 12 << 20);
    let (object, keys, at) = match parsed {
        Err(_) if length > 12 << 20 => pickles(&mut reader, 3 * pickle::MAX_BYTES as u64)?,
        parsed => parsed?,
    };
    let places = places(&mut reader, &object, &keys, at as u64, length)?;
    Ok((object, Data { reader, places }))
}

/// The pickles of the object and of the list of its storages, and where they end, within the first `room` bytes.
fn pickles<R: Read + Seek>(reader: &mut R, room: u64) -> Result<(Pickle, Pickle, usize), String> {
    let mut start = Vec::new();
    let read =
        reader.seek(SeekFrom::Start(0)).and_then(|_| reader.by_ref().take(room).read_to_end(&mut start));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let mut at = 0;
    let mut next = || {
        let (pickle, used) = pickle::read(&start[at..])?;
        at += used;
        Ok::<_, String>(pickle)
    };
    let magic = next().ok();
    if magic.is_none_or(|pickle| *pickle.get(pickle.root) != Value::Int(MAGIC)) {
        return Err(
            "is a pickle, but not one of torch.save; load it with Python's pickle and torch.save it".into()
        );
    }
    let version = next()?;
    if *version.get(version.root) != Value::Int(VERSION) {
        return Err(format!("expected version {VERSION} of torch.save's legacy format"));
    }
    let system = next()?;
    let little = system.entry(system.root, "little_endian");
    if little.is_some_and(|id| *system.get(id) == Value::Bool(false)) {
        return Err("was saved on a big-endian machine; save it again on another".into());
    }
    let (object, keys) = (next()?, next()?);
    Ok((object, keys, at))
}

/// Finds the data of the storages: for each key of `keys`, in order, eight bytes with the number of elements, then the
/// elements.
fn places<R: Read + Seek>(
    reader: &mut R,
    object: &Pickle,
    keys: &Pickle,
    begin: u64,
    length: u64,
) -> Result<HashMap<String, (u64, u64)>, String> {
    let Value::Sequence(ids) = keys.get(keys.root) else { return Err("has no list of storages".into()) };
    // The element size of each storage, in bytes; unknown for a storage that no tensor views.
    let mut sizes: HashMap<&str, u64> = HashMap::new();
    for value in object.values() {
        // The first of a key is that of the persistent id.
        if let Value::Storage(storage) = value
            && let Some(size) = element_bytes(&storage.class)
        {
            sizes.entry(&storage.key).or_insert(size);
        }
    }
    let mut places = HashMap::new();
    let mut at = begin;
    for &id in ids {
        let Value::Text(key) = keys.get(id) else { return Err("a storage's key is no string".into()) };
        let size = sizes.get(key.as_str()).ok_or_else(|| {
            let key: String = key.chars().take(64).collect();
            format!("the type of storage {key:?} is not known or not supported")
        })?;
        let mut count = [0; 8];
        let read = reader.seek(SeekFrom::Start(at)).and_then(|_| reader.read_exact(&mut count));
        read.map_err(|error| unreadable(key, &error))?;
        let count = u64::from_le_bytes(count);
        let bytes = count.checked_mul(*size).filter(|&bytes| bytes <= length.saturating_sub(at + 8));
        let bytes = bytes.ok_or_else(|| {
            format!(
                "storage {key} has {count} elements, but the file ends {} bytes behind",
                length.saturating_sub(at + 8)
            )
        })?;
        if places.insert(key.clone(), (at + 8, bytes)).is_some() {
            return Err(format!("storage {key} is there twice"));
        }
        at += 8 + bytes;
    }
    Ok(places)
}

impl<R: Read + Seek> Source for Data<R> {
    fn bytes(&mut self, key: &str) -> Result<u64, String> {
        self.places.get(key).map(|&(_, bytes)| bytes).ok_or_else(|| format!("there is no storage {key}"))
    }

    fn read(&mut self, key: &str, kind: ElementType, count: usize) -> Result<Elements, String> {
        let &(at, _) = self.places.get(key).ok_or_else(|| format!("there is no storage {key}"))?;
        let read = self.reader.seek(SeekFrom::Start(at)).and_then(|_| kind.read(&mut self.reader, count));
        read.map_err(|error| unreadable(key, &error))
    }
}
