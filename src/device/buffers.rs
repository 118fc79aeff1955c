//! The buffers that programs share, by name and type of element.

use super::{Buffer, Device, Executable, Program, SlotId};
use crate::compute::Access;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A type of element that buffers hold.
pub trait Element: bytemuck::Pod {}

impl Element for f32 {}
impl Element for u32 {}
/// Four to a word, the first in the lowest bits.
impl Element for u8 {}

/// The name of an external buffer of programs, and the type of its elements. Programs with the same key share the
/// buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Key<T> {
    name: &'static str,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T: Element> Key<T> {
    /// The key of the buffer `name`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, element: PhantomData }
    }

    /// The name in programs, errors and checkpoints.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// Buffers on a device, and programs loaded with them.
///
/// A buffer that a program reads must be here before the program is loaded. A buffer that a program writes before it
/// reads it is made when the program is loaded.
#[derive(Debug)]
pub struct Buffers {
    device: Device,
    by_name: BTreeMap<String, Buffer>,
}

impl Buffers {
    /// An empty set.
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), by_name: BTreeMap::new() }
    }

    /// Makes the buffer of `key` with `values`, in place of one that was there.
    ///
    /// # Errors
    /// The errors of [`Device::buffer`].
    pub fn add<T: Element>(&mut self, key: Key<T>, values: &[T]) -> Result<()> {
        self.share(key, self.device.buffer_from(key.name, values)?);
        Ok(())
    }

    /// Makes the buffer of `key` with `len` zeros, unless there is one.
    ///
    /// # Errors
    /// The errors of [`Device::buffer`].
    pub fn zeros<T: Element>(&mut self, key: Key<T>, len: usize) -> Result<()> {
        if !self.by_name.contains_key(key.name) {
            self.share(key, self.device.buffer(key.name, (len * size_of::<T>()) as u64)?);
        }
        Ok(())
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// [`Buffers::zeros`] of 32-bit words, for a name that is made at run time.
    pub(crate) fn zeros_named(&mut self, name: &str, words: usize) -> Result<()> {
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.to_owned(), self.device.buffer(name, 4 * words as u64)?);
        }
        Ok(())
    }

    /// [`Buffers::share`] for a name that is made at run time.
    pub(crate) fn share_named(&mut self, name: &str, buffer: Buffer) {
        self.by_name.insert(name.to_owned(), buffer);
    }

    /// The buffer of this name, if there is one.
    pub(crate) fn named(&self, name: &str) -> Option<&Buffer> {
        self.by_name.get(name)
    }

    /// Takes `buffer` as that of `key`.
    pub fn share<T: Element>(&mut self, key: Key<T>, buffer: Buffer) {
        self.by_name.insert(key.name.to_owned(), buffer);
    }

    /// The buffer of `key`.
    ///
    /// # Panics
    /// If there is none: a bug in the caller.
    pub fn get<T: Element>(&self, key: Key<T>) -> &Buffer {
        self.by_name.get(key.name).unwrap_or_else(|| panic!("no buffer {}", key.name))
    }

    /// Queues a copy of `values` to the start of the buffer of `key`.
    ///
    /// # Errors
    /// The errors of [`Device::write`].
    ///
    /// # Panics
    /// If there is no such buffer.
    pub fn write<T: Element>(&self, key: Key<T>, values: &[T]) -> Result<()> {
        self.write_from(key, 0, values)
    }

    /// Queues a copy of `values` to the buffer of `key`, from element `first` on.
    ///
    /// # Errors
    /// The errors of [`Device::write`].
    ///
    /// # Panics
    /// If there is no such buffer.
    pub fn write_from<T: Element>(&self, key: Key<T>, first: usize, values: &[T]) -> Result<()> {
        self.device.write(self.get(key), (first * size_of::<T>()) as u64, bytemuck::cast_slice(values))
    }

    /// The elements of the buffer of `key`; waits for the device.
    ///
    /// # Errors
    /// The errors of [`Device::read`].
    ///
    /// # Panics
    /// If there is no such buffer.
    pub fn read<T: Element>(&self, key: Key<T>) -> Result<Vec<T>> {
        self.device.read_as(self.get(key))
    }

    /// Loads a program with its buffers.
    ///
    /// # Errors
    /// [`Error::Binding`] for a buffer that is not here and that the program reads before it writes it; the errors of
    /// [`Device::load`].
    pub fn load(&mut self, program: Program) -> Result<Executable> {
        for (number, slot) in program.slots.iter().enumerate() {
            if !program.is_external(SlotId(number)) || self.by_name.contains_key(&slot.name) {
                continue;
            }
            if let Some((dispatch, access)) = program.first_use(SlotId(number))
                && access != Access::Write
            {
                return Err(Error::Binding {
                    program: program.name.clone(),
                    buffer: slot.name.clone(),
                    message: format!(
                        "was not given, and {} ({}) reads it",
                        dispatch.label,
                        dispatch.kernel.name()
                    ),
                });
            }
            self.by_name.insert(slot.name.clone(), self.device.buffer(&slot.name, slot.bytes)?);
        }
        let externals: Vec<(&str, &Buffer)> =
            self.by_name.iter().map(|(name, b)| (name.as_str(), b)).collect();
        self.device.load(program, &externals)
    }
}
