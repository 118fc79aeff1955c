//! The elements of a tensor as files hold them.

use std::io::Write;

/// The elements of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Elements {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit unsigned integers.
    U32(Vec<u32>),
    /// 64-bit signed integers.
    I64(Vec<i64>),
    /// Bytes.
    U8(Vec<u8>),
}

/// A tensor; the product of `shape` is the number of elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The sizes, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub elements: Elements,
}

impl Elements {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type's name, as safetensors writes it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::U32(_) => "U32",
            Self::I64(_) => "I64",
            Self::U8(_) => "U8",
        }
    }

    /// Bytes of one element.
    pub fn element_bytes(&self) -> usize {
        match self {
            Self::U8(_) => 1,
            Self::F32(_) | Self::U32(_) => 4,
            Self::I64(_) => 8,
        }
    }

    /// Writes the elements, little endian, without a copy of the whole where the machine allows.
    pub(super) fn write(&self, file: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
        match self {
            Self::F32(values) => write_words(file, values, |value| value.to_le_bytes()),
            Self::U32(values) => write_words(file, values, |value| value.to_le_bytes()),
            Self::I64(values) => write_words(file, values, |value| value.to_le_bytes()),
            Self::U8(values) => file.write_all(values),
        }
    }
}

fn write_words<T: bytemuck::Pod, const N: usize>(
    file: &mut (impl Write + ?Sized),
    values: &[T],
    bytes: impl Fn(&T) -> [u8; N],
) -> std::io::Result<()> {
    if cfg!(target_endian = "little") {
        return file.write_all(bytemuck::cast_slice(values));
    }
    values.iter().try_for_each(|value| file.write_all(&bytes(value)))
}
