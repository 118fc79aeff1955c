//! Parts of tensors: slices, padding, concatenation.

use super::{Graph, Op, Tensor};
use std::ops::Range;

impl Graph {
    /// `parts` one after the other along `axis`, with equal lengths of all other axes.
    pub fn concat(&self, parts: &[&Tensor], axis: usize) -> Tensor {
        let mistake = |message: String| {
            self.fail("concat", message);
            self.constant(0.0, parts.first().map_or(Vec::new(), |part| part.shape.clone()))
        };
        let Some((first, others)) = parts.split_first() else { return mistake("no parts".into()) };
        if parts.iter().any(|part| !self.is_same(&part.graph)) {
            return mistake("tensors of two graphs".into());
        }
        let alike = |other: &&Tensor| {
            other.shape.len() == first.shape.len()
                && (0..first.shape.len()).all(|i| i == axis || other.shape[i] == first.shape[i])
        };
        if axis >= first.shape.len() || !others.iter().all(alike) {
            let shapes: Vec<&[usize]> = parts.iter().map(|part| part.shape()).collect();
            return mistake(format!("{shapes:?} along axis {axis}"));
        }
        if others.is_empty() {
            return (*first).clone();
        }
        let mut shape = first.shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        first.push(Op::Concat(axis), others, shape)
    }
}

impl Tensor {
    /// The positions `range` of `axis`.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Tensor {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th position of `range` along `axis`, from its first on.
    pub fn slice_step(&self, axis: usize, range: Range<usize>, step: usize) -> Tensor {
        let fits = self.shape.get(axis).is_some_and(|&length| range.end <= length) && !range.is_empty();
        if !fits || step == 0 {
            let message =
                format!("{range:?} with step {step} along axis {axis} of a tensor {:?}", self.shape);
            return self.fail("slice", message, self.shape.clone());
        }
        self.every(axis, range.start, step, range.len().div_ceil(step))
    }

    /// `count` positions of `axis`, `step` apart, from `first` on.
    pub(super) fn every(&self, axis: usize, first: usize, step: usize, count: usize) -> Tensor {
        if count == self.shape[axis] {
            return self.clone();
        }
        let mut shape = self.shape.clone();
        shape[axis] = count;
        self.push(Op::Slice { axis, first, step }, &[], shape)
    }

    /// `before` positions of `value` in front of `axis`, and `after` positions at its end.
    pub fn pad(&self, axis: usize, before: usize, after: usize, value: f32) -> Tensor {
        let Some(&length) = self.shape.get(axis) else {
            let message = format!("axis {axis} of a tensor {:?}", self.shape);
            return self.fail("pad", message, self.shape.clone());
        };
        self.spread(axis, before, 1, before + length + after, value)
    }

    /// `length` positions of `axis` that are `value` except every `step`-th from `first` on: the transpose of
    /// [`Tensor::every`].
    pub(super) fn spread(&self, axis: usize, first: usize, step: usize, length: usize, value: f32) -> Tensor {
        if length == self.shape[axis] {
            return self.clone();
        }
        let mut shape = self.shape.clone();
        shape[axis] = length;
        self.push(Op::Pad { axis, first, step, value }, &[], shape)
    }
}
