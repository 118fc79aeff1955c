//! Operations over axes: sums, means, maxima, minima and their positions.

use super::{Indices, Op, Tensor};

impl Tensor {
    /// Sums over `axes`, which stay with length 1.
    pub fn sum_keep(&self, axes: &[usize]) -> Tensor {
        self.reduce_keep("sum", axes, Op::Sum)
    }

    /// Sums over `axes`, which are removed.
    pub fn sum(&self, axes: &[usize]) -> Tensor {
        self.sum_keep(axes).without(axes)
    }

    /// The sum of all elements, a scalar.
    pub fn sum_all(&self) -> Tensor {
        self.reshape([self.elements()]).sum(&[0])
    }

    /// The mean over `axes`, which are removed.
    pub fn mean(&self, axes: &[usize]) -> Tensor {
        let sum = self.sum(axes);
        sum.scale(sum.elements() as f32 / self.elements() as f32)
    }

    /// The largest element over `axes`, which stay with length 1; NaN if any is NaN. Elements that are equally large
    /// share the gradient equally.
    pub fn max_keep(&self, axes: &[usize]) -> Tensor {
        self.reduce_keep("max", axes, Op::Max)
    }

    /// [`Tensor::max_keep`] with `axes` removed.
    pub fn max(&self, axes: &[usize]) -> Tensor {
        self.max_keep(axes).without(axes)
    }

    /// The smallest element over `axes`, which stay with length 1; NaN if any is NaN. Elements that are equally small
    /// share the gradient equally.
    pub fn min_keep(&self, axes: &[usize]) -> Tensor {
        self.reduce_keep("min", axes, Op::Min)
    }

    /// [`Tensor::min_keep`] with `axes` removed.
    pub fn min(&self, axes: &[usize]) -> Tensor {
        self.min_keep(axes).without(axes)
    }

    /// The position of the largest element along `axis`, which is removed: the first of equals. NaN counts as larger
    /// than any number.
    pub fn argmax(&self, axis: usize) -> Indices {
        let mut shape = self.shape.clone();
        if axis >= shape.len() {
            let message = format!("axis {axis} of a tensor {shape:?}");
            return Indices(self.fail("argmax", message, shape));
        }
        shape[axis] = 1;
        Indices(self.push(Op::ArgMax(axis), &[], shape).without(&[axis]))
    }

    fn reduce_keep(&self, name: &'static str, axes: &[usize], op: fn(Vec<usize>) -> Op) -> Tensor {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        axes.dedup();
        if axes.last().is_some_and(|&last| last >= self.shape.len()) {
            let message = format!("axes {axes:?} of a tensor {:?}", self.shape);
            return self.fail(name, message, self.shape.clone());
        }
        axes.retain(|&axis| self.shape[axis] != 1);
        if axes.is_empty() {
            return self.clone();
        }
        let mut shape = self.shape.clone();
        for &axis in &axes {
            shape[axis] = 1;
        }
        self.push(op(axes), &[], shape)
    }

    /// Removes `axes`, of length 1. After a mistake in a reduction the shape stays the same.
    fn without(&self, axes: &[usize]) -> Tensor {
        let keep = |(axis, &length): (usize, &usize)| (!axes.contains(&axis)).then_some(length);
        let shape: Vec<usize> = self.shape.iter().enumerate().filter_map(keep).collect();
        if shape.iter().product::<usize>() == self.elements() { self.reshape(shape) } else { self.clone() }
    }
}
