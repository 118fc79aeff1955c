//! Builds tensors from the storages that they view: each storage is read once, and moved rather than copied if a tensor
//! is the whole of it.

use std::collections::HashMap;
use std::io;

use super::pickle::{Id, Pickle, Storage, Tensor, Value};
use crate::io::elements::{Array, ElementType, Elements, count};

/// The source of the data of storages.
pub trait Source {
    /// The size of storage `key` in bytes.
    ///
    /// # Errors
    /// A message if the storage is missing or cannot be read.
    fn bytes(&mut self, key: &str) -> Result<u64, String>;

    /// The elements of storage `key`, which must hold `count` elements.
    ///
    /// # Errors
    /// A message if the storage cannot be read.
    fn read(&mut self, key: &str, kind: ElementType, count: usize) -> Result<Elements, String>;
}

/// The number of elements that views may have beyond twice those of their storages, enough for a few views of small
/// tensors.
const SMALL: u64 = 1 << 16;

/// The storages of a file.
pub struct Storages<S>(S);

impl<S: Source> Storages<S> {
    pub fn new(source: S) -> Self {
        Self(source)
    }

    /// The tensors `ids` of `pickle`, in that order; `name` is for messages.
    ///
    /// All tensors together have at most twice the elements of the storages that they view, which are in the file, plus
    /// [`SMALL`]: tied weights pass, but a small storage expanded to a huge tensor does not.
    pub fn arrays<'a>(
        &mut self,
        pickle: &Pickle,
        ids: &[Id],
        name: impl Fn(usize) -> &'a str,
    ) -> Result<Vec<Array>, String> {
        let mut by_storage: HashMap<&str, (&Storage, Vec<usize>)> = HashMap::new();
        let mut order = Vec::new();
        let mut wanted: u64 = 0;
        for (index, &id) in ids.iter().enumerate() {
            let fail = |message: String| format!("tensor {}: {message}", name(index));
            let (tensor, storage) = parts(pickle, id).map_err(fail)?;
            wanted = wanted.saturating_add(elements(tensor, storage).map_err(fail)?);
            let entry = by_storage.entry(&storage.key).or_insert_with(|| {
                order.push(storage.key.as_str());
                (storage, Vec::new())
            });
            if entry.0 != storage {
                return Err(fail(format!("storage {} is of two types or sizes", storage.key)));
            }
            entry.1.push(index);
        }
        let mut there: u64 = 0;
        for key in &order {
            let (storage, users) = &by_storage[key];
            let fail = |message: String| format!("tensor {}: {message}", name(users[0]));
            check(storage).map_err(fail)?;
            let kind = element_type(&storage.class).map_err(fail)?;
            let (bytes, size) = (self.0.bytes(&storage.key).map_err(fail)?, kind.bytes() as u64);
            if storage.elements.checked_mul(size) != Some(bytes) {
                let message =
                    format!("{} elements of {size} bytes in a storage of {bytes} bytes", storage.elements);
                return Err(fail(message));
            }
            there = there.saturating_add(storage.elements);
        }
        if wanted > there.saturating_mul(2).saturating_add(SMALL) {
            return Err(format!("the tensors have {wanted} elements, their storages {there}; refused"));
        }
        let mut arrays: Vec<Option<Array>> = vec![None; ids.len()];
        for key in order {
            let (storage, users) = &by_storage[key];
            let kind = element_type(&storage.class)?;
            let count = storage.elements as usize;
            let mut data = Some(self.0.read(key, kind, count)?);
            for (turn, &index) in users.iter().enumerate() {
                let (tensor, _) = parts(pickle, ids[index])?;
                let shape: Vec<usize> = tensor.shape.iter().map(|&size| size as usize).collect();
                let whole = is_row_major(tensor) && tensor.shape.iter().product::<u64>() == storage.elements;
                let elements = match (whole && turn + 1 == users.len(), &data) {
                    (true, _) => data.take().expect("the last user"),
                    (false, Some(data)) => gathered(data, tensor),
                    (false, None) => unreachable!("taken by the last user alone"),
                };
                arrays[index] = Some(Array { shape, elements });
            }
        }
        Ok(arrays.into_iter().flatten().collect())
    }
}

