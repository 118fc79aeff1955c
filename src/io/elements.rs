//! The elements of a tensor in files and in memory. In memory floats of any width are 32-bit floats, and integers other
//! than `U8` and `U32` are 64-bit signed ones.

use crate::compute::half;
use std::io::{self, Read, Write};

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

    /// The first element as text.
    pub(super) fn first(&self) -> Option<String> {
        match self {
            Self::F32(values) => values.first().map(f32::to_string),
            Self::U32(values) => values.first().map(u32::to_string),
            Self::I64(values) => values.first().map(i64::to_string),
            Self::U8(values) => values.first().map(u8::to_string),
        }
    }

    /// The name of the type in safetensors files.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::U32(_) => "U32",
            Self::I64(_) => "I64",
            Self::U8(_) => "U8",
        }
    }

    /// The size of one element in bytes.
    pub fn element_bytes(&self) -> usize {
        match self {
            Self::U8(_) => 1,
            Self::F32(_) | Self::U32(_) => 4,
            Self::I64(_) => 8,
        }
    }

    /// Writes the elements, little endian, without copying all of them if the machine allows it.
    pub(super) fn write(&self, file: &mut (impl Write + ?Sized)) -> io::Result<()> {
        match self {
            Self::F32(values) => write_words(file, values, |value| value.to_le_bytes()),
            Self::U32(values) => write_words(file, values, |value| value.to_le_bytes()),
            Self::I64(values) => write_words(file, values, |value| value.to_le_bytes()),
            Self::U8(values) => file.write_all(values),
        }
    }
}

/// The number of elements of a tensor of `shape`. `None` if the product of the sizes other than 0 exceeds [`usize`],
/// because products of some of the sizes, such as strides, could overflow.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { product })
}

/// The type of an element in a file, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 64-bit floats.
    F64,
    /// 32-bit floats.
    F32,
    /// IEEE 754 half-precision floats.
    F16,
    /// bfloat16: the upper halves of 32-bit floats.
    Bf16,
    /// 64-bit signed integers.
    I64,
    /// 32-bit signed integers.
    I32,
    /// 16-bit signed integers.
    I16,
    /// 8-bit signed integers.
    I8,
    /// 16-bit unsigned integers.
    U16,
    /// 32-bit unsigned integers.
    U32,
    /// Bytes, and booleans.
    U8,
}

impl ElementType {
    /// The size of one element in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// Reads `count` elements. Types that need no conversion are read directly into the result. The caller must check
    /// that the file is long enough, because `count` elements are allocated first.
    ///
    /// # Errors
    /// The errors of the reader, such as an unexpected end of file.
    pub fn read(self, reader: &mut impl Read, count: usize) -> io::Result<Elements> {
        Ok(match self {
            Self::F32 => {
                Elements::F32(read_words(reader, count, u32::from_le, bytemuck::cast_slice_mut::<f32, u32>)?)
            }
            Self::U32 => Elements::U32(read_words(reader, count, u32::from_le, |words| words)?),
            Self::I64 => {
                Elements::I64(read_words(reader, count, u64::from_le, bytemuck::cast_slice_mut::<i64, u64>)?)
            }
            Self::U8 => Elements::U8(read_words(reader, count, u8::from_le, |words| words)?),
            Self::F64 => Elements::F32(converted(reader, count, |bytes| f64::from_le_bytes(bytes) as f32)?),
            Self::F16 => {
                Elements::F32(converted(reader, count, |bytes| half::from_bits(u16::from_le_bytes(bytes)))?)
            }
            Self::Bf16 => {
                let widened = |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
                Elements::F32(converted(reader, count, widened)?)
            }
            Self::I32 => Elements::I64(converted(reader, count, |bytes| i32::from_le_bytes(bytes).into())?),
            Self::I16 => Elements::I64(converted(reader, count, |bytes| i16::from_le_bytes(bytes).into())?),
            Self::U16 => Elements::I64(converted(reader, count, |bytes| u16::from_le_bytes(bytes).into())?),
            Self::I8 => Elements::I64(converted(reader, count, |bytes| i8::from_le_bytes(bytes).into())?),
        })
    }
}

/// Reads words into the result, then swaps their bytes on a big-endian machine.
fn read_words<T: bytemuck::Pod, W: bytemuck::Pod>(
    reader: &mut impl Read,
    count: usize,
    from_le: impl Fn(W) -> W,
    words: impl Fn(&mut [T]) -> &mut [W],
) -> io::Result<Vec<T>> {
    let mut values = vec![T::zeroed(); count];
    reader.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    if cfg!(target_endian = "big") {
        words(&mut values).iter_mut().for_each(|word| *word = from_le(*word));
    }
    Ok(values)
}

