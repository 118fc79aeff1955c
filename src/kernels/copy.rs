//! `y = x` read through strides: broadcast, transposition, permutation, plain copy.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::CHUNK;
use crate::compute::strides;
use crate::compute::strides::Walk;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// Writes a contiguous tensor of up to four axes from a tensor, or a part of one, that is read through strides. Words
/// are copied as they are, so the element type does not matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StridedCopy {
    /// The output's shape; leading axes are padded with 1.
    pub shape: [usize; 4],
    /// Elements between neighbours of `x` along each axis of the output; 0 repeats it.
    pub strides: [usize; 4],
    /// The element of `x` that is the output's first.
    pub offset: usize,
}

impl StridedCopy {
    /// One instance for every number of axes that remain after neighbours are joined.
    pub fn permutations() -> Vec<Self> {
        [
            ([2, 3, 5, 7], strides::contiguous([2, 3, 5, 7]), 0),
            ([1, 1, 40, 9], [0, 0, 0, 1], 0),
            ([1, 9, 16, 3], [0, 48, 1, 16], 0),
            ([2, 3, 4, 5], [1, 2, 6, 24], 0),
            ([1, 3, 4, 5], [0, 100, 10, 1], 7),
        ]
        .map(|(shape, strides, offset)| Self { shape, strides, offset })
        .to_vec()
    }

    fn walk(&self) -> Walk<1> {
        Walk::new(self.shape, [self.strides])
    }

    fn n(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Kernel for StridedCopy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn bindings(&self) -> Vec<Binding> {
        let words = self.offset + strides::words(self.shape, self.strides);
        vec![
            binding("x", 1, Access::Read, words).moving(words - self.offset),
            binding("y", 2, Access::Write, self.n()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("copy").with_u32("RANK", self.walk().rank as u32)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = self.walk().uniforms();
        words.extend([self.n() as u32, self.offset as u32, 0, 0]);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n())
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("copy binds x and y") };
        let (x, y) = (&x.u32()[self.offset..], y.u32_mut());
        let walk = self.walk();
        let step = walk.strides[0][3];
        y.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, y)| {
            walk.runs(chunk * CHUNK, y.len(), |first, count, [i]| {
                let y = &mut y[first..first + count];
                match step {
                    0 => y.fill(x[i]),
                    1 => y.copy_from_slice(&x[i..i + count]),
                    _ => y.iter_mut().zip(x[i..].iter().step_by(step)).for_each(|(y, &x)| *y = x),
                }
            });
        });
    }
}
