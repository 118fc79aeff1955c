//! The values of the globals in state dicts. None is called: each is rebuilt here from its arguments.

use super::machine::Machine;
use super::{Id, Storage, Tensor, Value, clip};

/// The maximum number of axes of a tensor.
const MAX_AXES: usize = 16;
/// The longest name of a known global, or key of a storage, in bytes.
const MAX_KEY: usize = 64;

impl Machine<'_> {
    /// The result of `function(*arguments)`, or of a new object of class `function`.
    pub(super) fn call(&mut self, function: Id, arguments: Id, object: bool) -> Result<Id, String> {
        let refused = |name: &str| if object { refused_object(name) } else { refused_function(name) };
        let name = match &self.values[function] {
            // Longer names match no known one.
            Value::Global(name) if name.len() <= MAX_KEY => name.clone(),
            Value::Global(name) => return Err(refused(name)),
            _ => return Err("calls a value that is not a function; refused".into()),
        };
        let mut first = [0; 4];
        let arguments = self.sequence(arguments)?;
        let count = arguments.len();
        first.iter_mut().zip(arguments).for_each(|(first, &id)| *first = id);
        let [a, b, c, d] = first;
        let value = match (name.as_str(), count) {
            ("collections.OrderedDict" | "collections.Counter", 0) | ("collections.defaultdict", 0 | 1) => {
                Value::Dict(Vec::new())
            }
            ("collections.OrderedDict", 1) => self.pairs(a)?,
            ("torch._utils._rebuild_tensor_v2", 4..) | ("torch._utils._rebuild_tensor", 4) => {
                self.tensor(a, b, c, d)?
            }
            ("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", 1..) => {
                return match &self.values[a] {
                    Value::Tensor(_) => Ok(a),
                    _ => Err("a parameter of a value that is not a tensor".into()),
                };
            }
            // Types that equal their argument.
            ("torch.Size", 1) => return self.sequence(a).map(|_| a),
            ("collections.Counter", 1) => return Ok(a),
            ("torch.device", _) => Value::Other,
            ("numpy.dtype", 1..) => Value::NumpyType(a, false),
            ("numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", 2) => self.scalar(a, b),
            ("_codecs.encode", 1..) => self.latin1(a)?,
            (name, _) => return Err(refused(name)),
        };
        self.add(value)
    }

    fn pairs(&mut self, items: Id) -> Result<Value, String> {
        self.charge(self.sequence(items)?.len())?;
        let pair = |&item: &Id| match self.sequence(item)? {
            &[key, value] => Ok((key, value)),
            _ => Err("an OrderedDict of what are no pairs".to_owned()),
        };
        let pairs = self.sequence(items)?.iter().map(pair).collect::<Result<Vec<_>, String>>()?;
        for &(key, _) in &pairs {
            self.name(key)?;
        }
        Ok(Value::Dict(pairs))
    }

    fn size(&self, id: Id) -> Result<u64, String> {
        match self.values[id] {
            Value::Int(value) => u64::try_from(value).map_err(|_| format!("a size of {value}")),
            _ => Err("a size that is no integer".into()),
        }
    }

    fn sizes(&mut self, id: Id) -> Result<Vec<u64>, String> {
        let count = self.sequence(id)?.len();
        if count > MAX_AXES {
            return Err(format!("a tensor of {count} axes"));
        }
        self.charge(count)?;
        self.sequence(id)?.iter().map(|&id| self.size(id)).collect()
    }

    fn tensor(&mut self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Value, String> {
        if !matches!(self.values[storage], Value::Storage(_)) {
            return Err("a tensor of a value that is not a storage".into());
        }
        let (offset, shape, strides) = (self.size(offset)?, self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(format!("a tensor of {} sizes and {} strides", shape.len(), strides.len()));
        }
        Ok(Value::Tensor(Box::new(Tensor { storage, offset, shape, strides })))
    }

    /// A NumPy number; other kinds of value are not needed.
    fn scalar(&self, kind: Id, bytes: Id) -> Value {
        let (&Value::NumpyType(code, big_endian), Value::Bytes(bytes)) =
            (&self.values[kind], &self.values[bytes])
        else {
            return Value::Other;
        };
        let Value::Text(code) = &self.values[code] else { return Value::Other };
        // Little endian, padded with zeros.
        let mut word = [0; 8];
        let Some(place) = word.get_mut(..bytes.len()) else { return Value::Other };
        place.copy_from_slice(bytes);
        if big_endian {
            place.reverse();
        }
        let low = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        match (code.as_str(), bytes.len()) {
            ("f8", 8) => Value::Float(f64::from_le_bytes(word)),
            ("f4", 4) => Value::Float(f32::from_bits(low).into()),
            ("i8", 8) => Value::Int(i64::from_le_bytes(word).into()),
            ("i4", 4) => Value::Int((low as i32).into()),
            ("b1", 1) => Value::Bool(low != 0),
            _ => Value::Other,
        }
    }

    /// Converts a string of characters below 256 to bytes: Python 3 pickles bytes so for Python 2.
    fn latin1(&mut self, text: Id) -> Result<Value, String> {
        let byte =
            |c: char| u8::try_from(u32::from(c)).map_err(|_| "encodes text that is not latin-1".to_owned());
        Ok(Value::Bytes(self.text(text)?.chars().map(byte).collect::<Result<_, _>>()?))
    }

    /// Sets the state of an object. For a NumPy type it is the byte order; for the other supported objects it is
    /// ignored (a state dict's `_metadata`).
    pub(super) fn build(&mut self) -> Result<(), String> {
        let (state, object) = (self.pop()?, self.top()?);
        match self.values[object] {
            Value::NumpyType(code, _) => {
                let order = self.sequence(state)?.get(1).map(|&order| &self.values[order]);
                let big_endian = matches!(order, Some(Value::Text(order)) if order == ">");
                self.values[object] = Value::NumpyType(code, big_endian);
                Ok(())
            }
            Value::Dict(_) | Value::Tensor(_) | Value::Other => Ok(()),
            _ => Err("sets the state of an object, which a state dict does not need; refused".into()),
        }
    }

    /// Builds a storage from `('storage', class, key, device, elements)`; in the legacy format a sixth item names the
    /// storage that this one is a part of.
    pub(super) fn persistent(&mut self, id: Id) -> Result<Value, String> {
        let items = self.sequence(id)?;
        let [tag, second] = [0, 1].map(|at| items.get(at).map(|&id| &self.values[id]));
        if let (Some(Value::Text(tag)), Some(Value::Global(class))) = (tag, second)
            && tag == "module"
        {
            return Err(refused_object(class));
        }
        let (&[_, class, key, _, elements, ref part @ ..], Some(Value::Text(tag))) = (items, tag) else {
            return Err("has a persistent id that is no storage's; refused".into());
        };
        if tag != "storage" {
            return Err(format!("has a persistent id of {}, expected storage; refused", clip(tag)));
        }
        if part.iter().any(|&id| self.values[id] != Value::None) {
            return Err(
                "has storages that are parts of others, which is not supported; save it with a newer \
                        PyTorch"
                    .into(),
            );
        }
        let class = match &self.values[class] {
            Value::Global(class) if class.starts_with("torch.") && class.len() <= MAX_KEY => {
                class["torch.".len()..].trim_start_matches("storage.").to_owned()
            }
            Value::Global(class) => return Err(refused_function(class)),
            _ => return Err("has a storage without a class".into()),
        };
        self.charge(class.len())?;
        let key = self.text(key)?;
        if key.len() > MAX_KEY {
            return Err(format!("a storage's key has {} bytes, expected at most {MAX_KEY}", key.len()));
        }
        Ok(Value::Storage(Box::new(Storage { class, key, elements: self.size(elements)? })))
    }
}

fn refused_function(name: &str) -> String {
    let name = clip(name);
    if name.starts_with("torch._utils._rebuild_") {
        return format!("has a tensor of {name}, which is not supported; save dense float32 tensors");
    }
    format!("asks for {name}, which a state dict does not need; refused")
}

fn refused_object(class: &str) -> String {
    format!(
        "holds an object of {}, whose code would have to be run; refused. Save model.state_dict() instead",
        clip(class)
    )
}
