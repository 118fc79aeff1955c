//! An interpreter for pickles, mostly those of state dicts. It runs no code.
//!
//! A pickle is a program for a stack machine, whose `GLOBAL` and `REDUCE` call any Python function by name. Here a
//! global is only a name. The few that tensors and NumPy arrays use are rebuilt by hand; the result of any other is an
//! opaque [`Object`], which records the name, the arguments and the state. Values are in an arena and refer to each
//! other by number, so a cyclic value costs nothing and dropping a value does not recurse. Every instruction adds at
//! most three values, copies are counted, and [`Limits`] bound the length of a pickle and the number of its values, so
//! time and memory are bounded. Long lists of plain numbers do not count: once a list or a dictionary has
//! [`Limits::numbers`] items, further plain numbers that nothing else refers to are dropped as they are added.

mod arrays;
mod globals;
mod literals;
mod machine;
mod objects;

use machine::Machine;

/// The longest pickle of a checkpoint in bytes: enough for the names and shapes of more than ten thousand tensors, and
/// for a replay buffer of 10,000 images as a NumPy array, which is a part of the pickle.
pub const MAX_BYTES: usize = 256 << 20;
/// The maximum number of values of a pickle, and of entries of its stack and its memo; a tensor and its name take 20.
pub const MAX_VALUES: usize = 1 << 22;
/// The most memory, in bytes, that a pickle takes besides its own bytes, a copy of its strings, and the axes and
/// names of its tensors.
pub const MAX_MEMORY: usize = 1 << 30;
/// The number of items, more than a shape has, after which a list or a dictionary of a checkpoint keeps no more plain
/// numbers, such as the losses of all steps.
pub const MAX_NUMBERS: usize = 1000;
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
    /// A NumPy array.
    Array(Box<NumpyArray>),
    /// An object of a class that is not rebuilt, or the result of a function that is not called.
    Object(Box<Object>),
    /// A value that nothing needs, such as an integer of more than 16 bytes.
    Other,
}

/// An opaque object: the class or function that would make it, and the data that it would get. Nothing is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The class or function: a [`Value::Global`], or another object.
    pub class: Id,
    /// The arguments, a [`Value::Sequence`].
    pub arguments: Id,
    /// The state, usually a dictionary of attributes.
    pub state: Option<Id>,
    /// The entries, if the class is a kind of dictionary.
    pub items: Vec<(Id, Id)>,
}

/// A NumPy array; [`Pickle::array`] decodes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumpyArray {
    /// The type of the elements, a [`Value::NumpyType`].
    pub kind: Id,
    /// The sizes, outermost first.
    pub shape: Vec<u64>,
    /// Whether the first index is the fastest.
    pub fortran: bool,
    /// The elements, [`Value::Bytes`] or a string of Python 2; `None` before the state of the array is set.
    pub data: Option<Id>,
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
    /// Whether it is a part of another storage, as files of old versions of PyTorch may have it.
    pub part: bool,
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

    /// The value under `key` in a dictionary whose keys may be strings or bytes; the last one, as in Python.
    pub fn string_entry(&self, id: Id, key: &str) -> Option<Id> {
        let is_key = |id: Id| match self.get(id) {
            Value::Text(text) => text == key,
            Value::Bytes(bytes) => bytes == key.as_bytes(),
            _ => false,
        };
        let Value::Dict(pairs) = self.get(id) else { return None };
        pairs.iter().rfind(|&&(name, _)| is_key(name)).map(|&(_, value)| value)
    }

    /// The entries with string keys of a dictionary; the entries and attributes of an opaque object.
    pub fn entries(&self, id: Id) -> impl Iterator<Item = (&str, Id)> {
        self.pairs(id).into_iter().flatten().filter_map(|&(key, value)| match self.get(key) {
            Value::Text(key) => Some((key.as_str(), value)),
            _ => None,
        })
    }
}

/// The size of the pickles that are read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The length in bytes.
    pub bytes: usize,
    /// The number of values, of entries of the stack and of the memo, each.
    pub values: usize,
    /// The number of items after which a list or a dictionary keeps no more plain numbers.
    pub numbers: usize,
}

impl Limits {
    /// The limits for the pickles of checkpoints.
    pub const CHECKPOINT: Self = Self { bytes: MAX_BYTES, values: MAX_VALUES, numbers: MAX_NUMBERS };
}

/// Interprets the pickle of a checkpoint at the beginning of `bytes`; returns it and its length.
///
/// # Errors
/// The errors of [`read_within`].
pub fn read(bytes: &[u8]) -> Result<(Pickle, usize), String> {
    read_within(bytes, Limits::CHECKPOINT)
}

/// Interprets the pickle at the beginning of `bytes`; returns it and its length.
///
/// # Errors
/// A description of the damage, or of what exceeds the limits.
pub fn read_within(bytes: &[u8], limits: Limits) -> Result<(Pickle, usize), String> {
    let limit = bytes.len().min(limits.bytes);
    let mut machine = Machine::new(&bytes[..limit], limits);
    let root = machine.run().map_err(|message| {
        let cut = machine.at >= limit && bytes.len() > limits.bytes;
        if cut { format!("the pickle is longer than {} bytes", limits.bytes) } else { message }
    })?;
    let length = machine.at;
    Ok((Pickle { values: machine.values, root }, length))
}

/// The beginning of a name, for a one-line message.
pub(super) fn clip(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
