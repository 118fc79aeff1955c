//! The dispatches of each operation and fused group.

use super::fuse::{Group, HeadGroup};
use super::parts::{around, too_many_axes};
use super::strides::collapse;
use super::{Lowering, label};
use crate::compute::Kernel;
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::loss_term::STATS;
use crate::compute::mask::mask_words;
use crate::compute::storage::{Storage, Storages};
use crate::device::View;
use crate::error::Result;
use crate::graph::{Node, NodeId, Op};
use crate::kernels::argmax::ArgMax;
use crate::kernels::average_pool::AveragePool;
use crate::kernels::average_pool_gradient::AveragePoolGradient;
use crate::kernels::binary::{Binary, BinaryOp};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::fill::Fill;
use crate::kernels::gather_labels::GatherLabels;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::head::Head;
use crate::kernels::leaky_relu_gradient::LeakyReluGradient;
use crate::kernels::logit_loss::LogitLoss;
use crate::kernels::logit_loss_gradient::LogitLossGradient;
use crate::kernels::logsumexp::LogSumExp;
use crate::kernels::matmul::Matmul;
use crate::kernels::max_pool::MaxPool;
use crate::kernels::max_pool_gradient::MaxPoolGradient;
use crate::kernels::reduce::{Reduce, ReduceOp};
use crate::kernels::scatter_add::ScatterAdd;
use crate::kernels::scatter_labels::ScatterLabels;
use crate::kernels::sign_mask::SignMask;
use crate::kernels::softmax::Softmax;
use crate::kernels::unary::Unary;
use crate::kernels::uniform_fill::UniformFill;
use crate::kernels::winograd_output::Convolution;

