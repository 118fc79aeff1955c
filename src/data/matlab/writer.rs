//! Writes MAT-files for tests, in either byte order.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};

use super::{COMPRESSED, HEADER, INT8, INT32, MATRIX, UINT32};

/// The class `uint8`; the reader's result does not depend on the class.
pub(in crate::data) const UINT8_CLASS: u32 = 9;
/// The storage types of bytes and doubles.
pub(in crate::data) const UINT8: u32 = 2;
pub(in crate::data) const DOUBLE: u32 = 9;

/// A byte order.
#[derive(Debug, Clone, Copy)]
pub(in crate::data) struct Writer {
    pub big_endian: bool,
}

impl Writer {
    pub fn word(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Encodes doubles as bytes.
    pub fn doubles(self, values: &[f64]) -> Vec<u8> {
        let bytes = |value: &f64| if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        values.iter().flat_map(bytes).collect()
    }

    /// A file with `elements`.
    pub fn file(self, elements: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![b' '; HEADER - 4];
        file.extend(if self.big_endian { *b"\x01\x00MI" } else { *b"\x00\x01IM" });
        file.extend(elements.concat());
        file
    }

    /// A data element with its padding, in its tag if it fits.
    pub fn element(self, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut element = if data.len() <= 4 {
            self.word((data.len() as u32) << 16 | kind).to_vec()
        } else {
            [self.word(kind), self.word(data.len() as u32)].concat()
        };
        element.extend(data);
        element.resize(element.len().next_multiple_of(8), 0);
        element
    }

    /// A matrix element; `data` must be in this byte order.
    pub fn matrix(self, class: u32, name: &str, dimensions: &[i32], storage: u32, data: &[u8]) -> Vec<u8> {
        let flags = [self.word(class), self.word(0)].concat();
        let sizes: Vec<u8> = dimensions.iter().flat_map(|&size| self.word(size as u32)).collect();
        let parts = [
            self.element(UINT32, &flags),
            self.element(INT32, &sizes),
            self.element(INT8, name.as_bytes()),
            self.element(storage, data),
        ];
        self.element(MATRIX, &parts.concat())
    }

    /// A compressed element that contains `element`.
    pub fn compressed(self, element: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(element).unwrap();
        let data = encoder.finish().unwrap();
        [self.word(COMPRESSED).to_vec(), self.word(data.len() as u32).to_vec(), data].concat()
    }
}
