//! NumPy arrays: their pickled forms, and their elements.

use super::globals::MAX_AXES;
use super::machine::Machine;
use super::{Id, NumpyArray, Pickle, Value};
use crate::io::elements::{Array, ElementType, Elements, count};

impl Machine<'_> {
    /// An array of `_reconstruct(class, (0,), b'b')`, whose contents follow as its state.
    pub(super) fn unset_array(&self, class: Id) -> Option<Value> {
        let is_array = matches!(&self.values[class], Value::Global(name) if name == "numpy.ndarray");
        is_array.then(|| Value::Array(Box::default()))
    }

    /// An array of `_frombuffer(bytes, dtype, shape, order)`, which protocol 5 uses.
    pub(super) fn array_of(&mut self, data: Id, kind: Id, shape: Id, order: Id) -> Result<Value, String> {
        let fortran = matches!(&self.values[order], Value::Text(order) if order == "F");
        self.filled(kind, shape, fortran, data)
    }

    /// Sets the state `(version, shape, dtype, is_fortran, data)` of an array, without the version in old pickles. An
    /// array of another state, such as one of Python objects, has no data.
    pub(super) fn array_state(&mut self, state: Id) -> Result<Value, String> {
        let (shape, kind, fortran, data) = match *self.sequence(state)? {
            [_, shape, kind, fortran, data] | [shape, kind, fortran, data] => (shape, kind, fortran, data),
            _ => return Ok(Value::Array(Box::default())),
        };
        let fortran = match self.values[fortran] {
            Value::Bool(fortran) => fortran,
            Value::Int(fortran) => fortran != 0,
            _ => return Ok(Value::Array(Box::default())),
        };
        self.filled(kind, shape, fortran, data)
    }

    fn filled(&mut self, kind: Id, shape: Id, fortran: bool, data: Id) -> Result<Value, String> {
        let axes = match &self.values[shape] {
            Value::Sequence(axes) => axes.len(),
            _ => return Ok(Value::Array(Box::default())),
        };
        let known = matches!(self.values[kind], Value::NumpyType(..))
            && matches!(self.values[data], Value::Bytes(_) | Value::Text(_))
            && axes <= MAX_AXES;
        if !known {
            return Ok(Value::Array(Box::default()));
        }
        let shape = self.sizes(shape)?;
        Ok(Value::Array(Box::new(NumpyArray { kind, shape, fortran, data: Some(data) })))
    }
}

impl Pickle {
    /// The elements of a NumPy array, in row-major order.
    ///
    /// # Errors
    /// When the value is no array, its type is not supported, or its data do not have the size of its shape.
    pub fn array(&self, id: Id) -> Result<Array, String> {
        let Value::Array(array) = self.get(id) else { return Err("expected a NumPy array".into()) };
        let NumpyArray { kind, shape, fortran, data: Some(data) } = &**array else {
            return Err("a NumPy array without data".into());
        };
        let &Value::NumpyType(code, big_endian) = self.get(*kind) else {
            return Err("a NumPy array without a type".into());
        };
        let code = match self.get(code) {
            Value::Text(code) => code.as_str(),
            _ => "of another kind",
        };
        let kind = element_type(code)
            .ok_or_else(|| format!("a NumPy array of type {}, which is not supported", super::clip(code)))?;
        let latin1;
        let bytes: &[u8] = match self.get(*data) {
            Value::Bytes(bytes) => bytes,
            Value::Text(text) if text.is_ascii() => text.as_bytes(),
            Value::Text(text) => {
                let byte =
                    |c: char| u8::try_from(u32::from(c)).map_err(|_| "NumPy data that are not latin-1");
                latin1 = text.chars().map(byte).collect::<Result<Vec<_>, _>>()?;
                &latin1
            }
            _ => return Err("a NumPy array without data".into()),
        };
        let sizes: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
        let fits = |sizes: &Vec<usize>| {
            count(sizes).and_then(|count| count.checked_mul(kind.bytes())) == Some(bytes.len())
        };
        let shape = sizes.filter(fits).ok_or_else(|| {
            format!("a NumPy array {shape:?} of {} bytes an element has {} bytes", kind.bytes(), bytes.len())
        })?;
        let ordered = in_order(bytes, kind.bytes(), &shape, *fortran, big_endian);
        let elements = match ordered {
            None => elements(kind, bytes)?,
            Some(bytes) => elements(kind, &bytes)?,
        };
        Ok(Array { shape, elements })
    }
}

fn elements(kind: ElementType, mut bytes: &[u8]) -> Result<Elements, String> {
    let count = bytes.len() / kind.bytes();
    kind.read(&mut bytes, count).map_err(|error| format!("a NumPy array cannot be read: {error}"))
}

/// Elements of `size` bytes in row-major order and little endian; `None` if they are already.
fn in_order(bytes: &[u8], size: usize, shape: &[usize], fortran: bool, big_endian: bool) -> Option<Vec<u8>> {
    let transposed = fortran && shape.iter().filter(|&&size| size > 1).count() > 1;
    let swapped = big_endian && size > 1;
    if !transposed && !swapped {
        return None;
    }
    let mut ordered = bytes.to_vec();
    if transposed {
        let mut index = vec![0; shape.len()];
        for to in ordered.chunks_exact_mut(size) {
            let from = index.iter().zip(shape).rev().fold(0, |at, (&index, &size)| at * size + index);
            to.copy_from_slice(&bytes[from * size..][..size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
    if swapped {
        ordered.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    Some(ordered)
}

/// The element type of a NumPy code, such as `f4`.
fn element_type(code: &str) -> Option<ElementType> {
    Some(match code {
        "f8" => ElementType::F64,
        "f4" => ElementType::F32,
        "f2" => ElementType::F16,
        "i8" => ElementType::I64,
        "i4" => ElementType::I32,
        "i2" => ElementType::I16,
        "i1" => ElementType::I8,
        "u4" => ElementType::U32,
        "u2" => ElementType::U16,
        "u1" | "b1" => ElementType::U8,
        _ => return None,
    })
}
