//! The dispatches of slices, padding and concatenations.

use super::emit::{around, too_many_axes};
use super::strides::{collapse, contiguous};
use super::{Lowering, label};
use crate::error::Result;
use crate::graph::{Node, NodeId};
use crate::kernels::copy::StridedCopy;
use crate::kernels::fill::Fill;
use crate::kernels::paste::Paste;

impl Lowering<'_> {
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
