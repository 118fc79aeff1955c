//! The bindings of a kernel as its CPU twin sees them.

/// A kernel's binding on the host: exactly the bound view.
#[derive(Debug)]
pub enum Argument<'a> {
    /// A [`crate::compute::contract::Access::Read`] binding.
    Read(&'a [u32]),
    /// A [`crate::compute::contract::Access::Write`] or [`crate::compute::contract::Access::Update`] binding.
    Write(&'a mut [u32]),
}

impl Argument<'_> {
    /// The same binding, for as long as this one is borrowed.
    pub fn reborrow(&mut self) -> Argument<'_> {
        match self {
            Argument::Read(words) => Argument::Read(words),
            Argument::Write(words) => Argument::Write(words),
        }
    }

    /// The words of any binding.
    pub fn u32(&self) -> &[u32] {
        match self {
            Argument::Read(words) => words,
            Argument::Write(words) => words,
        }
    }

    /// The words of a binding that the kernel writes.
    ///
    /// # Panics
    /// On a read-only binding: a bug in the kernel.
    pub fn u32_mut(&mut self) -> &mut [u32] {
        match self {
            Argument::Read(_) => panic!("a twin writes to a read-only binding"),
            Argument::Write(words) => words,
        }
    }

    /// [`Argument::u32`] as floats.
    pub fn f32(&self) -> &[f32] {
        bytemuck::cast_slice(self.u32())
    }

    /// [`Argument::u32_mut`] as floats.
    pub fn f32_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(self.u32_mut())
    }
}
