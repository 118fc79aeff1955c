//! Buffers on a device, and copies of them to the host.

use super::{Identity, cpu, gpu};
use crate::error::Result;
use std::sync::Arc;

/// A buffer on a device. Clones share the memory; it is freed with the last of them.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub(super) name: Arc<str>,
    pub(super) bytes: u64,
    pub(super) memory: Memory,
}

#[derive(Debug, Clone)]
pub(super) enum Memory {
    Cpu(Arc<cpu::CpuBuffer>),
    Gpu(gpu::GpuBuffer),
}

impl Buffer {
    /// The name given when it was made.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether both are the same memory: one buffer and its clones.
    pub fn is_same(&self, other: &Self) -> bool {
        self.memory.is(&other.memory)
    }
}

impl Memory {
    /// The identity of the device that made it.
    pub(super) fn owner(&self) -> &Identity {
        match self {
            Memory::Cpu(memory) => memory.owner(),
            Memory::Gpu(memory) => memory.owner(),
        }
    }

    /// Whether both are the same memory.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Memory::Cpu(a), Memory::Cpu(b)) => Arc::ptr_eq(a, b),
            (Memory::Gpu(a), Memory::Gpu(b)) => a.is(b),
            _ => false,
        }
    }

    pub(super) fn cpu(&self) -> &Arc<cpu::CpuBuffer> {
        match self {
            Memory::Cpu(memory) => memory,
            Memory::Gpu(_) => unreachable!("the owner was checked"),
        }
    }

    pub(super) fn gpu(&self) -> &gpu::GpuBuffer {
        match self {
            Memory::Gpu(memory) => memory,
            Memory::Cpu(_) => unreachable!("the owner was checked"),
        }
    }
}

/// A copy of a buffer to the host that may not be complete yet.
#[derive(Debug)]
pub struct Pending(pub(super) PendingInner);

#[derive(Debug)]
pub(super) enum PendingInner {
    Ready(Vec<u8>),
    Gpu(gpu::GpuPending),
}

impl Pending {
    /// Whether the bytes have arrived; never waits.
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            PendingInner::Ready(_) => true,
            PendingInner::Gpu(pending) => pending.is_ready(),
        }
    }

    /// The bytes; waits for the device if they have not arrived.
    ///
    /// # Errors
    /// [`crate::Error::Device`] or [`crate::Error::DeviceLost`] if the copy or anything before it failed.
    pub fn wait(self) -> Result<Vec<u8>> {
        match self.0 {
            PendingInner::Ready(bytes) => Ok(bytes),
            PendingInner::Gpu(pending) => pending.wait(),
        }
    }
}
