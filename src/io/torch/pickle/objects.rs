//! Opaque objects: whatever is not rebuilt. No code of their classes is run.

use super::machine::Machine;
use super::{Id, Object, Pickle, Value};

impl Machine<'_> {
    /// Adds an opaque object of `class`, which may be a class, a function, or an object that would be called.
    pub(super) fn object(&mut self, class: Id, arguments: Id) -> Result<Id, String> {
        if !matches!(self.values[class], Value::Global(_) | Value::Object(_)) {
            return Err("calls a value that is not a function; refused".into());
        }
        self.sequence(arguments)?;
        self.add(Value::Object(Box::new(Object { class, arguments, state: None, items: Vec::new() })))
    }

    /// Puts an opaque object of `class` on the stack.
    pub(super) fn instance(&mut self, class: Id, arguments: Vec<Id>) -> Result<(), String> {
        let arguments = self.add(Value::Sequence(arguments))?;
        let object = self.object(class, arguments)?;
        self.place(object)
    }
}

impl Pickle {
    /// The name of the class of an opaque object, of the function that would make it, or of a global.
    pub fn class(&self, id: Id) -> Option<&str> {
        let object = match self.get(id) {
            Value::Global(name) => return Some(name),
            Value::Array(_) => return Some("numpy.ndarray"),
            Value::NumpyType(..) => return Some("numpy.dtype"),
            Value::Object(object) => object,
            _ => return None,
        };
        let Value::Global(name) = self.get(object.class) else { return None };
        // Functions that get the class as an argument.
        let at = match name.as_str() {
            "copyreg._reconstructor" | "copy_reg._reconstructor" | "copyreg.__newobj__" => 0,
            "torch._tensor._rebuild_from_type_v2" | "torch._tensor._rebuild_from_type" => 1,
            _ => return Some(name),
        };
        match self.item(object.arguments, at).map(|id| self.get(id)) {
            Some(Value::Global(class)) => Some(class),
            _ => Some(name),
        }
    }

    /// The number of entries of a dictionary or an opaque object, those without string keys included.
    pub fn count(&self, id: Id) -> usize {
        self.pairs(id).iter().map(|pairs| pairs.len()).sum()
    }

    /// Item `at` of a tuple or list.
    pub fn item(&self, id: Id, at: usize) -> Option<Id> {
        match self.get(id) {
            Value::Sequence(items) => items.get(at).copied(),
            _ => None,
        }
    }

    /// The pairs of a dictionary. For an opaque object: its entries, its attributes (one dictionary, or a tuple of that
    /// of its dictionary and that of its slots), and the dictionary that it was made of.
    pub(super) fn pairs(&self, id: Id) -> [&[(Id, Id)]; 4] {
        let of = |id: Option<Id>| match id.map(|id| self.get(id)) {
            Some(Value::Dict(pairs)) => pairs.as_slice(),
            _ => &[],
        };
        match self.get(id) {
            Value::Dict(pairs) => [pairs, &[], &[], &[]],
            Value::Object(object) => {
                let made_of = match self.get(object.arguments) {
                    Value::Sequence(items) if items.len() == 1 => of(Some(items[0])),
                    _ => &[],
                };
                match object.state.map(|state| self.get(state)) {
                    Some(Value::Sequence(parts)) if parts.len() == 2 => {
                        [&object.items, of(Some(parts[0])), of(Some(parts[1])), made_of]
                    }
                    _ => [&object.items, of(object.state), &[], made_of],
                }
            }
            _ => [&[], &[], &[], &[]],
        }
    }
}