/// Reads elements of `N` bytes in blocks and converts them.
fn converted<T, const N: usize>(
    reader: &mut impl Read,
    count: usize,
    convert: impl Fn([u8; N]) -> T,
) -> io::Result<Vec<T>> {
    const BLOCK: usize = 1 << 16;
    let mut values = Vec::with_capacity(count);
    let mut block = vec![0; BLOCK.min(count * N)];
    while values.len() < count {
        let bytes = &mut block[..BLOCK.min((count - values.len()) * N)];
        reader.read_exact(bytes)?;
        values.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)));
    }
    Ok(values)
}

fn write_words<T: bytemuck::Pod, const N: usize>(
    file: &mut (impl Write + ?Sized),
    values: &[T],
    bytes: impl Fn(&T) -> [u8; N],
) -> io::Result<()> {
    if cfg!(target_endian = "little") {
        return file.write_all(bytemuck::cast_slice(values));
    }
    values.iter().try_for_each(|value| file.write_all(&bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: ElementType, bytes: &[u8]) -> Elements {
        kind.read(&mut &bytes[..], bytes.len() / kind.bytes()).unwrap()
    }

    #[test]
    fn halves_are_what_ieee_754_says() {
        // 1, -2, the largest, the smallest normal and subnormal, infinity.
        let bits = [0x3c00u16, 0xc000, 0x7bff, 0x0400, 0x0001, 0x7c00, 0x8000];
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let expected = vec![1.0, -2.0, 65504.0, 2f32.powi(-14), 2f32.powi(-24), f32::INFINITY, -0.0];
        assert_eq!(read(ElementType::F16, &bytes), Elements::F32(expected));
        let Elements::F32(values) = read(ElementType::F16, &0x7e00u16.to_le_bytes()) else {
            panic!("floats")
        };
        assert!(values[0].is_nan());
        assert_eq!(read(ElementType::Bf16, &[0x80, 0x3f, 0x00, 0xc0]), Elements::F32(vec![1.0, -2.0]));
    }

    #[test]
    fn every_half_has_the_value_of_its_digits() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let Elements::F32(values) = read(ElementType::F16, &bytes) else { panic!("floats") };
        for (bits, value) in (0..=u16::MAX).zip(values) {
            let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
            let magnitude = match exponent {
                0 => fraction * 2f32.powi(-24),
                0x1f if fraction > 0.0 => f32::from_bits(0x7f80_0000 | u32::from(bits & 0x3ff) << 13),
                0x1f => f32::INFINITY,
                _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
            };
            let expected = magnitude.to_bits() | u32::from(bits >> 15) << 31;
            assert_eq!(value.to_bits(), expected, "{bits:#x}");
        }
    }

    #[test]
    fn an_empty_tensor_has_no_sizes_that_overflow() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[2, 3, 4]), Some(24));
        assert_eq!(count(&[usize::MAX, 0]), Some(0));
        assert_eq!(count(&[0, usize::MAX, 2]), None);
        assert_eq!(count(&[usize::MAX, 2]), None);
    }

    #[test]
    fn numbers_of_every_width() {
        assert_eq!(read(ElementType::F64, &0.1f64.to_le_bytes()), Elements::F32(vec![0.1]));
        assert_eq!(read(ElementType::I8, &[0xff, 5]), Elements::I64(vec![-1, 5]));
        assert_eq!(read(ElementType::I16, &(-300i16).to_le_bytes()), Elements::I64(vec![-300]));
        assert_eq!(read(ElementType::U16, &[0xff, 0xff]), Elements::I64(vec![65535]));
        assert_eq!(read(ElementType::I32, &i32::MIN.to_le_bytes()), Elements::I64(vec![i32::MIN.into()]));
        assert_eq!(read(ElementType::I64, &7i64.to_le_bytes()), Elements::I64(vec![7]));
        assert_eq!(read(ElementType::U8, &[0, 255]), Elements::U8(vec![0, 255]));
        // More elements than a block.
        let many = vec![0x3c; 2 * 70_001];
        let Elements::F32(values) = read(ElementType::F16, &many) else { panic!("floats") };
        assert_eq!(values.len(), 70_001);
        assert!(ElementType::F16.read(&mut &many[..9], 5).is_err());
    }
}
