//! Buffer slots of a program, and dispatches over them.

use crate::compute::Kernel;
use std::sync::Arc;

/// The number of a buffer slot within one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub usize);

/// The owner of a slot's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// A named buffer that the caller binds when the program is loaded; it outlives the program.
    External,
    /// Memory of the program, shared between slots whose lives do not overlap.
    Transient,
}

/// A buffer as a program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The name in errors and summaries; for an external slot, the name it is bound by.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// External or transient.
    pub kind: SlotKind,
}

/// A range of a slot that a kernel binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The slot.
    pub slot: SlotId,
    /// First byte; a multiple of [`crate::compute::VIEW_ALIGNMENT`].
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl View {
    /// Whether both have bytes in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let is_before = |a: &Self, b: &Self| a.offset + a.bytes <= b.offset;
        self.slot == other.slot && !is_before(self, other) && !is_before(other, self)
    }
}

/// One kernel on its buffers.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// The kernel with its parameters.
    pub kernel: Arc<dyn Kernel>,
    /// One view for each of the kernel's bindings, in their order.
    pub views: Vec<View>,
    /// A label for errors and profiles, such as `layer1.0.conv1`.
    pub label: String,
}