fn parts(pickle: &Pickle, id: Id) -> Result<(&Tensor, &Storage), String> {
    let Value::Tensor(tensor) = pickle.get(id) else { return Err("is no tensor".into()) };
    let Value::Storage(storage) = pickle.get(tensor.storage) else { return Err("has no storage".into()) };
    Ok((tensor, storage))
}

/// The reason why a storage cannot be read, if it cannot.
pub fn check(storage: &Storage) -> Result<(), String> {
    if storage.part {
        return Err(
            "its storage is a part of another, which is not supported; save it with a newer PyTorch".into()
        );
    }
    element_type(&storage.class).map(drop)
}

/// The size of an element of a storage class in bytes, if it is known.
pub fn element_bytes(class: &str) -> Option<u64> {
    Some(match class {
        "UntypedStorage" | "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => 1,
        "ComplexHalfStorage" | "QInt32Storage" => 4,
        "ComplexFloatStorage" => 8,
        "ComplexDoubleStorage" => 16,
        class => element_type(class).ok()?.bytes() as u64,
    })
}

/// The element type of a storage class.
pub fn element_type(class: &str) -> Result<ElementType, String> {
    Ok(match class {
        "DoubleStorage" => ElementType::F64,
        "FloatStorage" => ElementType::F32,
        "HalfStorage" => ElementType::F16,
        "BFloat16Storage" => ElementType::Bf16,
        "LongStorage" => ElementType::I64,
        "IntStorage" => ElementType::I32,
        "ShortStorage" => ElementType::I16,
        "CharStorage" => ElementType::I8,
        "ByteStorage" | "BoolStorage" => ElementType::U8,
        "UInt16Storage" => ElementType::U16,
        "UInt32Storage" => ElementType::U32,
        other => return Err(format!("torch.{other} is not supported; save float32 tensors")),
    })
}

/// The number of elements of a view, which must lie within its storage. No product of its sizes overflows.
fn elements(tensor: &Tensor, storage: &Storage) -> Result<u64, String> {
    let shape = &tensor.shape;
    let outside = || {
        format!(
            "shape {shape:?}, strides {:?} at {} reach outside its storage of {} elements",
            tensor.strides, tensor.offset, storage.elements
        )
    };
    let sizes: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let count = sizes.and_then(|sizes| count(&sizes)).ok_or_else(outside)? as u64;
    if count == 0 {
        return Ok(0);
    }
    let reach = |last: u64, (&size, &stride): (&u64, &u64)| (size - 1).checked_mul(stride)?.checked_add(last);
    let last = shape.iter().zip(&tensor.strides).try_fold(tensor.offset, reach).ok_or_else(outside)?;
    if last >= storage.elements { Err(outside()) } else { Ok(count) }
}

/// Whether the elements of a view are contiguous.
fn is_row_major(tensor: &Tensor) -> bool {
    let mut expected = 1;
    tensor.shape.iter().zip(&tensor.strides).rev().all(|(&size, &stride)| {
        let fits = size <= 1 || stride == expected;
        expected *= size;
        fits
    })
}

/// The elements of a view, row-major.
fn gathered(data: &Elements, tensor: &Tensor) -> Elements {
    match data {
        Elements::F32(values) => Elements::F32(gather(values, tensor)),
        Elements::U32(values) => Elements::U32(gather(values, tensor)),
        Elements::I64(values) => Elements::I64(gather(values, tensor)),
        Elements::U8(values) => Elements::U8(gather(values, tensor)),
    }
}

fn gather<T: Copy>(values: &[T], tensor: &Tensor) -> Vec<T> {
    let count = tensor.shape.iter().product::<u64>() as usize;
    if count == 0 {
        return Vec::new();
    }
    if is_row_major(tensor) {
        return values[tensor.offset as usize..][..count].to_vec();
    }
    let mut out = Vec::with_capacity(count);
    let mut index = vec![0u64; tensor.shape.len()];
    let mut at = tensor.offset;
    while out.len() < count {
        out.push(values[at as usize]);
        // Advance to the next index: the last axis varies fastest.
        for axis in (0..index.len()).rev() {
            if index[axis] + 1 < tensor.shape[axis] {
                index[axis] += 1;
                at += tensor.strides[axis];
                break;
            }
            at -= index[axis] * tensor.strides[axis];
            index[axis] = 0;
        }
    }
    out
}

/// The message for data of storage `key` that cannot be read.
pub fn unreadable(key: &str, error: &io::Error) -> String {
    format!("storage {key} cannot be read: {error}")
}