impl Lowering<'_> {
    /// The dispatches of a node that is in no group.
    pub(super) fn emit(&mut self, id: NodeId) -> Result<()> {
        let node = self.node(id);
        let name = label(&node, id);
        let n: usize = node.shape.iter().product();
        match &node.op {
            Op::Leaf(leaf) => {
                let view = self.builder.external_named(&leaf.slot, leaf.words).part(leaf.offset, n);
                self.views.insert(id, view);
            }
            Op::Reshape => {
                let view = self.view(node.inputs[0])?;
                self.views.insert(id, view);
            }
            &Op::Constant(value) => self.emit_kernel(id, &node, name, Fill { n, value })?,
            &Op::Uniform { stream } => {
                self.emit_kernel(id, &node, name, UniformFill { n, low: 0.0, high: 1.0, stream })?;
            }
            &Op::Unary(op) => self.emit_kernel(id, &node, name, Unary { op, n })?,
            &Op::Binary(op) => self.emit_binary(id, &node, op, name)?,
            &Op::LeakyReluGradient { slope } => self.emit_leaky_relu_gradient(id, &node, slope, name)?,
            &Op::Slice { axis, first, step } => self.emit_slice(id, &node, axis, first, step)?,
            &Op::Pad { axis, first, step, value } => self.emit_pad(id, &node, axis, [first, step], value)?,
            &Op::Concat(axis) => self.emit_concat(id, &node, axis)?,
            Op::Broadcast | Op::Permute(_) => self.emit_copy(id, &node, name)?,
            Op::Sum(axes) => self.emit_reduction(id, &node, axes, ReduceOp::Sum, &name)?,
            Op::Max(axes) => self.emit_reduction(id, &node, axes, ReduceOp::Max, &name)?,
            Op::Min(axes) => self.emit_reduction(id, &node, axes, ReduceOp::Min, &name)?,
            &Op::ArgMax(axis) => {
                let [outer, axis, inner] = around(&self.node(node.inputs[0]).shape, axis);
                self.emit_kernel(id, &node, name, ArgMax { outer, axis, inner })?;
            }
            &Op::MatMul { transpose_a, transpose_b } => {
                let a = self.node(node.inputs[0]).shape;
                let k = if transpose_a { a[0] } else { a[1] };
                let bias = node.inputs.len() == 3;
                let kernel = Matmul { m: node.shape[0], n: node.shape[1], k, transpose_a, transpose_b, bias };
                self.emit_kernel(id, &node, name, kernel)?;
            }
            &Op::Conv2dWeightGradient(geometry) => self.emit_weight_gradient(id, &node, geometry, &name)?,
            &Op::AveragePool { size } => {
                let [n, h, w, c] = images(&self.node(node.inputs[0]));
                self.emit_kernel(id, &node, name, AveragePool { n, h, w, c, size })?;
            }
            &Op::AveragePoolGradient { size } => {
                let [n, h, w, c] = images(&node);
                self.emit_kernel(id, &node, name, AveragePoolGradient { n, h, w, c, size })?;
            }
            &Op::MaxPool(geometry) => self.emit_kernel(id, &node, name, MaxPool { geometry })?,
            &Op::MaxPoolGradient(geometry) => {
                self.emit_kernel(id, &node, name, MaxPoolGradient { geometry })?;
            }
            Op::LogSumExp => {
                let [rows, cols] = self.matrix(node.inputs[0]);
                self.emit_kernel(id, &node, name, LogSumExp { rows, cols })?;
            }
            &Op::Softmax { log } => {
                let [rows, cols] = self.matrix(id);
                self.emit_kernel(id, &node, name, Softmax { rows, cols, log })?;
            }
            Op::GatherRows => {
                let [_, rows, width] = around(&self.node(node.inputs[0]).shape, 0);
                self.emit_kernel(id, &node, name, GatherRows { count: n / width, rows, width })?;
            }
            Op::ScatterAdd => {
                let [_, rows, width] = around(&node.shape, 0);
                let count = self.node(node.inputs[1]).shape.iter().product();
                self.emit_kernel(id, &node, name, ScatterAdd { count, rows, width })?;
            }
            Op::GatherLabels => {
                let [rows, cols] = self.matrix(node.inputs[0]);
                self.emit_kernel(id, &node, name, GatherLabels { rows, cols })?;
            }
            Op::ScatterLabels => {
                let [rows, cols] = self.matrix(id);
                self.emit_kernel(id, &node, name, ScatterLabels { rows, cols })?;
            }
            Op::LogitLoss(parts) | Op::LogitStats(parts) => {
                // One kernel writes both; an output that nobody asks for goes to a scratch slot.
                let mut views = self.inputs(&node)?;
                let [n, classes] = self.matrix(node.inputs[0]);
                let own = self.place(id);
                if matches!(node.op, Op::LogitLoss(_)) {
                    let stats = self.builder.transient("logit stats", n * STATS);
                    views.extend([own, stats]);
                } else {
                    let losses = self.builder.transient("logit losses", n);
                    views.extend([losses, own]);
                }
                self.builder.dispatch(name, LogitLoss { n, classes, parts: parts.clone() }, &views);
            }
            Op::LogitLossGradient(parts) => {
                let [n, classes] = self.matrix(id);
                let kernel = LogitLossGradient { n, classes, parts: parts.clone() };
                self.emit_kernel(id, &node, name, kernel)?;
            }
            Op::NormMean(_) | Op::NormVariance(_) | Op::NormSums(_) | Op::NormProducts(_) => {
                self.emit_statistic(id, &node)?;
            }
            Op::Conv2d(_) | Op::Conv2dInputGradient(_) | Op::Normalise(_) | Op::NormaliseGradient(_) => {
                unreachable!("{} is always in a group", node.op.name())
            }
        }
        Ok(())
    }

    /// The dispatch of a kernel that binds a node's inputs, then its result.
    fn emit_kernel(
        &mut self,
        id: NodeId,
        node: &Node,
        name: String,
        kernel: impl Kernel + 'static,
    ) -> Result<()> {
        let mut views = self.inputs(node)?;
        views.push(self.place(id));
        self.builder.dispatch(name, kernel, &views);
        Ok(())
    }

    /// The dispatch of a fused group.
    pub(super) fn emit_group(&mut self, group: &Group) -> Result<()> {
        match *group {
            Group::Conv { conv, residual, value, raw, activated, mask } => {
                let node = self.node(conv);
                let Op::Conv2d(geometry) = node.op else { unreachable!("a convolution group") };
                let mut views = vec![self.view(node.inputs[0])?];
                if let Some(&bias) = node.inputs.get(2) {
                    views.push(self.view(bias)?);
                }
                if let Some(residual) = residual {
                    views.push(self.view(residual)?);
                }
                if raw {
                    views.push(self.place(value));
                }
                if let Some((activated, _)) = activated {
                    views.push(self.place(activated));
                }
                let name = label(&node, conv);
                if mask {
                    let words = mask_words(geometry.out_pixels(), geometry.c_out);
                    let view = self.builder.transient(format!("{name} mask"), words);
                    self.masks.insert(value, view);
                    views.push(view);
                }
                let kernel = Conv2d {
                    bias: node.inputs.len() == 3,
                    residual: residual.is_some(),
                    raw,
                    activated: activated.map(|(_, slope)| slope),
                    mask,
                    storage: self.storages(
                        node.inputs[0],
                        activated.map_or(value, |(id, _)| id),
                        geometry.c_out,
                    ),
                    ..Conv2d::new(geometry)
                };
                let kernel = self.policy.forward(kernel);
                self.emit_convolution(name, Convolution::Forward(kernel), node.inputs[1], &views)?;
            }
            Group::InputGradient { conv, masked, residual, when, value } => {
                let node = self.node(conv);
                let Op::Conv2dInputGradient(geometry) = node.op else {
                    unreachable!("an input gradient group")
                };
                let mut views = vec![self.view(node.inputs[0])?];
                if let Some((x, _)) = masked {
                    views.push(self.mask(x)?);
                }
                if let Some(residual) = residual {
                    views.push(self.view(residual)?);
                }
                views.push(self.place(value));
                let update = self.update.clone().filter(|update| update.gradient == value);
                views.extend(update.iter().flat_map(|update| &update.views));
                let kernel = Conv2dInputGradient {
                    mask: masked.map(|(_, slope)| slope),
                    residual: when,
                    update: update.map(|update| update.kernel),
                    storage: self.storages(node.inputs[0], value, geometry.c_in),
                    factor: self.factor(node.inputs[0], Some(value)),
                    ..Conv2dInputGradient::new(geometry)
                };
                let kernel = self.policy.input_gradient(kernel);
                let convolution = Convolution::InputGradient(kernel);
                self.emit_convolution(label(&node, conv), convolution, node.inputs[1], &views)?;
            }
            Group::Norm { norm, raw, activated, mask } => self.emit_norm(norm, raw, activated, mask)?,
            Group::NormGradient { norm, residual, value } => {
                self.emit_norm_gradient(norm, residual, value)?;
            }
            Group::Head(ref head) => self.emit_head(head)?,
        }
        Ok(())
    }

    fn emit_head(&mut self, head: &HeadGroup) -> Result<()> {
        let [n, h, w, features] = images(&self.node(head.activated));
        let [_, classes] = self.matrix(head.logits);
        let kernel = Head {
            n,
            pixels: h * w,
            features,
            classes,
            parts: head.parts.clone(),
            slope: head.masked.map(|(_, slope)| slope),
            logits: head.writes_logits,
            gradient: true,
            saved: head.writes_saved,
            storage: self.storage(head.activated),
            factor: self.halves.scale(head.gradient),
        };
        let mut views = vec![self.view(head.activated)?];
        for id in [head.weights, head.bias, head.labels] {
            views.push(self.view(id)?);
        }
        if let Some((value, _)) = head.masked {
            views.push(self.mask(value)?);
        }
        if head.writes_logits {
            views.push(self.place(head.logits));
        }
        views.push(match head.stats {
            Some(stats) => self.place(stats),
            None => self.builder.transient("head stats", n * STATS),
        });
        views.push(self.place(head.gradient));
        if head.writes_saved {
            let saved = self.builder.transient("head saved", kernel.saved_words());
            self.views.insert(head.pooled, saved.part(0, n * features));
            self.views.insert(head.logit_gradient, saved.part(kernel.logit_gradient_offset(), n * classes));
            views.push(saved);
        }
        self.builder.dispatch("head", kernel, &views);
        Ok(())
    }

    /// The views of all inputs of `node`.
    pub(super) fn inputs(&mut self, node: &Node) -> Result<Vec<View>> {
        node.inputs.iter().map(|&input| self.view(input)).collect()
    }

    fn matrix(&self, id: NodeId) -> [usize; 2] {
        self.node(id).shape[..].try_into().expect("shape inference made it a matrix")
    }

    fn emit_binary(&mut self, id: NodeId, node: &Node, op: BinaryOp, name: String) -> Result<()> {
        let (a, a_strides) = self.strided(node.inputs[0])?;
        let (b, b_strides) = self.strided(node.inputs[1])?;
        let collapsed = collapse(&node.shape, [&a_strides, &b_strides]);
        let (shape, [a_strides, b_strides]) = collapsed.ok_or_else(|| too_many_axes(node))?;
        let y = self.place(id);
        self.builder.dispatch(name, Binary { op, shape, a_strides, b_strides }, &[a, b, y]);
        Ok(())
    }

    fn emit_leaky_relu_gradient(&mut self, id: NodeId, node: &Node, slope: f32, name: String) -> Result<()> {
        let x = node.inputs[1];
        let packed = self.fusions.writes_mask(x);
        let gradient = self.view(node.inputs[0])?;
        let sign = if packed { self.mask(x)? } else { self.view(x)? };
        let (pixels, channels) = pixels_and_channels(node);
        let y = self.place(id);
        let kernel = LeakyReluGradient { pixels, channels, slope, packed };
        self.builder.dispatch(name, kernel, &[gradient, sign, y]);
        Ok(())
    }

    pub(super) fn emit_mask(&mut self, id: NodeId) -> Result<()> {
        let node = self.node(id);
        let x = self.view(id)?;
        let (pixels, channels) = pixels_and_channels(&node);
        let mask = self.builder.transient(format!("{} mask", label(&node, id)), mask_words(pixels, channels));
        self.builder.dispatch(label(&node, id), SignMask { pixels, channels }, &[x, mask]);
        self.masks.insert(id, mask);
        Ok(())
    }

    /// Runs of neighbouring axes, the last run first, each in one or two stages.
    fn emit_reduction(
        &mut self,
        id: NodeId,
        node: &Node,
        axes: &[usize],
        op: ReduceOp,
        name: &str,
    ) -> Result<()> {
        let mut shape = self.node(node.inputs[0]).shape;
        let mut stages = Vec::new();
        let mut end = axes.len();
        while end > 0 {
            let mut start = end - 1;
            while start > 0 && axes[start - 1] + 1 == axes[start] {
                start -= 1;
            }
            let (first, last) = (axes[start], axes[end - 1]);
            let product = |part: &[usize]| part.iter().product::<usize>();
            let outer = product(&shape[..first]);
            let inner = product(&shape[last + 1..]);
            stages.extend(Reduce::stages(outer, product(&shape[first..=last]), inner, op));
            shape[first..=last].fill(1);
            end = start;
        }
        let x = self.view(node.inputs[0])?;
        if let Some(first) = stages.first_mut() {
            first.storage = self.storage(node.inputs[0]);
            first.factor = self.factor(node.inputs[0], None);
        }
        self.emit_stages(id, x, &stages, name);
        Ok(())
    }

    /// The storage types of a convolution that gathers `source` and computes `target`, which has `channels` channels.
    fn storages(&self, source: NodeId, target: NodeId, channels: usize) -> Storages {
        let (a, c) = (self.storage(source), self.storage(target));
        // Weights are the copies that `emit_convolution` makes.
        let b = if channels.is_multiple_of(4) { a } else { Storage::F32 };
        Storages { a, b, c }
    }

    /// Reduces `x` stage by stage into the place of node `id`.
    fn emit_stages(&mut self, id: NodeId, mut x: View, stages: &[Reduce], name: &str) {
        for (i, &stage) in stages.iter().enumerate() {
            let y = match i + 1 == stages.len() {
                true => self.place(id),
                false => self.builder.transient(format!("{name} of parts"), stage.output_len()),
            };
            self.builder.dispatch(name, stage, &[x, y]);
            x = y;
        }
    }

    fn emit_weight_gradient(
        &mut self,
        id: NodeId,
        node: &Node,
        geometry: ConvGeometry,
        name: &str,
    ) -> Result<()> {
        let [x, gradient] = [self.view(node.inputs[0])?, self.view(node.inputs[1])?];
        let [a, b] = [node.inputs[0], node.inputs[1]].map(|id| self.storage(id));
        let kernel = self.policy.weight_gradient(Conv2dWeightGradient {
            storage: Storages { a, b, c: Storage::F32 },
            factor: self.factor(node.inputs[1], None),
            ..Conv2dWeightGradient::new(geometry)
        });
        if kernel.parts == 1 {
            let y = self.place(id);
            self.builder.dispatch(name, kernel, &[x, gradient, y]);
            return Ok(());
        }
        let weights = geometry.weights_len();
        let partials = self.builder.transient(format!("{name} split-K workspace"), kernel.parts * weights);
        self.builder.dispatch(name, kernel, &[x, gradient, partials]);
        self.emit_stages(id, partials, &Reduce::stages(1, kernel.parts, weights, ReduceOp::Sum), name);
        Ok(())
    }
}

fn images(node: &Node) -> [usize; 4] {
    node.shape[..].try_into().expect("shape inference made them images")
}

/// The last axis, and the product of the others.
fn pixels_and_channels(node: &Node) -> (usize, usize) {
    let channels = node.shape.last().copied().unwrap_or(1);
    (node.shape.iter().product::<usize>() / channels.max(1), channels)
}
