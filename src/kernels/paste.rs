//! Writes a tensor into a part of another: padding, and each part of a concatenation.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// Writes `x [outer, axis, inner]` into `y [outer, length, inner]`, at every `step`-th position of the middle axis from
/// `first` on; the other elements of `y` stay. Words are copied as they are, so the element type does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paste {
    /// Product of the axes before the pasted one.
    pub outer: usize,
    /// Length of the axis in `x`.
    pub axis: usize,
    /// Product of the axes after the pasted one.
    pub inner: usize,
    /// Length of the axis in `y`.
    pub length: usize,
    /// The position in `y` of the first element of `x`.
    pub first: usize,
    /// Positions in `y` from one element of `x` to the next.
    pub step: usize,
}

impl Paste {
    /// Neighbours and every third, at the end and amid others.
    pub fn permutations() -> Vec<Self> {
        vec![
            Self { outer: 3, axis: 4, inner: 20, length: 9, first: 5, step: 1 },
            Self { outer: 2, axis: 50, inner: 1, length: 150, first: 1, step: 3 },
        ]
    }

    fn n(&self) -> usize {
        self.outer * self.axis * self.inner
    }
}

impl Kernel for Paste {
    fn name(&self) -> &'static str {
        "paste"
    }

    fn bindings(&self) -> Vec<Binding> {
        let words = self.outer * self.length * self.inner;
        vec![binding("x", 1, Access::Read, self.n()), binding("y", 2, Access::Update, words).moving(self.n())]
    }

    fn shader(&self) -> Shader {
        Shader::new("paste")
    }

    fn uniforms(&self) -> Vec<u32> {
        let sizes = [self.n(), self.axis, self.inner, self.length, self.first, self.step, 0, 0];
        sizes.map(|v| v as u32).to_vec()
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n())
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("paste binds x and y") };
        let Self { axis, inner, length, first, step, .. } = *self;
        // Neighbours are one run.
        let (run, stride) = if step == 1 { (axis * inner, axis * inner) } else { (inner, step * inner) };
        let outer =
            y.u32_mut().par_chunks_exact_mut(length * inner).with_min_len(items_per_task(axis * inner));
        outer.zip(x.u32().par_chunks_exact(axis * inner)).for_each(|(y, x)| {
            for (y, x) in y[first * inner..].chunks_mut(stride).zip(x.chunks_exact(run)) {
                y[..run].copy_from_slice(x);
            }
        });
    }
}
