//! Tells what lies beside a dictionary of tensors.

use std::collections::HashSet;

use super::REPLAY_BUFFER;
use super::dictionaries::{Found, is_number, tensor};
use super::pickle::{self, Id, Pickle, Value};

/// The maximum number of scalars, and of ignored entries, that are reported.
pub const MAX_FACTS: usize = 100;
/// The entries of an object or a dictionary of settings that are looked at.
const MAX_ENTRIES: usize = 100;
/// The usual keys of dictionaries of settings.
const SETTINGS: [&str; 7] = ["hyper_parameters", "hparams", "args", "config", "cfg", "opt", "settings"];

/// The entries beside a dictionary.
#[derive(Debug, Default)]
pub struct Told {
    /// Numbers and strings, as text.
    pub scalars: Vec<(String, String)>,
    /// Other entries, with the classes of objects.
    pub ignored: Vec<String>,
    /// Tensors with one number.
    pub numbers: Vec<(String, Id)>,
    /// The tensors that are called `replay_buffer`.
    pub replay_buffers: Vec<Id>,
}

impl Told {
    /// The entries of `found` that are no tensors, then those of the dictionaries that contain it.
    pub fn beside(pickle: &Pickle, found: &Found) -> Self {
        let mut told = Self { replay_buffers: found.replay_buffers.clone(), ..Self::default() };
        if let Some(&own) = found.path.last()
            && found.class.is_none()
        {
            for (name, id) in pickle.entries(own) {
                let is_joined = found.flattened && matches!(pickle.get(id), Value::Dict(_));
                if tensor(pickle, id).is_none() && !is_joined {
                    told.ignore(pickle, name, id);
                }
            }
        }
        for (depth, &container) in found.path.iter().enumerate().take(found.segments.len()) {
            let prefix: String =
                found.segments[..depth].iter().map(|segment| format!("{segment}.")).collect();
            for (name, id) in pickle.entries(container).filter(|(name, _)| *name != found.segments[depth]) {
                told.tell(pickle, &prefix, name, id);
            }
        }
        told
    }

    /// The entries at the root that hold no dictionary of tensors; none if the root is a whole module.
    pub fn beside_all(pickle: &Pickle, found: &[Found]) -> Self {
        let holders: HashSet<&str> =
            found.iter().filter_map(|found| found.segments.first()).map(String::as_str).collect();
        let mut told = Self::default();
        if found.iter().any(|found| found.segments.is_empty() && found.class.is_some()) {
            return told;
        }
        for (name, id) in pickle.entries(pickle.root) {
            if !holders.contains(name) && tensor(pickle, id).is_none() {
                told.tell(pickle, "", name, id);
            }
        }
        told
    }

    fn tell(&mut self, pickle: &Pickle, prefix: &str, name: &str, id: Id) {
        let full = || format!("{prefix}{name}");
        match pickle.get(id) {
            Value::Tensor(_) if name == REPLAY_BUFFER => self.replay_buffers.push(id),
            Value::Tensor(tensor) if is_number(pickle, tensor) => {
                if self.numbers.len() < MAX_FACTS {
                    self.numbers.push((full(), id));
                }
            }
            Value::Dict(_) if SETTINGS.contains(&name) => {
                if !self.settings(pickle, &full(), id) {
                    self.ignore(pickle, &full(), id);
                }
            }
            Value::Object(_) => {
                self.settings(pickle, &full(), id);
                self.ignore(pickle, &full(), id);
            }
            other => match scalar(other) {
                Some(text) => self.scalar(full(), text),
                None => self.ignore(pickle, &full(), id),
            },
        }
    }

    /// Tells the numbers and strings in a dictionary or an object; whether it holds nothing else.
    fn settings(&mut self, pickle: &Pickle, name: &str, id: Id) -> bool {
        let mut entries = pickle.entries(id);
        let mut nothing_else = true;
        for (key, value) in entries.by_ref().take(MAX_ENTRIES) {
            match scalar(pickle.get(value)) {
                Some(text) => self.scalar(format!("{name}.{key}"), text),
                None => nothing_else = false,
            }
        }
        nothing_else && entries.next().is_none()
    }

    fn scalar(&mut self, name: String, text: String) {
        if self.scalars.len() < MAX_FACTS {
            self.scalars.push((name, text));
        }
    }

    fn ignore(&mut self, pickle: &Pickle, name: &str, id: Id) {
        if self.ignored.len() < MAX_FACTS {
            self.ignored.push(match pickle.class(id) {
                Some(class) => format!("{name}: {}", pickle::clip(class)),
                None => name.to_owned(),
            });
        }
    }
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
