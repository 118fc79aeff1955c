//! Sums, maxima and minima along one axis, in an order that does not depend on the device's parallelism.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::half::in_f32;
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// The reduction of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    /// `Σ x`.
    Sum,
    /// `Σ x²`.
    SumOfSquares,
    /// The largest `x`; NaN if any is.
    Max,
    /// The smallest `x`; NaN if any is.
    Min,
}

impl ReduceOp {
    /// The number in the shader.
    fn code(self) -> u32 {
        match self {
            Self::Sum => 0,
            Self::SumOfSquares => 1,
            Self::Max => 2,
            Self::Min => 3,
        }
    }

    /// The operation that reduces the results of parts.
    fn of_parts(self) -> Self {
        if self == Self::SumOfSquares { Self::Sum } else { self }
    }
}

/// Reduces `x [outer, axis, inner]` over runs of `part` neighbours along its middle axis:
/// `y [outer, ceil(axis / part), inner]`. With `part = axis` that is the whole axis.
/// [`Reduce::stages`] chooses `part`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reduce {
    /// Product of the axes before the reduced one.
    pub outer: usize,
    /// Length of the reduced axis.
    pub axis: usize,
    /// Product of the axes after the reduced one.
    pub inner: usize,
    /// Neighbours along the axis that make one output; the last output of each axis may have fewer.
    pub part: usize,
    /// The reduction.
    pub op: ReduceOp,
    /// The storage type of `x`; with f16 it has an even number of elements.
    pub storage: Storage,
    /// A power of two that multiplies the results: the inverse of the factor in `x`.
    pub factor: f32,
}

impl Reduce {
    /// One dispatch that reduces `x [outer, axis, inner]` in f32.
    pub fn new(outer: usize, axis: usize, inner: usize, op: ReduceOp) -> Self {
        Self { outer, axis, inner, part: axis, op, storage: Storage::F32, factor: 1.0 }
    }

    /// Every operation, with a long and a short axis, ahead of many and of few inner elements.
    pub fn permutations() -> Vec<Self> {
        let ops = [ReduceOp::Sum, ReduceOp::SumOfSquares, ReduceOp::Max, ReduceOp::Min];
        let shapes =
            [(1, 3000, 16, 500), (1, 8, 300, 8), (40, 10, 1, 10), (1, 5000, 1, 700), (1, 600, 90, 100)];
        let with =
            |op| shapes.map(|(outer, axis, inner, part)| Self { part, ..Self::new(outer, axis, inner, op) });
        let half = |kernel: Self| Self { storage: Storage::F16, factor: 0.125, ..kernel };
        let halves = with(ReduceOp::Sum).map(half).into_iter();
        ops.map(with).into_iter().flatten().chain(halves).collect()
    }

    /// The dispatches that reduce `x [outer, axis, inner]` to `y [outer, inner]`: one, or for a long axis
    /// two, the second of which reduces the first's output (its `output_len` words are a transient slot).
    pub fn stages(outer: usize, axis: usize, inner: usize, op: ReduceOp) -> Vec<Self> {
        let whole = Self::new(outer, axis, inner, op);
        if axis <= LONG || outer * inner >= WIDE {
            return vec![whole];
        }
        let part = axis.div_ceil(axis.div_ceil(PART).min(MOST_PARTS));
        let parts = axis.div_ceil(part);
        vec![Self { part, ..whole }, Self::new(outer, parts, inner, op.of_parts())]
    }

    /// Results per axis: `ceil(axis / part)`.
    pub fn parts(&self) -> usize {
        self.axis.div_ceil(self.part)
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.outer * self.parts() * self.inner
    }

    fn lanes(&self) -> usize {
        lanes(self.part.min(self.axis), self.inner)
    }

