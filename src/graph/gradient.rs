//! The gradient table: for each operation, the gradient at each input as more graph.
//!
//! A gradient that is not asked for is never built: only nodes on a path from `wrt` to the loss get a gradient, so that
//! SGLD, which asks for the images' alone, has no weight gradients by construction. Convolution, its input gradient and
//! its weight gradient are closed under differentiation, as are the others here, so gradients of gradients work.

use super::{Graph, Indices, Node, NodeId, Op, Tensor};
use crate::compute::loss_term::LossTerm;
use crate::kernels::binary::BinaryOp;
use crate::kernels::unary::UnaryOp;
use std::collections::HashSet;

impl Graph {
    /// The gradients of the sum of all elements of `loss` with respect to each of `wrt`, in their shapes.
    pub fn grad<const N: usize>(&self, loss: &Tensor, wrt: [&Tensor; N]) -> [Tensor; N] {
        self.grad_of_all(&[loss], &wrt).try_into().expect("a gradient for each")
    }

    /// [`Graph::grad`] of the sum of several losses, with respect to any number of tensors.
    pub fn grad_of_all(&self, losses: &[&Tensor], wrt: &[&Tensor]) -> Vec<Tensor> {
        if losses.iter().chain(wrt).any(|tensor| !self.is_same(tensor.graph())) {
            self.fail("grad", "tensors of two graphs".into());
            return wrt.iter().map(|tensor| self.constant(0.0, tensor.shape())).collect();
        }
        let ones = |loss: &&Tensor| self.constant(1.0, loss.shape());
        let seeds: Vec<_> = losses.iter().map(|loss| (*loss, ones(loss))).collect();
        self.grad_from(&seeds, wrt)
    }

    /// The gradients with respect to each of `wrt`, for the gradients `seeds` at some tensors.
    pub(super) fn grad_from(&self, seeds: &[(&Tensor, Tensor)], wrt: &[&Tensor]) -> Vec<Tensor> {
        let mut varying: HashSet<NodeId> = wrt.iter().map(|tensor| tensor.id()).collect();
        let last = seeds.iter().map(|(tensor, _)| tensor.id() + 1).max().unwrap_or(0);
        for id in 0..last {
            if self.node(id).inputs.iter().any(|input| varying.contains(input)) {
                varying.insert(id);
            }
        }
        let mut gradients: Vec<Option<Tensor>> = vec![None; last];
        let add = |gradients: &mut Vec<Option<Tensor>>, id: NodeId, part: &Tensor| {
            let sum = gradients[id].take();
            gradients[id] = Some(sum.map_or(part.clone(), |sum| sum.add(part)));
        };
        for (tensor, gradient) in seeds {
            add(&mut gradients, tensor.id(), gradient);
        }
        for id in (0..last).rev().filter(|id| varying.contains(id)) {
            let Some(upstream) = gradients[id].clone() else { continue };
            let node = self.node(id);
            let inputs = node.inputs.iter().enumerate().filter(|(_, input)| varying.contains(input));
            let positions: Vec<usize> = inputs.map(|(position, _)| position).collect();
            let parts = self.scope(&node.scope, || {
                let one = |&position: &usize| self.local(id, &node, position, &upstream);
                let all = self.norm_gradients(&node, &positions, &upstream);
                all.unwrap_or_else(|| positions.iter().map(one).collect())
            });
            for (position, part) in positions.into_iter().zip(parts) {
                part.iter().for_each(|part| add(&mut gradients, node.inputs[position], part));
            }
        }
        let of = |tensor: &&Tensor| gradients.get(tensor.id()).cloned().flatten();
        wrt.iter().map(|tensor| of(tensor).unwrap_or_else(|| self.constant(0.0, tensor.shape()))).collect()
    }

