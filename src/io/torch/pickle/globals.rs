//! The values of the globals that tensors and NumPy arrays use. None is called: each is rebuilt here from its arguments.

use super::machine::Machine;
use super::{Id, Storage, Tensor, Value, clip};

/// The maximum number of axes of a tensor or an array.
pub(super) const MAX_AXES: usize = 16;
/// The longest name of a known global, or key of a storage, in bytes.
const MAX_KEY: usize = 64;

impl Machine<'_> {
    /// The result of `function(*arguments)`, or a new object of class `function`.
    pub(super) fn call(&mut self, function: Id, arguments: Id) -> Result<Id, String> {
        let name = match &self.values[function] {
            // Longer names match no known one.
            Value::Global(name) if name.len() <= MAX_KEY => name.clone(),
            _ => return self.object(function, arguments),
        };
        let mut first = [0; 7];
        let items = self.sequence(arguments)?;
        let count = items.len();
        first.iter_mut().zip(items).for_each(|(first, &id)| *first = id);
        let [a, b, c, d, .., last] = first;
        let value = match (name.as_str(), count) {
            ("collections.OrderedDict" | "collections.Counter", 0) | ("collections.defaultdict", 0 | 1) => {
                Some(Value::Dict(Vec::new()))
            }
            ("collections.OrderedDict", 1) => Some(self.pairs(a)?),
            ("torch._utils._rebuild_tensor_v2", 7..) if self.is_view(last) => {
                return Err("a tensor that is a negative or conjugate view; save a copy of it, by \
                            tensor.resolve_neg() or resolve_conj()"
                    .into());
            }
            ("torch._utils._rebuild_tensor_v2", 4..) | ("torch._utils._rebuild_tensor", 4) => {
                self.tensor(a, b, c, d)?
            }
            ("torch._utils._rebuild_tensor_v3", 7..) => match self.typed(a, last)? {
                Some(storage) => self.tensor(storage, b, c, d)?,
                None => None,
            },
            ("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", 1..) => {
                return match &self.values[a] {
                    Value::Tensor(_) | Value::Object(_) => Ok(a),
                    _ => Err("a parameter of a value that is not a tensor".into()),
                };
            }
            // A tensor with attributes or of a subclass, whose data are those of the tensor that the function makes.
            ("torch._tensor._rebuild_from_type_v2" | "torch._tensor._rebuild_from_type", 4)
                if self.makes_a_tensor(a) =>
            {
                return self.call(a, c);
            }
            // Types that equal their argument.
            ("torch.Size", 1) => return self.sequence(a).map(|_| a),
            ("collections.Counter", 1) => return Ok(a),
            ("builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset", 1)
                if self.sequence(a).is_ok() =>
            {
                return Ok(a);
            }
            ("numpy.dtype", 1..) => Some(Value::NumpyType(a, false)),
            ("numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", 2) => Some(self.scalar(a, b)),
            ("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct", 3) => {
                self.unset_array(a)
            }
            ("numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer", 4) => {
                Some(self.array_of(a, b, c, d)?)
            }
            // Protocol 2 has no other form of empty bytes.
            ("builtins.bytes" | "__builtin__.bytes", 0) => Some(Value::Bytes(Vec::new())),
            ("_codecs.encode", 1..) => Some(self.latin1(a)?),
            _ => None,
        };
        match value {
            Some(value) => self.add(value),
            None => self.object(function, arguments),
        }
    }

    /// Whether the metadata of a tensor set its negative or its conjugate bit.
    fn is_view(&self, metadata: Id) -> bool {
        let Value::Dict(pairs) = &self.values[metadata] else { return false };
        pairs.iter().any(|&(_, value)| matches!(self.values[value], Value::Bool(true)))
    }

    /// Whether a function makes a dense tensor from its storage.
    fn makes_a_tensor(&self, function: Id) -> bool {
        matches!(&self.values[function], Value::Global(name) if matches!(
            name.as_str(),
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor_v3" | "torch._utils._rebuild_tensor"
        ))
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

    pub(super) fn sizes(&mut self, id: Id) -> Result<Vec<u64>, String> {
        let count = self.sequence(id)?.len();
        if count > MAX_AXES {
            return Err(format!("a tensor of {count} axes"));
        }
        self.charge(count)?;
        self.sequence(id)?.iter().map(|&id| self.size(id)).collect()
    }

    /// A view of a storage; `None` if the storage is opaque.
    fn tensor(&mut self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Option<Value>, String> {
        match self.values[storage] {
            Value::Storage(_) => {}
            Value::Object(_) => return Ok(None),
            _ => return Err("a tensor of a value that is not a storage".into()),
        }
        let (offset, shape, strides) = (self.size(offset)?, self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(format!("a tensor of {} sizes and {} strides", shape.len(), strides.len()));
        }
        Ok(Some(Value::Tensor(Box::new(Tensor { storage, offset, shape, strides }))))
    }

    /// An untyped storage as one of type `kind`, such as `torch.uint16`: PyTorch has no storage classes for its newer
    /// types. `None` if one of the two is opaque.
    fn typed(&mut self, storage: Id, kind: Id) -> Result<Option<Id>, String> {
        let (Value::Storage(untyped), Value::Global(kind)) = (&self.values[storage], &self.values[kind])
        else {
            return Ok(None);
        };
        let (class, bytes) = match kind.as_str() {
            "torch.uint16" => ("UInt16Storage", 2),
            "torch.uint32" => ("UInt32Storage", 4),
            other if other.len() <= MAX_KEY => (other.trim_start_matches("torch."), 1),
            _ => return Ok(None),
        };
        let (class, elements, length) = (class.to_owned(), untyped.elements / bytes, untyped.key.len());
        let typed = Storage { class, elements, key: untyped.key.clone(), part: untyped.part };
        self.charge(length)?;
        self.add(Value::Storage(Box::new(typed))).map(Some)
    }

    /// A NumPy number; other kinds of value are not needed.
    fn scalar(&self, kind: Id, bytes: Id) -> Value {
        let &Value::NumpyType(code, big_endian) = &self.values[kind] else { return Value::Other };
        let Value::Text(code) = &self.values[code] else { return Value::Other };
        let latin1: Vec<u8>;
        let bytes = match &self.values[bytes] {
            Value::Bytes(bytes) => bytes,
            // A string of Python 2.
            Value::Text(text) if text.len() <= 16 => {
                latin1 = text.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
                &latin1
            }
            _ => return Value::Other,
        };
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

    /// Sets the state of an object. For a NumPy type it is the byte order, for a NumPy array its contents; an opaque
    /// object keeps it; for the others it is ignored (a state dict's `_metadata`).
    pub(super) fn build(&mut self) -> Result<(), String> {
        let (state, object) = (self.pop()?, self.top()?);
        match &mut self.values[object] {
            Value::NumpyType(code, _) => {
                let code = *code;
                let order = self.sequence(state)?.get(1).map(|&order| &self.values[order]);
                let big_endian = matches!(order, Some(Value::Text(order)) if order == ">");
                self.values[object] = Value::NumpyType(code, big_endian);
                Ok(())
            }
            Value::Array(_) => {
                self.values[object] = self.array_state(state)?;
                Ok(())
            }
            Value::Object(object) => {
                object.state = Some(state);
                Ok(())
            }
            Value::Dict(_) | Value::Tensor(_) | Value::Other => Ok(()),
            _ => Err("sets the state of a value that has none; refused".into()),
        }
    }

    /// Builds a storage from `('storage', class, key, device, elements)`; in the legacy format a sixth item names the
    /// storage that this one is a part of. The class of a whole module is `('module', class, file, source)` there.
    pub(super) fn persistent(&mut self, id: Id) -> Result<Value, String> {
        let items = self.sequence(id)?;
        let [tag, second] = [0, 1].map(|at| items.get(at).map(|&id| &self.values[id]));
        if let (Some(Value::Text(tag)), Some(Value::Global(class))) = (tag, second)
            && tag == "module"
        {
            let class = class.clone();
            self.charge(class.len())?;
            return Ok(Value::Global(class));
        }
        let (&[_, class, key, _, elements, ref part @ ..], Some(Value::Text(tag))) = (items, tag) else {
            return Err("has a persistent id that is no storage's; refused".into());
        };
        if tag != "storage" {
            return Err(format!("has a persistent id of {}, expected storage; refused", clip(tag)));
        }
        let part = part.iter().any(|&id| self.values[id] != Value::None);
        let class = match &self.values[class] {
            Value::Global(class) if class.starts_with("torch.") && class.len() <= MAX_KEY => {
                class["torch.".len()..].trim_start_matches("storage.").to_owned()
            }
            Value::Global(class) => {
                return Err(format!("has a storage of class {}, expected one of torch", clip(class)));
            }
            _ => return Err("has a storage without a class".into()),
        };
        self.charge(class.len())?;
        let key = self.text(key)?;
        if key.len() > MAX_KEY {
            return Err(format!("a storage's key has {} bytes, expected at most {MAX_KEY}", key.len()));
        }
        Ok(Value::Storage(Box::new(Storage { class, key, elements: self.size(elements)?, part })))
    }
}
