//! Finds the dictionaries of tensors in a pickle: state dicts under any key, nested ones, and whole modules.

use std::collections::HashMap;

use super::REPLAY_BUFFER;
use super::modules::{is_module, is_script};
use super::pickle::{self, Id, Pickle, Tensor, Value};
use super::storages;

/// The levels of nesting that are searched.
pub const MAX_DEPTH: usize = 64;
/// The maximum number of dictionaries.
const MAX_DICTIONARIES: usize = 10_000;
/// The number of entries that the search visits; shared values are visited once for each path to them.
const MAX_STEPS: usize = 8 * pickle::MAX_VALUES;
/// The maximum length of all names together, in bytes.
const MAX_NAMES: usize = 32 << 20;

/// A dictionary of tensors in a pickle.
#[derive(Debug, Default)]
pub struct Found {
    /// The keys from the root to the dictionary.
    pub segments: Vec<String>,
    /// The values from the root to the dictionary, which is the last.
    pub path: Vec<Id>,
    /// The tensors that can be read, without the replay buffer.
    pub tensors: Vec<(String, Id)>,
    /// The tensors in it that are called `replay_buffer`.
    pub replay_buffers: Vec<Id>,
    /// The tensors that cannot be read, with the reasons.
    pub unreadable: Vec<(String, String)>,
    /// The class of a whole module.
    pub class: Option<String>,
    /// Whether nested dictionaries were joined.
    pub flattened: bool,
}

/// Finds all dictionaries of tensors, flattened ones last. Those that hold nothing but single numbers and tensors that
/// cannot be read do not count beside others.
pub fn find(pickle: &Pickle) -> Result<Vec<Found>, String> {
    let mut search = Search {
        pickle,
        path: Vec::new(),
        segments: Vec::new(),
        nested: HashMap::new(),
        found: Vec::new(),
        steps: 0,
        names: 0,
    };
    search.visit(pickle.root)?;
    let mut found = search.found;
    let is_number = |id: Id| matches!(pickle.get(id), Value::Tensor(tensor) if is_number(pickle, tensor));
    let weighs = |found: &Found| found.tensors.iter().any(|&(_, id)| !is_number(id));
    if found.iter().any(weighs) {
        found.retain(weighs);
    }
    found.sort_by_key(|found| found.flattened);
    Ok(found)
}

/// The value at the root, for a message.
pub fn described(pickle: &Pickle) -> String {
    let names: Vec<String> =
        pickle.entries(pickle.root).map(|(name, _)| name.escape_debug().to_string()).take(8).collect();
    match (names.is_empty(), pickle.get(pickle.root)) {
        (_, Value::Object(_)) => match pickle.class(pickle.root) {
            Some(class) => format!("an object of {}", pickle::clip(class)),
            None => "an object".into(),
        },
        (false, _) => format!("a dictionary of {}", names.join(", ")),
        (true, Value::Tensor(_)) => "a single tensor".into(),
        (true, Value::Array(_)) => "a NumPy array".into(),
        (true, Value::Dict(_)) => "a dictionary without names".into(),
        (true, Value::Sequence(_)) => "a list".into(),
        _ => "something else".into(),
    }
}

/// The shape of a readable tensor.
pub fn shape(pickle: &Pickle, id: Id) -> Vec<usize> {
    match pickle.get(id) {
        Value::Tensor(tensor) => tensor.shape.iter().map(|&size| size as usize).collect(),
        _ => Vec::new(),
    }
}

/// Whether a tensor has a storage of its own with one number.
pub fn is_number(pickle: &Pickle, tensor: &Tensor) -> bool {
    let Value::Storage(storage) = pickle.get(tensor.storage) else { return false };
    storage.elements == 1
        && tensor.shape.iter().all(|&size| size == 1)
        && storages::element_type(&storage.class).is_ok()
}

