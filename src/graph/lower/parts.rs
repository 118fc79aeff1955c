//! The dispatches of operations that move elements: broadcasts, permutations, slices, padding, concatenations.

use super::strides::{collapse, contiguous};
use super::{Lowering, label};
use crate::device::View;
use crate::error::{Error, Result};
use crate::graph::{Node, NodeId, Op};
use crate::kernels::copy::StridedCopy;
use crate::kernels::fill::Fill;
use crate::kernels::paste::Paste;

impl Lowering<'_> {
    /// A node as an operand of `shape` that is read by strides: a broadcast is never written out.
    pub(super) fn strided(&mut self, id: NodeId) -> Result<(View, Vec<usize>)> {
        let node = self.node(id);
        let strides = contiguous(&node.shape);
        match node.op {
            Op::Broadcast => {
                let source = self.node(node.inputs[0]);
                let mut strides = contiguous(&source.shape);
                for (stride, (&from, &to)) in strides.iter_mut().zip(source.shape.iter().zip(&node.shape)) {
                    if from != to {
                        *stride = 0;
                    }
                }
                Ok((self.view(node.inputs[0])?, strides))
            }
            _ => Ok((self.view(id)?, strides)),
        }
    }

    pub(super) fn emit_copy(&mut self, id: NodeId, node: &Node, name: String) -> Result<()> {
        let (x, strides) = match &node.op {
            Op::Permute(axes) => {
                let source = node.inputs[0];
                let strides = contiguous(&self.node(source).shape);
                (self.view(source)?, axes.iter().map(|&axis| strides[axis]).collect())
            }
            _ => self.strided(id)?,
        };
        let (shape, [strides]) = collapse(&node.shape, [&strides]).ok_or_else(|| too_many_axes(node))?;
        let y = self.place(id);
        self.builder.dispatch(name, StridedCopy { shape, strides, offset: 0 }, &[x, y]);
        Ok(())
    }

    pub(super) fn emit_slice(
        &mut self,
        id: NodeId,
        node: &Node,
        axis: usize,
        first: usize,
        step: usize,
    ) -> Result<()> {
        let source = node.inputs[0];
        let mut strides = contiguous(&self.node(source).shape);
        let offset = first * strides[axis];
        strides[axis] *= step;
        let (shape, [strides]) = collapse(&node.shape, [&strides]).ok_or_else(|| too_many_axes(node))?;
        let x = self.view(source)?;
        let y = self.place(id);
        self.builder.dispatch(label(node, id), StridedCopy { shape, strides, offset }, &[x, y]);
        Ok(())
    }

    pub(super) fn emit_pad(
        &mut self,
        id: NodeId,
        node: &Node,
        axis: usize,
        [first, step]: [usize; 2],
        value: f32,
    ) -> Result<()> {
        let n = node.shape.iter().product();
        let x = self.view(node.inputs[0])?;
        let y = self.place(id);
        self.builder.dispatch(label(node, id), Fill { n, value }, &[y]);
        let [outer, axis_len, inner] = around(&self.node(node.inputs[0]).shape, axis);
        let paste = Paste { outer, axis: axis_len, inner, length: node.shape[axis], first, step };
        self.builder.dispatch(label(node, id), paste, &[x, y]);
        Ok(())
    }

    /// One dispatch for each part, which moves that part alone.
    pub(super) fn emit_concat(&mut self, id: NodeId, node: &Node, axis: usize) -> Result<()> {
        let parts = self.inputs(node)?;
        let y = self.place(id);
        let mut first = 0;
        for (&part, x) in node.inputs.iter().zip(parts) {
            let [outer, length, inner] = around(&self.node(part).shape, axis);
            let paste = Paste { outer, axis: length, inner, length: node.shape[axis], first, step: 1 };
            self.builder.dispatch(label(node, id), paste, &[x, y]);
            first += length;
        }
        Ok(())
    }
}

/// The product of the axes before `axis`, its length, and the product of those after it.
pub(super) fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

pub(super) fn too_many_axes(node: &Node) -> Error {
    let message = format!("{:?} has more than four axes that do not merge; reshape it", node.shape);
    Error::Shape { operation: node.op.name(), message }
}
