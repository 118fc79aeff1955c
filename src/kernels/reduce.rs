//! Sums along one axis, in an order that does not depend on the device's parallelism.

use super::{Access, Binding, Kernel, binding, shader::Shader};
use crate::device::cpu::Argument;

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    /// `Σ x`.
    Sum,
    /// `Σ x²`.
    SumOfSquares,
}

/// Sums `x [outer, axis, inner]` over runs of `part` neighbours along its middle axis:
/// `y [outer, ceil(axis / part), inner]`. With `part = axis` that is the whole sum.
/// [`Reduce::stages`] chooses `part`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reduce {
    /// Product of the axes before the summed one.
    pub outer: usize,
    /// Length of the summed axis.
    pub axis: usize,
    /// Product of the axes behind the summed one.
    pub inner: usize,
    /// Neighbours along the axis that one output sums; the last output of each axis may have fewer.
    pub part: usize,
    /// What is summed.
    pub op: ReduceOp,
}

impl Reduce {
    /// The dispatches that reduce `x [outer, axis, inner]` to `y [outer, inner]`: one, or for a long axis
    /// two, the second of which sums the first's output (its `output_len` words are a transient slot).
    pub fn stages(outer: usize, axis: usize, inner: usize, op: ReduceOp) -> Vec<Self> {
        let whole = Self { outer, axis, inner, part: axis, op };
        if axis <= LONG || outer * inner >= WIDE {
            return vec![whole];
        }
        let part = axis.div_ceil(axis.div_ceil(PART).min(MOST_PARTS));
        let parts = axis.div_ceil(part);
        vec![Self { part, ..whole }, Self { outer, axis: parts, inner, part: parts, op: ReduceOp::Sum }]
    }

    /// Sums per axis: `ceil(axis / part)`.
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
}

/// Up to this length an axis is summed in one dispatch.
const LONG: usize = 1024;
/// From so many outputs on one dispatch fills any device.
const WIDE: usize = 65_536;
/// The part of a long axis that one workgroup sums.
const PART: usize = 512;
/// More partial sums than this would make the second dispatch the slow one.
const MOST_PARTS: usize = 1024;

impl Kernel for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("x", 1, Access::Read, self.input_len()),
            binding("y", 2, Access::Write, self.output_len()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("reduce", include_str!("../../shaders/reduce.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        self.input_len() as u64
    }

    fn run(&self, _arguments: &mut [Argument<'_>]) {
        unimplemented!()
    }
}
