//! `y = a op b`, element by element, with broadcasting by strides.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::CHUNK;
use crate::compute::strides;
use crate::compute::strides::Walk;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// A function of two real numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
    /// The larger of both; NaN if either is.
    Max,
    /// The smaller of both; NaN if either is.
    Min,
    /// 1 where `a > b`, 1/2 where they are equal, else 0: the share of `a` in the derivative of [`BinaryOp::Max`].
    Step,
}

impl BinaryOp {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Add, Self::Sub, Self::Mul, Self::Div, Self::Max, Self::Min, Self::Step];
}

/// [`BinaryOp`] over two tensors of up to four axes; the output is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary {
    /// The function.
    pub op: BinaryOp,
    /// The output's shape; leading axes are padded with 1.
    pub shape: [usize; 4],
    /// Elements between neighbours of `a` along each axis; 0 repeats it.
    pub a_strides: [usize; 4],
    /// Elements between neighbours of `b` along each axis; 0 repeats it.
    pub b_strides: [usize; 4],
}

impl Binary {
    /// Every function with every number of axes that remain after neighbours are joined.
    pub fn permutations() -> Vec<Self> {
        let same = |shape| (shape, strides::contiguous(shape), strides::contiguous(shape));
        let cases = [
            same([1, 3, 7, 5]),
            ([1, 1, 30, 5], [0, 0, 5, 1], [0, 0, 0, 1]),
            ([1, 4, 3, 5], [0, 15, 5, 1], [0, 5, 0, 1]),
            ([2, 4, 3, 5], [60, 15, 5, 1], [3, 0, 1, 0]),
        ];
        let with = |op| cases.map(|(shape, a_strides, b_strides)| Self { op, shape, a_strides, b_strides });
        BinaryOp::ALL.map(with).concat()
    }

    fn walk(&self) -> Walk<2> {
        Walk::new(self.shape, [self.a_strides, self.b_strides])
    }

    fn n(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Kernel for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("a", 1, Access::Read, strides::words(self.shape, self.a_strides)),
            binding("b", 2, Access::Read, strides::words(self.shape, self.b_strides)),
            binding("y", 3, Access::Write, self.n()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("binary").with_u32("OP", self.op as u32).with_u32("RANK", self.walk().rank as u32)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = self.walk().uniforms();
        words.extend([self.n() as u32, 0, 0, 0]);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n())
    }

    fn flops(&self) -> u64 {
        self.n() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [a, b, y] = arguments else { unreachable!("binary binds a, b and y") };
        let (a, b, y) = (a.f32(), b.f32(), y.f32_mut());
        match self.op {
            BinaryOp::Add => map(&self.walk(), a, b, y, |a, b| a + b),
            BinaryOp::Sub => map(&self.walk(), a, b, y, |a, b| a - b),
            BinaryOp::Mul => map(&self.walk(), a, b, y, |a, b| a * b),
            BinaryOp::Div => map(&self.walk(), a, b, y, |a, b| a / b),
            BinaryOp::Max => map(&self.walk(), a, b, y, |a, b| ordered(a, b, [a, b, a])),
            BinaryOp::Min => map(&self.walk(), a, b, y, |a, b| ordered(a, b, [b, a, a])),
            BinaryOp::Step => map(&self.walk(), a, b, y, |a, b| ordered(a, b, [1.0, 0.0, 0.5])),
        }
    }
}

/// The first of `values` where `a > b`, the second where `a < b`, the third where they are equal; NaN if either is.
fn ordered(a: f32, b: f32, [above, below, equal]: [f32; 3]) -> f32 {
    if a > b {
        above
    } else if a < b {
        below
    } else if a == b {
        equal
    } else {
        a + b
    }
}

fn map(walk: &Walk<2>, a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let [a_step, b_step] = [walk.strides[0][3], walk.strides[1][3]];
    y.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, y)| {
        walk.runs(chunk * CHUNK, y.len(), |first, count, [i, j]| {
            let y = &mut y[first..first + count];
            match (a_step, b_step) {
                (1, 1) => {
                    for ((y, &a), &b) in y.iter_mut().zip(&a[i..i + count]).zip(&b[j..j + count]) {
                        *y = f(a, b);
                    }
                }
                (1, 0) => y.iter_mut().zip(&a[i..i + count]).for_each(|(y, &a)| *y = f(a, b[j])),
                (0, 1) => y.iter_mut().zip(&b[j..j + count]).for_each(|(y, &b)| *y = f(a[i], b)),
                _ => {
                    for (k, y) in y.iter_mut().enumerate() {
                        *y = f(a[i + k * a_step], b[j + k * b_step]);
                    }
                }
            }
        });
    });
}
