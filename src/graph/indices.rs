//! Indices: labels, tokens, positions. Rows and columns are chosen by them; arithmetic with them does not compile.

use super::{Contents, Graph, Leaf, Op, Tensor};
use crate::kernels::unary::UnaryOp;

/// Whole numbers that choose elements: labels, tokens, positions of maxima. Their words are u32, so they are no
/// [`Tensor`], and arithmetic with them does not compile:
///
/// ```compile_fail,E0308
/// # let graph = jem::graph::Graph::new();
/// let labels = graph.indices("labels", [8]);
/// let x = graph.input("x", [8]);
/// let sum = x.add(&labels);
/// ```
///
/// [`Indices::to_floats`] makes numbers of them.
#[derive(Debug, Clone)]
pub struct Indices(pub(super) Tensor);

impl Graph {
    /// Indices that are the whole external buffer `name`, of u32.
    pub fn indices(&self, name: &str, shape: impl Into<Vec<usize>>) -> Indices {
        Indices(self.input_of(name, Contents::Words, shape.into()))
    }

    /// Indices that are a part of an external buffer of u32.
    pub fn indices_leaf(&self, leaf: Leaf, shape: impl Into<Vec<usize>>) -> Indices {
        Indices(self.leaf_of(leaf, Contents::Words, shape.into()))
    }
}

impl Indices {
    /// The lengths of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// The number of indices.
    pub fn elements(&self) -> usize {
        self.0.elements()
    }

    /// The same indices in the same order, with other lengths.
    pub fn reshape(&self, shape: impl Into<Vec<usize>>) -> Self {
        Self(self.0.reshape(shape))
    }

    /// The indices as floating-point numbers, exact up to 2^24; their gradient is 0.
    pub fn to_floats(&self) -> Tensor {
        self.0.push(Op::Unary(UnaryOp::Float), &[], self.0.shape.clone())
    }

    /// `[n]` as `[n, count]` with 1 at each index and 0 elsewhere. An index outside `count` gives a row of zeros.
    pub fn one_hot(&self, count: usize) -> Tensor {
        self.0.graph.constant(1.0, self.shape()).scatter_labels(self, count)
    }
}

impl Tensor {
    /// For each index, the row of a table `[rows, ..]`, such as the embeddings of tokens. The result has the shape of
    /// the indices, then that of a row. An index that is not a row gives a row of NaN.
    pub fn gather_rows(&self, indices: &Indices) -> Tensor {
        if self.shape.is_empty() {
            return self.fail("gather_rows", "expected [rows, ..], got []".into(), indices.shape().to_vec());
        }
        let shape = [indices.shape(), &self.shape[1..]].concat();
        self.push(Op::GatherRows, &[&indices.0], shape)
    }

    /// For each of `rows` indices, the sum of the rows of `self` that have this index, as `[rows, ..]`, or 0 if there
    /// are none: the gradient of [`Tensor::gather_rows`]. `self` has the shape of the indices, then that of a row. An
    /// index that is not a row adds nothing. On a GPU this compares all indices with all `rows`.
    pub fn scatter_add(&self, indices: &Indices, rows: usize) -> Tensor {
        let Some(row) = self.shape.strip_prefix(indices.shape()) else {
            let message = format!("indices {:?} for {:?}", indices.shape(), self.shape);
            return self.fail("scatter_add", message, vec![rows]);
        };
        let shape = [&[rows], row].concat();
        if rows == 0 {
            return self.fail("scatter_add", format!("{:?} into no rows", self.shape), shape);
        }
        self.push(Op::ScatterAdd, &[&indices.0], shape)
    }

    /// `x[r, labels[r]]` for `[rows, cols]`, as `[rows]`. A label outside the columns gives NaN.
    pub fn gather_labels(&self, labels: &Indices) -> Tensor {
        let Some([rows, _]) = self.matrix("gather_labels") else { return self.zeros::<1>() };
        if labels.shape() != [rows] {
            let message = format!("labels {:?} for {rows} rows", labels.shape());
            return self.fail("gather_labels", message, vec![rows]);
        }
        self.push(Op::GatherLabels, &[&labels.0], vec![rows])
    }

    /// `[rows]` as `[rows, cols]` with `x[r]` at column `labels[r]` and 0 elsewhere. A label outside the columns gives
    /// a row of zeros.
    pub fn scatter_labels(&self, labels: &Indices, cols: usize) -> Tensor {
        if self.shape.len() != 1 || labels.shape() != self.shape {
            let message = format!("labels {:?} for {:?}", labels.shape(), self.shape);
            return self.fail("scatter_labels", message, vec![1, cols]);
        }
        self.push(Op::ScatterLabels, &[&labels.0], vec![self.shape[0], cols])
    }
}