    /// The twin, in float64, which costs nothing beside the loads. `join` combines the result so far, at first `start`,
    /// with the next element or with another lane's result.
    fn fold(
        &self,
        x: &[f32],
        y: &mut [f32],
        start: f64,
        term: impl Fn(f64) -> f64 + Sync,
        join: impl Fn(f64, f64) -> f64 + Sync,
    ) {
        let (axis, inner, part, parts) = (self.axis, self.inner, self.part, self.parts());
        let terms = |row: usize| {
            let (outer, first) = (row / parts, row % parts * part);
            &x[(outer * axis + first) * inner..(outer * axis + axis.min(first + part)) * inner]
        };
        let add = |(so_far, &x): (&mut f64, &f32)| *so_far = join(*so_far, term(f64::from(x)));
        let rows_per_task = items_per_task(part * inner);
        if inner == 1 {
            y.par_iter_mut().with_min_len(rows_per_task).enumerate().for_each(|(row, y)| {
                let (vectors, rest) = terms(row).as_chunks::<16>();
                let mut lanes = [start; 16];
                for vector in vectors {
                    lanes.iter_mut().zip(vector).for_each(add);
                }
                lanes.iter_mut().zip(rest).for_each(add);
                *y = lanes.into_iter().fold(start, &join) as f32;
            });
            return;
        }
        y.par_chunks_mut(inner).with_min_len(rows_per_task).enumerate().for_each(|(row, y)| {
            let terms = terms(row);
            let blocks_per_task = items_per_task(part * COLUMNS);
            y.par_chunks_mut(COLUMNS).with_min_len(blocks_per_task).enumerate().for_each(|(block, y)| {
                let mut columns = [start; COLUMNS];
                for x in terms.chunks_exact(inner) {
                    let x = &x[block * COLUMNS..][..y.len()];
                    columns.iter_mut().zip(x).for_each(add);
                }
                y.iter_mut().zip(columns).for_each(|(y, column)| *y = column as f32);
            });
        });
    }
}

/// Neighbouring results of one workgroup of the shader, for `axis` elements each; its other threads share their
/// elements. A long axis needs many threads a result, and coalesced loads need as many results as fit the inner axis.
pub(super) fn lanes(axis: usize, inner: usize) -> usize {
    let threads = axis / 4;
    let threads = if threads < 2 { 1 } else { 1 << threads.ilog2().min(8) };
    (256 / threads).max(inner.next_power_of_two().min(32))
}

/// Neighbouring results that the twin holds at once.
const COLUMNS: usize = 256;
/// Up to this length an axis is reduced in one dispatch.
const LONG: usize = 1024;
/// From this many outputs on, one dispatch fills any device.
const WIDE: usize = 65_536;
/// The part of a long axis that one workgroup reduces.
const PART: usize = 512;
/// The most results of parts: with more, the second dispatch would dominate the time.
const MOST_PARTS: usize = 1024;

impl Kernel for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.input_len()).stored(self.storage),
            binding("y", 2, Access::Write, self.output_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("reduce")
            .with_u32("LANES", self.lanes() as u32)
            .with_u32("OP", self.op.code())
            .with_switch("HALF", self.storage == Storage::F16)
    }

    fn uniforms(&self) -> Vec<u32> {
        let columns = self.outer * self.inner;
        let sizes = [columns, self.inner, self.axis, self.part, self.parts()].map(|v| v as u32);
        sizes.into_iter().chain([self.factor.to_bits(), 0, 0]).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.outer * self.inner).div_ceil(self.lanes()) * self.parts())
    }

    fn flops(&self) -> u64 {
        let each = if self.op == ReduceOp::SumOfSquares { 2 } else { 1 };
        each * self.input_len() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            let [x, y] = arguments else { unreachable!("reduce binds x and y") };
            let (x, y, factor) = (x.f32(), y.f32_mut(), f64::from(self.factor));
            match self.op {
                ReduceOp::Sum => self.fold(x, y, 0.0, |x| x * factor, |a, b| a + b),
                ReduceOp::SumOfSquares => self.fold(x, y, 0.0, |x| x * x * factor, |a, b| a + b),
                ReduceOp::Max => {
                    let larger = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
                    self.fold(x, y, f64::NEG_INFINITY, |x| x * factor, larger);
                }
                ReduceOp::Min => {
                    let smaller = |a: f64, b: f64| if b < a || b.is_nan() { b } else { a };
                    self.fold(x, y, f64::INFINITY, |x| x * factor, smaller);
                }
            }
        });
    }
}
