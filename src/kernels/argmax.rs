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
    /// Product of the axes after the searched one.
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
        if inner == 1 {
            let rows = y.par_iter_mut().zip(x.par_chunks_exact(axis)).with_min_len(items_per_task(axis));
            rows.for_each(|(y, x)| *y = first_of_the_largest(x) as u32);
            return;
        }
        let outer = y.par_chunks_mut(inner).zip(x.par_chunks_exact(axis * inner));
        outer.with_min_len(items_per_task(axis * inner)).for_each(|(y, x)| {
            let blocks_per_task = items_per_task(axis * COLUMNS);
            y.par_chunks_mut(COLUMNS).with_min_len(blocks_per_task).enumerate().for_each(|(block, y)| {
                let mut largest = [f32::NEG_INFINITY; COLUMNS];
                y.fill(0);
                for (a, x) in x.chunks_exact(inner).enumerate() {
                    let x = &x[block * COLUMNS..][..y.len()];
                    for ((y, largest), &x) in y.iter_mut().zip(&mut largest).zip(x) {
                        let is_larger = exceeds(x, *largest);
                        *largest = if is_larger { x } else { *largest };
                        *y = if is_larger { a as u32 } else { *y };
                    }
                }
            });
        });
    }
}

/// Neighbouring columns that the twin searches at once.
const COLUMNS: usize = 256;

/// Finds the maximum in lanes, then its position: neither loop waits for the element before.
fn first_of_the_largest(x: &[f32]) -> usize {
    let larger = |a: f32, b: f32| if exceeds(b, a) { b } else { a };
    let (vectors, rest) = x.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for vector in vectors {
        lanes.iter_mut().zip(vector).for_each(|(lane, &x)| *lane = larger(*lane, x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane = larger(*lane, x));
    let largest = lanes.into_iter().fold(f32::NEG_INFINITY, larger);
    let place = if largest.is_nan() {
        x.iter().position(|x| x.is_nan())
    } else {
        x.iter().position(|&x| x == largest)
    };
    place.unwrap_or(0)
}