/// Whether a value is a tensor, and the reason if it cannot be read.
pub fn tensor(pickle: &Pickle, id: Id) -> Option<Result<(), String>> {
    match pickle.get(id) {
        Value::Tensor(tensor) => Some(match pickle.get(tensor.storage) {
            _ if tensor.shape.iter().any(|&size| usize::try_from(size).is_err()) => {
                Err(format!("a shape of {:?}", tensor.shape))
            }
            Value::Storage(storage) => storages::check(storage),
            _ => Err("it has no storage".into()),
        }),
        Value::Object(object) => match pickle.get(object.class) {
            Value::Global(function)
                if function.starts_with("torch._utils._rebuild_")
                    || function.starts_with("torch._tensor._rebuild_") =>
            {
                let name = pickle::clip(pickle.class(id).unwrap_or(function));
                Some(Err(format!("{name} is not supported; save dense float32 tensors")))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The search through a pickle, and what it has found.
pub struct Search<'a> {
    pub(super) pickle: &'a Pickle,
    /// The values from the root to the current one.
    path: Vec<Id>,
    segments: Vec<String>,
    /// Whether a value consists of nested dictionaries of tensors.
    nested: HashMap<Id, bool>,
    found: Vec<Found>,
    steps: usize,
    names: usize,
}

impl Search<'_> {
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.steps(1)
    }

    /// Counts entries that are visited.
    pub(super) fn steps(&mut self, count: usize) -> Result<(), String> {
        self.steps += count;
        if self.steps > MAX_STEPS {
            return Err("holds its own values over and over; refused".into());
        }
        Ok(())
    }

    /// Counts a name, and returns it behind `prefix`.
    pub(super) fn name(&mut self, prefix: &str, name: &str) -> Result<String, String> {
        self.names += prefix.len() + name.len();
        if self.names > MAX_NAMES {
            return Err(format!("the names of its tensors are longer than {MAX_NAMES} bytes"));
        }
        Ok(format!("{prefix}{name}"))
    }

    /// Searches a value and those that it holds.
    fn visit(&mut self, id: Id) -> Result<(), String> {
        if self.path.len() >= MAX_DEPTH || self.path.contains(&id) {
            return Ok(());
        }
        let pickle = self.pickle;
        self.steps(pickle.count(id))?;
        self.path.push(id);
        match pickle.get(id) {
            Value::Sequence(items) => {
                for (index, &item) in items.iter().enumerate() {
                    self.step()?;
                    if is_container(pickle, item) {
                        self.child(&index.to_string(), item)?;
                    }
                }
            }
            _ if tensor(pickle, id).is_some() || is_optimizer(pickle, id) => {}
            Value::Object(object) if is_script(pickle, object) => self.module(id, true)?,
            Value::Object(_) if is_module(pickle, id) => self.module(id, false)?,
            Value::Dict(_) | Value::Object(_) => self.dictionary(id)?,
            _ => {}
        }
        self.path.pop();
        Ok(())
    }

    fn child(&mut self, name: &str, id: Id) -> Result<(), String> {
        let segment = self.name("", name)?;
        self.segments.push(segment);
        self.visit(id)?;
        self.segments.pop();
        Ok(())
    }

    fn dictionary(&mut self, id: Id) -> Result<(), String> {
        let pickle = self.pickle;
        let mut own = Found::default();
        for (name, value) in pickle.entries(id) {
            self.step()?;
            self.take(&mut own, "", name, value)?;
        }
        self.keep(own)?;
        let mut dictionaries = 0;
        for (name, value) in pickle.entries(id) {
            if is_container(pickle, value) && tensor(pickle, value).is_none() {
                self.child(name, value)?;
                dictionaries += 1;
            }
        }
        if dictionaries > 0 && self.is_nested(id, self.path.len())? {
            let mut joined = Found { flattened: true, ..Found::default() };
            self.flatten(id, "", 0, &mut joined)?;
            self.keep(joined)?;
        }
        Ok(())
    }

    /// Adds an entry to `found` if it is a tensor.
    pub(super) fn take(&mut self, found: &mut Found, prefix: &str, name: &str, id: Id) -> Result<(), String> {
        let Some(readable) = tensor(self.pickle, id) else { return Ok(()) };
        if prefix.is_empty() && name == REPLAY_BUFFER && readable.is_ok() {
            found.replay_buffers.push(id);
            return Ok(());
        }
        let name = self.name(prefix, name)?;
        match readable {
            Ok(()) => found.tensors.push((name, id)),
            Err(reason) => found.unreadable.push((name, reason)),
        }
        Ok(())
    }

    /// Keeps what was found at the current path, if it has a tensor.
    pub(super) fn keep(&mut self, found: Found) -> Result<(), String> {
        if found.tensors.is_empty() && found.unreadable.is_empty() {
            return Ok(());
        }
        if self.found.len() == MAX_DICTIONARIES {
            return Err(format!("holds more than {MAX_DICTIONARIES} dictionaries of tensors"));
        }
        self.names += self.segments.iter().map(String::len).sum::<usize>();
        self.found.push(Found { segments: self.segments.clone(), path: self.path.clone(), ..found });
        Ok(())
    }

    /// Whether a dictionary holds tensors, or dictionaries of which this is true, and otherwise numbers and strings,
    /// all under names without dots. State dicts have names with dots.
    fn is_nested(&mut self, id: Id, depth: usize) -> Result<bool, String> {
        let pickle = self.pickle;
        if let Some(&known) = self.nested.get(&id) {
            return Ok(known);
        }
        if depth >= MAX_DEPTH || !matches!(pickle.get(id), Value::Dict(_)) {
            return Ok(false);
        }
        self.steps(pickle.count(id))?;
        if is_optimizer(pickle, id) {
            return Ok(false);
        }
        // A dictionary that holds itself is not.
        self.nested.insert(id, false);
        let (mut some, mut all) = (false, true);
        for (name, value) in pickle.entries(id) {
            self.step()?;
            let holds = tensor(pickle, value).is_some() || self.is_nested(value, depth + 1)?;
            some |= holds;
            let is_plain = matches!(
                pickle.get(value),
                Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)
            );
            all &= !name.contains('.') && (holds || is_plain);
        }
        self.nested.insert(id, some && all);
        Ok(some && all)
    }

    fn flatten(&mut self, id: Id, prefix: &str, depth: usize, found: &mut Found) -> Result<(), String> {
        let pickle = self.pickle;
        if depth >= MAX_DEPTH {
            return Err(too_deep("dictionaries"));
        }
        for (name, value) in pickle.entries(id) {
            self.step()?;
            self.take(found, prefix, name, value)?;
            if self.nested.get(&value) == Some(&true) {
                let prefix = self.name(prefix, name)? + ".";
                self.flatten(value, &prefix, depth + 1, found)?;
            }
        }
        Ok(())
    }
}

/// The message for values that hold themselves.
pub fn too_deep(what: &str) -> String {
    format!("holds {what} that are nested in themselves, or more than {MAX_DEPTH} deep; refused")
}

fn is_container(pickle: &Pickle, id: Id) -> bool {
    matches!(pickle.get(id), Value::Sequence(_) | Value::Dict(_) | Value::Object(_))
}

/// Whether a dictionary is an optimizer's: its tensors belong to parameters that it only numbers.
fn is_optimizer(pickle: &Pickle, id: Id) -> bool {
    let has = |key: &str| pickle.entries(id).any(|(name, _)| name == key);
    has("param_groups") && has("state")
}
