//! The position of the largest element along one axis.

use super::reduce::lanes;
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::{exceeds, items_per_task};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `y [outer, inner]` (u32): the first position along the middle axis of `x [outer, axis, inner]` at which `x` is
/// largest. NaN counts as larger than any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgMax {
    /// Product of the axes before the searched one.
    pub outer: usize,
    /// Length of the searched axis.
    pub axis: usize,
    /// Product of the axes behind the searched one.
    pub inner: usize,
}

impl ArgMax {
    /// A long and a short axis, ahead of one and of many inner elements.
    pub fn permutations() -> Vec<Self> {
        [(40, 10, 1), (3, 3000, 1), (2, 8, 300), (1, 700, 16)]
            .map(|(outer, axis, inner)| Self { outer, axis, inner })
            .to_vec()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.outer * self.inner
    }
}

impl Kernel for ArgMax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.input_len()),
            binding("y", 2, Access::Write, self.output_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("argmax").with_u32("LANES", lanes(self.axis, self.inner) as u32)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.output_len() as u32, self.inner as u32, self.axis as u32, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.output_len().div_ceil(lanes(self.axis, self.inner)))
    }

    fn flops(&self) -> u64 {
        self.input_len() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("argmax binds x and y") };
        let (x, y, axis, inner) = (x.f32(), y.u32_mut(), self.axis, self.inner);
        y.par_iter_mut().enumerate().with_min_len(items_per_task(axis)).for_each(|(column, y)| {
            let x = &x[column / inner * axis * inner + column % inner..];
            let first = |best: usize, a: usize| if exceeds(x[a * inner], x[best * inner]) { a } else { best };
            *y = (1..axis).fold(0, first) as u32;
        });
    }
}
