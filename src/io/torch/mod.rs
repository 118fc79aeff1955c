//! Files of `torch.save`: the zip format (PyTorch 1.6 and later) and the legacy one.
//!
//! Both hold a pickle ([`pickle`]) of nested dictionaries with tensors, which are views of storages, and the data of
//! the storages. No code of a file is run; reads and allocations are bounded by the length of the file.

mod legacy;
pub mod pickle;
mod storages;
mod zip;

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

use super::elements::Array;
use pickle::{Id, Pickle, Value};
use storages::Storages;

/// The usual keys of a state dict, in the order in which they are tried.
const KEYS: [&str; 6] = ["model_state_dict", "state_dict", "model", "net", "network", "weights"];
/// The key of the chains of a JEM.
const REPLAY_BUFFER: &str = "replay_buffer";
/// The maximum number of scalars, and of ignored entries, that are reported.
const MAX_FACTS: usize = 100;

/// The contents of a file of `torch.save`.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchFile {
    /// The name of the format.
    pub format: &'static str,
    /// The state dict, in its own order.
    pub tensors: Vec<(String, Array)>,
    /// The tensor `replay_buffer`, in the state dict or beside it.
    pub replay_buffer: Option<Array>,
    /// The key of the state dict; `None`: it was the whole pickle.
    pub key: Option<String>,
    /// Numbers and strings beside the state dict, as text, then tensors with one number: the first 100.
    pub scalars: Vec<(String, String)>,
    /// Ignored entries in or beside the state dict, such as an optimizer's: the first 100.
    pub ignored: Vec<String>,
}

/// Whether a file that begins with `start` is from `torch.save`.
pub fn is_torch(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(&[0x80]) || start.starts_with(legacy::MAGIC_TEXT)
}

/// Whether a file is a tar archive, the format of `torch.save` before PyTorch 0.2.
pub fn is_tar(reader: &mut (impl Read + Seek)) -> bool {
    let mut magic = [0; 5];
    let read = reader.seek(SeekFrom::Start(257)).and_then(|_| reader.read_exact(&mut magic));
    read.is_ok() && magic == *b"ustar"
}

/// Reads a file of `length` bytes.
///
/// # Errors
/// A description of the first problem, or of content that a state dict does not need.
pub fn read(reader: &mut (impl Read + Seek), length: u64) -> Result<TorchFile, String> {
    let mut start = [0; 4];
    let head = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_exact(&mut start));
    head.map_err(|error| format!("cannot be read: {error}"))?;
    if start == *b"PK\x03\x04" {
        let (pickle, archive) = zip::open(reader)?;
        return collect("PyTorch zip", &pickle, Storages::new(archive));
    }
    let (pickle, data) = legacy::open(reader, length)?;
    collect("PyTorch legacy", &pickle, Storages::new(data))
}

/// The use of a tensor.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Parameter,
    ReplayBuffer,
    Scalar,
}

/// Extracts the state dict and the values beside it from the pickle.
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
    let mut wanted: Vec<(&str, Id, Role)> = Vec::new();
    for (name, id) in pickle.entries(dict) {
        match pickle.get(id) {
            Value::Tensor(_) if name == REPLAY_BUFFER => wanted.push((name, id, Role::ReplayBuffer)),
            Value::Tensor(_) => wanted.push((name, id, Role::Parameter)),
            _ => file.ignore(name),
        }
    }
    let beside = pickle.entries(pickle.root).filter(|(name, _)| key.is_some_and(|key| key != *name));
    for (name, id) in beside {
        match pickle.get(id) {
            Value::Tensor(_) if name == REPLAY_BUFFER => wanted.push((name, id, Role::ReplayBuffer)),
            Value::Tensor(tensor) if is_number(pickle, tensor) => wanted.push((name, id, Role::Scalar)),
            other => match scalar(other) {
                Some(text) => file.tell(name, text),
                None => file.ignore(name),
            },
        }
    }
    let mut names = HashSet::new();
    if let Some((name, ..)) =
        wanted.iter().find(|(name, _, role)| !names.insert((*name, *role == Role::Scalar)))
    {
        return Err(format!("two tensors are called {name:?}"));
    }
    let ids: Vec<Id> = wanted.iter().map(|&(_, id, _)| id).collect();
    let arrays = storages.arrays(pickle, &ids, |index| wanted[index].0)?;
    for ((name, _, role), array) in wanted.into_iter().zip(arrays) {
        match role {
            Role::Parameter => file.tensors.push((name.to_owned(), array)),
            Role::ReplayBuffer => file.replay_buffer = Some(array),
            Role::Scalar => file.tell(name, array.elements.first().unwrap_or_default()),
        }
    }
    Ok(file)
}

impl TorchFile {
    fn tell(&mut self, name: &str, text: String) {
        if self.scalars.len() < MAX_FACTS {
            self.scalars.push((name.to_owned(), text));
        }
    }

    fn ignore(&mut self, name: &str) {
        if self.ignored.len() < MAX_FACTS {
            self.ignored.push(name.to_owned());
        }
    }
}

/// The dictionary of tensors, and its key.
fn find(pickle: &Pickle) -> Result<(Option<&'static str>, Id), String> {
    let has_tensors = |id: Id| pickle.entries(id).any(|(_, id)| matches!(pickle.get(id), Value::Tensor(_)));
    for key in KEYS {
        if let Some(id) = pickle.entry(pickle.root, key).filter(|&id| has_tensors(id)) {
            return Ok((Some(key), id));
        }
    }
    if has_tensors(pickle.root) {
        return Ok((None, pickle.root));
    }
    let names: Vec<String> =
        pickle.entries(pickle.root).map(|(name, _)| name.escape_debug().to_string()).take(8).collect();
    let found = match (names.is_empty(), pickle.get(pickle.root)) {
        (false, _) => format!("a dictionary of {}", names.join(", ")),
        (true, Value::Tensor(_)) => "a single tensor".into(),
        (true, Value::Dict(_)) => "a dictionary without names".into(),
        (true, Value::Sequence(_)) => "a list".into(),
        _ => "something else".into(),
    };
    Err(format!("expected a state dict, bare or under {}, found {found}", KEYS.join(", ")))
}

/// Whether a tensor has a storage of its own with one number.
fn is_number(pickle: &Pickle, tensor: &pickle::Tensor) -> bool {
    let Value::Storage(storage) = pickle.get(tensor.storage) else { return false };
    storage.elements == 1
        && tensor.shape.iter().all(|&size| size == 1)
        && storages::element_type(&storage.class).is_ok()
}

/// A number or a short string as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Text(text) if text.len() <= 200 && !text.contains(char::is_control) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