    /// The table: the gradient at input `position` of node `id` for the gradient `g` of its result; `None`
    /// where it is zero everywhere.
    fn local(&self, id: NodeId, node: &Node, position: usize, g: &Tensor) -> Option<Tensor> {
        let x = |index: usize| self.tensor(node.inputs[index]);
        let indices = |index: usize| Indices(x(index));
        let y = || self.tensor(id);
        let first = position == 0;
        Some(match &node.op {
            Op::Leaf(_) | Op::Constant(_) | Op::Uniform { .. } | Op::LogitStats(_) | Op::ArgMax(_) => {
                return None;
            }
            Op::Unary(UnaryOp::Affine(a, _)) => g.scale(*a),
            Op::Unary(UnaryOp::Exp) => g.mul(&y()),
            Op::Unary(UnaryOp::Log) => g.div(&x(0)),
            Op::Unary(UnaryOp::Reciprocal) => -&g.mul(&y()).mul(&y()),
            Op::Unary(UnaryOp::Sqrt) => g.div(&y()).scale(0.5),
            Op::Unary(UnaryOp::LeakyRelu(slope)) => g.leaky_relu_gradient(&x(0), *slope),
            Op::Unary(UnaryOp::Clamp(low, high)) => g.mul(&x(0).inside(*low, *high)),
            Op::Unary(UnaryOp::Inside(..) | UnaryOp::Float) => return None,
            Op::Unary(UnaryOp::Sigmoid) => g.mul(&y().mul(&y().affine(-1.0, 1.0))),
            Op::Unary(UnaryOp::Softplus) => g.mul(&x(0).sigmoid()),
            Op::Unary(UnaryOp::Tanh) => g.mul(&y().square().affine(-1.0, 1.0)),
            // x σ'(x) is 0 at infinities; the clamp avoids infinity times 0 there.
            Op::Unary(UnaryOp::Silu) => {
                let sigmoid = x(0).sigmoid();
                let finite = x(0).clamp(f32::MIN, f32::MAX);
                g.mul(&sigmoid.add(&finite.mul(&sigmoid.mul(&sigmoid.affine(-1.0, 1.0)))))
            }
            Op::Unary(UnaryOp::Pow(p)) => g.mul(&x(0).pow(p - 1.0).scale(*p)),
            Op::Unary(UnaryOp::Abs) => g.mul(&x(0).sign()),
            Op::Unary(UnaryOp::Sign) | Op::Binary(BinaryOp::Step) => return None,
            Op::Binary(BinaryOp::Add) => g.clone(),
            Op::Binary(BinaryOp::Sub) => {
                if first {
                    g.clone()
                } else {
                    -g
                }
            }
            Op::Binary(BinaryOp::Mul) => g.mul(&x(1 - position)),
            Op::Binary(BinaryOp::Div) => {
                if first {
                    g.div(&x(1))
                } else {
                    -&g.mul(&y()).div(&x(1))
                }
            }
            Op::Binary(BinaryOp::Max) => g.mul(&x(position).step(&x(1 - position))),
            Op::Binary(BinaryOp::Min) => g.mul(&x(1 - position).step(&x(position))),
            Op::LeakyReluGradient { slope } if first => g.leaky_relu_gradient(&x(1), *slope),
            Op::LeakyReluGradient { .. } => return None,
            Op::Broadcast => {
                let axes: Vec<usize> =
                    (0..node.shape.len()).filter(|&i| x(0).shape()[i] != node.shape[i]).collect();
                g.sum_keep(&axes)
            }
            Op::Reshape => g.reshape(x(0).shape()),
            Op::Permute(axes) => {
                let mut inverse = vec![0; axes.len()];
                axes.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
                g.permute(&inverse)
            }
            &Op::Slice { axis, first, step } => g.spread(axis, first, step, x(0).shape()[axis], 0.0),
            &Op::Pad { axis, first, step, .. } => g.every(axis, first, step, x(0).shape()[axis]),
            &Op::Concat(axis) => {
                let length = |index: usize| x(index).shape()[axis];
                g.every(axis, (0..position).map(length).sum(), 1, length(position))
            }
            Op::Sum(_) => g.broadcast_to(x(0).shape()),
            Op::Max(axes) => g.mul(&shares(&x(0).step(&y()), axes)),
            Op::Min(axes) => g.mul(&shares(&y().step(&x(0)), axes)),
            &Op::MatMul { transpose_a: ta, transpose_b: tb } => match (position, ta, tb) {
                (0, false, _) => g.matmul_with(&x(1), None, false, !tb),
                (0, true, _) => x(1).matmul_with(g, None, tb, true),
                (1, _, false) => x(0).matmul_with(g, None, !ta, false),
                (1, _, true) => g.matmul_with(&x(0), None, true, ta),
                _ => g.sum(&[0]),
            },
            Op::Conv2d(geometry) => match position {
                0 => g.conv2d_input_gradient(&x(1), *geometry),
                1 => x(0).conv2d_weight_gradient(g, *geometry),
                _ => g.sum(&[0, 1, 2]),
            },
            // Linear in both its inputs, as the convolution is: for u at its result (shaped like the images),
            // <u, input_gradient(g, w)> = <conv2d(u, w), g>.
            Op::Conv2dInputGradient(geometry) => match position {
                0 => g.conv2d(&x(1), None, geometry.stride, geometry.padding),
                _ => g.conv2d_weight_gradient(&x(0), *geometry),
            },
            Op::Conv2dWeightGradient(geometry) => match position {
                0 => x(1).conv2d_input_gradient(g, *geometry),
                _ => x(0).conv2d(g, None, geometry.stride, geometry.padding),
            },
            Op::AveragePool { size } => g.average_pool_gradient(*size),
            // The transpose of spreading evenly is the mean of squares.
            Op::AveragePoolGradient { size } => g.average_pool(*size),
            // The choice of a window's element is constant but where two are equal, so `x` has no gradient by it.
            Op::MaxPool(_) | Op::MaxPoolGradient(_) if first => return None,
            Op::MaxPool(geometry) => x(0).max_pool_gradient(g, *geometry),
            Op::MaxPoolGradient(geometry) => x(0).max_pool_of(g, *geometry),
            Op::LogSumExp => x(0).softmax().mul(&column(g)),
            Op::Softmax { log: false } => y().mul(&g.sub(&g.mul(&y()).sum_keep(&[1]))),
            Op::Softmax { log: true } => g.sub(&x(0).softmax().mul(&g.sum_keep(&[1]))),
            Op::GatherRows if first => g.scatter_add(&indices(1), x(0).shape()[0]),
            Op::ScatterAdd if first => g.gather_rows(&indices(1)),
            Op::GatherLabels if first => g.scatter_labels(&indices(1), x(0).shape()[1]),
            Op::ScatterLabels if first => g.gather_labels(&indices(1)),
            Op::LogitLoss(parts) if first => x(0).logit_loss_gradient(&indices(1), g, parts),
            Op::LogitLossGradient(parts) => match position {
                0 => {
                    if parts.iter().any(|part| part.labelled.is_some()) {
                        self.fail("grad", "functionals of energies have no second derivative here".into());
                    }
                    logit_curvature(&x(0), &x(2), g, parts)
                }
                2 => {
                    let ones = self.constant(1.0, x(2).shape());
                    x(0).logit_loss_gradient(&indices(1), &ones, parts).mul(g).sum(&[1])
                }
                _ => return None,
            },
            Op::GatherRows | Op::ScatterAdd | Op::GatherLabels | Op::ScatterLabels | Op::LogitLoss(_) => {
                return None;
            }
            Op::NormMean(_)
            | Op::NormVariance(_)
            | Op::Normalise(_)
            | Op::NormaliseGradient(_)
            | Op::NormSums(_)
            | Op::NormProducts(_) => unreachable!("norm_gradients has them"),
        })
    }
}

