//! Loading the programs of one job, which share buffers by name.

use crate::device::{Buffer, Device, Executable, Program};
use crate::error::Result;
use std::collections::BTreeMap;

/// Loads programs; what no earlier one named and nobody gave is made, zeroed.
#[derive(Debug)]
pub struct Loader<'a> {
    device: &'a Device,
    buffers: BTreeMap<String, Buffer>,
}

impl<'a> Loader<'a> {
    /// Without a buffer yet.
    pub fn new(device: &'a Device) -> Self {
        Self { device, buffers: BTreeMap::new() }
    }

    /// With these buffers.
    pub fn with(device: &'a Device, buffers: BTreeMap<String, Buffer>) -> Self {
        Self { device, buffers }
    }

    /// Gives the buffer `name` its contents.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn add<T: bytemuck::Pod>(&mut self, name: &str, words: &[T]) -> Result<()> {
        self.buffers.insert(name.to_owned(), self.device.buffer_from(name, words)?);
        Ok(())
    }

    /// Loads a program with the buffers of the names it asks for.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn load(&mut self, program: Program) -> Result<Executable> {
        for slot in program.externals() {
            if !self.buffers.contains_key(&slot.name) {
                self.buffers.insert(slot.name.clone(), self.device.buffer(&slot.name, slot.bytes)?);
            }
        }
        let externals: Vec<(&str, &Buffer)> =
            self.buffers.iter().map(|(name, b)| (name.as_str(), b)).collect();
        self.device.load(program, &externals)
    }

    /// All buffers by name.
    pub fn into_buffers(self) -> BTreeMap<String, Buffer> {
        self.buffers
    }
}
