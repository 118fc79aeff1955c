//! An interpreter for the pickles of state dicts. It runs no code.
//!
//! A pickle is a program for a stack machine, whose `GLOBAL` and `REDUCE` call any Python function by name. Here a
//! global is only a name; the few that state dicts use are rebuilt by hand, and any other is refused by name. Values
//! are in an arena and refer to each other by number, so a cyclic value costs nothing and dropping a value does not
//! recurse. Every instruction adds at most one value, copies are counted, a pickle is at most [`MAX_BYTES`] long and
//! holds at most [`MAX_VALUES`], so time and memory are bounded.

mod globals;
mod machine;

use machine::Machine;

/// The longest pickle in bytes: enough for the names and shapes of more than ten thousand tensors.
pub const MAX_BYTES: usize = 4 << 20;
/// The maximum number of values of a pickle, and of entries of its stack and its memo; a tensor and its name take 20.
pub const MAX_VALUES: usize = 1 << 20;
/// The longest key of a dictionary, in bytes.
const MAX_NAME: usize = 1000;

/// The index of a value in its [`Pickle`].
pub type Id = usize;

/// A value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of up to 16 bytes.
    Int(i128),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A tuple, a list or a set.
    Sequence(Vec<Id>),
    /// A dictionary, in its own order.
    Dict(Vec<(Id, Id)>),
    /// The name of a class or function; it is never called.
    Global(String),
    /// The type of a NumPy number: its code, such as `f8`, and whether its bytes are in big-endian order.
    NumpyType(Id, bool),
    /// The memory of tensors.
    Storage(Box<Storage>),
    /// A view of a storage.
    Tensor(Box<Tensor>),
    /// A harmless object that no tensor needs, such as a device.
    Other,
}

/// A storage, identified by its key in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The class, such as `FloatStorage`.
    pub class: String,
    /// The key of its data.
    pub key: String,
    /// The number of elements.
    pub elements: u64,
}

/// A tensor's view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The value of the storage.
    pub storage: Id,
    /// The index of the first element in the storage.
    pub offset: u64,
    /// The sizes, outermost first.
    pub shape: Vec<u64>,
    /// The distance in elements from one index to the next, for each axis.
    pub strides: Vec<u64>,
}

/// The values of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub struct Pickle {
    values: Vec<Value>,
    /// The value that the pickle represents.
    pub root: Id,
}

impl Pickle {
    /// The value with index `id`.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// All values, in the order of their creation.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value under `key` in a dictionary; the last one, as in Python.
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        self.entries(id).filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// The entries of a dictionary that have string keys.
    pub fn entries(&self, id: Id) -> impl Iterator<Item = (&str, Id)> {
        let pairs = match self.get(id) {
            Value::Dict(pairs) => pairs.as_slice(),
            _ => &[],
        };
        pairs.iter().filter_map(|&(key, value)| match self.get(key) {
            Value::Text(key) => Some((key.as_str(), value)),
            _ => None,
        })
    }
}

/// Interprets the pickle at the beginning of `bytes`; returns it and its length.
///
/// # Errors
/// A description of the content that a state dict does not need, or of the damage.
pub fn read(bytes: &[u8]) -> Result<(Pickle, usize), String> {
    let limit = bytes.len().min(MAX_BYTES);
    let mut machine = Machine::new(&bytes[..limit]);
    let root = machine.run().map_err(|message| {
        let cut = machine.at >= limit && bytes.len() > MAX_BYTES;
        if cut { format!("the pickle is longer than {MAX_BYTES} bytes") } else { message }
    })?;
    let length = machine.at;
    Ok((Pickle { values: machine.values, root }, length))
}

/// The beginning of a name, for a one-line message.
fn clip(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