/// Equal shares over `axes` among the elements of `ties` that are not 0, all of which are 1/2.
fn shares(ties: &Tensor, axes: &[usize]) -> Tensor {
    ties.div(&ties.sum_keep(axes))
}

/// `[rows]` as `[rows, 1]`.
fn column(x: &Tensor) -> Tensor {
    x.reshape([x.elements(), 1])
}

/// The second derivative of the logit loss applied to `v`, times `upstream` of each row:
/// `u ((a + b) (p v - p <p, v>) + 2 d v)` with `p = softmax(f)`; the terms in the labels are linear in `f`.
fn logit_curvature(logits: &Tensor, upstream: &Tensor, v: &Tensor, parts: &[LossTerm]) -> Tensor {
    let p = logits.softmax();
    let pv = p.mul(v);
    let centred = pv.sub(&p.mul(&pv.sum_keep(&[1])));
    let softmax_weight = row_weights(logits, parts, |part| part.log_p_x + part.cross_entropy);
    let l2_weight = row_weights(logits, parts, |part| 2.0 * part.l2);
    let sum = centred.mul(&column(&softmax_weight)).add(&v.mul(&column(&l2_weight)));
    sum.mul(&column(upstream))
}

/// Each row's weight, by its part. The rows' losses of all-one logits with an L2 term alone are just that,
/// whatever the labels.
fn row_weights(logits: &Tensor, parts: &[LossTerm], weight: impl Fn(&LossTerm) -> f32) -> Tensor {
    let graph = logits.graph();
    let [rows, classes] = [logits.shape()[0], logits.shape()[1]];
    let uniform = weight(&parts[0]);
    if parts.iter().all(|part| weight(part) == uniform) {
        return graph.constant(uniform, [rows]);
    }
    let l2 = |part: &LossTerm| LossTerm {
        count: part.count,
        l2: weight(part) / classes as f32,
        ..LossTerm::default()
    };
    let parts: Vec<LossTerm> = parts.iter().map(l2).collect();
    let labels = Indices(graph.constant(0.0, [rows]));
    graph.constant(1.0, [rows, classes]).logit_loss(&labels, &parts)
}
