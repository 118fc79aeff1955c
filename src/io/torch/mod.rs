//! Files of `torch.save`: the zip format (PyTorch 1.6 and later) and the legacy one.
//!
//! Both hold a pickle ([`pickle`]) of nested dictionaries with tensors, which are views of storages, and the
//! storages' data. Nothing in a file is run; what is read and allocated is bounded by the file's length.

mod legacy;
pub mod pickle;
mod storages;
mod zip;

use std::io::{Read, Seek, SeekFrom};

use super::elements::Array;
use pickle::{Id, Pickle, Value};
use storages::Storages;

/// The keys under which people put a state dict, in the order in which they are looked for.
const KEYS: [&str; 6] = ["model_state_dict", "state_dict", "model", "net", "network", "weights"];
/// The key of a JEM's chains.
const REPLAY_BUFFER: &str = "replay_buffer";
/// Prefixes that wrappers put before every name: `DataParallel`, `torch.compile`.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

/// What a file of `torch.save` holds.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchFile {
    /// Which of the formats it is.
    pub format: &'static str,
    /// The state dict, in its order.
    pub tensors: Vec<(String, Array)>,
    /// The tensor `replay_buffer` beside it.
    pub replay_buffer: Option<Array>,
    /// The key that the state dict was under; `None`: it was the whole.
    pub key: Option<String>,
    /// Numbers and strings beside it, as text.
    pub scalars: Vec<(String, String)>,
    /// Entries beside it that were left out, such as an optimizer's.
    pub ignored: Vec<String>,
}

/// Whether a file that begins with `start` is one of `torch.save`.
pub fn is_torch(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(&[0x80])
}

/// Reads a file of `length` bytes.
///
/// # Errors
/// What is wrong with it, or what it asks for that a state dict does not need.
pub fn read(reader: &mut (impl Read + Seek), length: u64) -> Result<TorchFile, String> {
    let mut start = [0; 4];
    let head = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_exact(&mut start));
    head.map_err(|error| format!("cannot be read: {error}"))?;
    if start == *b"PK\x03\x04" {
        let (pickle, archive) = zip::open(reader, length)?;
        return collect("PyTorch zip", &pickle, Storages::new(archive));
    }
    let (pickle, data) = legacy::open(reader, length)?;
    collect("PyTorch legacy", &pickle, Storages::new(data))
}

/// Takes the state dict and what is beside it out of the pickle.
fn collect(
    format: &'static str,
    pickle: &Pickle,
    mut storages: Storages<impl storages::Source>,
) -> Result<TorchFile, String> {
    let (key, dict) = find(pickle)?;
    let mut file = TorchFile {
        format,
        tensors: Vec::new(),
        replay_buffer: None,
        key: key.map(str::to_owned),
        scalars: Vec::new(),
        ignored: Vec::new(),
    };
    let mut wanted: Vec<(String, Id)> = Vec::new();
    for (name, id) in pickle.entries(dict) {
        match pickle.get(id) {
            Value::Tensor(_) => wanted.push((name.to_owned(), id)),
            _ => file.ignored.push(name.to_owned()),
        }
    }
    strip_prefix(&mut wanted);
    if key.is_some() {
        for (name, id) in pickle.entries(pickle.root).filter(|(name, _)| Some(*name) != key) {
            match pickle.get(id) {
                Value::Tensor(_) if name == REPLAY_BUFFER => wanted.push((name.to_owned(), id)),
                other => match scalar(other) {
                    Some(text) => file.scalars.push((name.to_owned(), text)),
                    None => file.ignored.push(name.to_owned()),
                },
            }
        }
    }
    let mut names = std::collections::HashSet::new();
    if let Some((name, _)) = wanted.iter().find(|(name, _)| !names.insert(name.as_str())) {
        return Err(format!("two tensors are called {name}"));
    }
    let ids: Vec<Id> = wanted.iter().map(|(_, id)| *id).collect();
    let arrays = storages.arrays(pickle, &ids, |index| wanted[index].0.as_str())?;
    for ((name, _), array) in wanted.into_iter().zip(arrays) {
        match name == REPLAY_BUFFER && key.is_some() {
            true => file.replay_buffer = Some(array),
            false => file.tensors.push((name, array)),
        }
    }
    Ok(file)
}

/// The dictionary of tensors, and the key that it is under.
fn find(pickle: &Pickle) -> Result<(Option<&'static str>, Id), String> {
    let has_tensors = |id: Id| pickle.entries(id).any(|(_, id)| matches!(pickle.get(id), Value::Tensor(_)));
    for key in KEYS {
        let entry = pickle.entries(pickle.root).find(|(name, id)| *name == key && has_tensors(*id));
        if let Some((_, id)) = entry {
            return Ok((Some(key), id));
        }
    }
    if has_tensors(pickle.root) {
        return Ok((None, pickle.root));
    }
    let names: Vec<&str> = pickle.entries(pickle.root).map(|(name, _)| name).take(8).collect();
    let found = if names.is_empty() {
        "something else".into()
    } else {
        format!("a dictionary of {}", names.join(", "))
    };
    Err(format!("expected a state dict, bare or under {}, found {found}", KEYS.join(", ")))
}

/// Takes a wrapper's prefix off, if every name has it.
fn strip_prefix(tensors: &mut [(String, Id)]) {
    for prefix in PREFIXES {
        if !tensors.is_empty() && tensors.iter().all(|(name, _)| name.starts_with(prefix)) {
            tensors.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
        }
    }
}

/// A number or a short string as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Text(text) if text.len() <= 200 && !text.contains('\n') => Some(text.clone()),
        _ => None,
    }
}
