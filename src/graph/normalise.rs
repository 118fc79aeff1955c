//! Normalisation by a tensor's own statistics: the operations, and their compositions of other operations.
//!
//! [`Tensor::normalise`] and its gradient are an operation each, with kernels of their own. Means and variances are
//! inputs of these operations, so that a tensor's are computed once; they are always those of the tensor itself, and
//! the gradients at the tensor go through them. For shapes that the kernels do not support, and in derivatives of the
//! gradients, the same formulas are composed of other operations.

use super::{Graph, Node, Op, Tensor};
use crate::compute::norm_geometry::NormGeometry;

/// The geometry of a normalisation, and the constant that is added to variances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// The groups that share statistics.
    pub geometry: NormGeometry,
    /// Added to the variance.
    pub epsilon: f32,
}

impl NormGeometry {
    /// The normalisation of batch norm: each channel (the last axis) over all other axes.
    pub fn of_batch(x: &Tensor) -> Self {
        let channels = x.shape().last().copied().unwrap_or(1);
        Self { outer: 1, rows: x.elements() / channels.max(1), channels, size: 1 }
    }

    /// The normalisation of group norm: `groups` runs of neighbouring channels of each image (the first axis), over its
    /// pixels. If `groups` does not divide the channels, the groups have size 0, which the operation that takes the
    /// geometry keeps as a mistake.
    pub fn of_groups(x: &Tensor, groups: usize) -> Self {
        let axis = |length: Option<&usize>| length.copied().unwrap_or(1);
        let (outer, channels) = (axis(x.shape().first()), axis(x.shape().last()));
        let size = if groups > 0 && channels.is_multiple_of(groups) { channels / groups } else { 0 };
        Self { outer, rows: x.elements() / (outer * channels).max(1), channels, size }
    }

    /// Whether it fits the shape of `x`.
    fn fits(&self, x: &Tensor) -> bool {
        self.elements() == x.elements() && self.size > 0 && self.channels.is_multiple_of(self.size)
    }

    /// `x` with an axis each for images, rows, groups and a group's channels.
    fn split(&self, x: &Tensor) -> Tensor {
        x.reshape([self.outer, self.rows, self.groups(), self.size])
    }

    /// Means over each group of what [`NormGeometry::split`] gives, `[outer, 1, groups, 1]`.
    fn mean(&self, x: &Tensor) -> Tensor {
        x.mean(&[1, 3]).reshape([self.outer, 1, self.groups(), 1])
    }

    /// A number for each channel, to be multiplied with what [`NormGeometry::split`] gives.
    fn channels(&self, x: &Tensor) -> Tensor {
        x.reshape([self.groups(), self.size])
    }
}

impl Normalisation {
    /// `(x - mean) / sqrt(variance + epsilon)` in the shape of [`NormGeometry::split`].
    fn standardised(&self, x: &Tensor) -> Tensor {
        let x = self.geometry.split(x);
        let centred = x.sub(&self.geometry.mean(&x));
        let variance = self.geometry.mean(&centred.mul(&centred));
        centred.div(&variance.affine(1.0, self.epsilon).sqrt())
    }

    /// [`Op::Normalise`], composed of other operations.
    fn composed(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let [weight, bias] = [weight, bias].map(|channels| self.geometry.channels(channels));
        self.standardised(x).mul(&weight).add(&bias).reshape(x.shape())
    }
}

impl Tensor {
    /// The mean and the variance (divided by the population) of each group, `[outer, groups]` each.
    pub fn moments(&self, geometry: NormGeometry) -> [Tensor; 2] {
        if !geometry.fits(self) {
            let zeros = || self.fail("moments", format!("{:?} for {geometry:?}", self.shape()), vec![1, 1]);
            return [zeros(), zeros()];
        }
        let shape = [geometry.outer, geometry.groups()];
        if geometry.is_supported() {
            let mean = self.push(Op::NormMean(geometry), &[], shape.to_vec());
            return [mean, self.push(Op::NormVariance(geometry), &[], shape.to_vec())];
        }
        let x = geometry.split(self);
        let mean = geometry.mean(&x);
        let centred = x.sub(&mean);
        [mean, geometry.mean(&centred.mul(&centred))].map(|of| of.reshape(shape))
    }

    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias` with the groups' own mean and variance; `weight` and
    /// `bias` are each channel's, `[channels]`.
    pub fn normalise(&self, norm: Normalisation, weight: &Tensor, bias: &Tensor) -> Tensor {
        let channels = norm.geometry.channels;
        if !norm.geometry.fits(self) || weight.shape() != [channels] || bias.shape() != [channels] {
            let (w, b) = (weight.shape(), bias.shape());
            let message = format!("{:?}, weight {w:?} and bias {b:?} for {:?}", self.shape(), norm.geometry);
            return self.fail("normalise", message, self.shape().to_vec());
        }
        if !norm.geometry.is_supported() {
            return norm.composed(self, weight, bias);
        }
        let [mean, variance] = self.moments(norm.geometry);
        self.push(Op::Normalise(norm), &[&mean, &variance, weight, bias], self.shape().to_vec())
    }
}

impl Graph {
    /// The gradients at the inputs `positions` of a normalisation's operation for `upstream` at its result; `None` for
    /// any other operation. Gradients go through the statistics to the tensor, so the statistics have none themselves.
    pub(super) fn norm_gradients(
        &self,
        node: &Node,
        positions: &[usize],
        upstream: &Tensor,
    ) -> Option<Vec<Option<Tensor>>> {
        let inputs: Vec<Tensor> = node.inputs.iter().map(|&id| self.tensor(id)).collect();
        let at = |of: &dyn Fn(usize) -> Option<Tensor>| Some(positions.iter().map(|&p| of(p)).collect());
        match node.op {
            Op::NormMean(geometry) => at(&|_| Some(geometry.spread(upstream, &inputs[0]))),
            Op::NormVariance(geometry) => at(&|_| {
                let x = geometry.split(&inputs[0]);
                let centred = x.sub(&geometry.mean(&x)).scale(2.0).reshape(inputs[0].shape());
                Some(geometry.spread(upstream, &inputs[0]).mul(&centred))
            }),
            Op::Normalise(norm) => {
                let [x, mean, variance, weight, _] = &inputs[..] else { return None };
                let NormGeometry { outer, channels, .. } = norm.geometry;
                let others = [x, mean, variance, weight];
                let sums = |op: Op| upstream.push(op, &others, vec![outer, channels]).sum(&[0]);
                at(&|position| match position {
                    0 => Some(upstream.push(Op::NormaliseGradient(norm), &others, x.shape().to_vec())),
                    3 => Some(sums(Op::NormProducts(norm))),
                    4 => Some(sums(Op::NormSums(norm))),
                    _ => None,
                })
            }
            Op::NormaliseGradient(norm) => {
                let zero = self.constant(0.0, [norm.geometry.channels]);
                let formula = |inputs: &[StandIn]| {
                    let [gradient, x, _, _, weight] = inputs else { unreachable!("five inputs") };
                    let y = norm.composed(&x.tensor, &weight.tensor, &zero).mul(&gradient.tensor);
                    let [gradient] = self.grad(&y, [&x.source]);
                    gradient.reshape(x.tensor.shape())
                };
                Some(self.through(&inputs, positions, upstream, formula))
            }
            Op::NormSums(norm) | Op::NormProducts(norm) => {
                let formula = |inputs: &[StandIn]| {
                    let gradient = norm.geometry.split(&inputs[0].tensor);
                    let terms = match node.op {
                        Op::NormSums(_) => gradient,
                        _ => gradient.mul(&norm.standardised(&inputs[1].tensor)),
                    };
                    terms.sum(&[1]).reshape(node.shape.clone())
                };
                Some(self.through(&inputs, positions, upstream, formula))
            }
            _ => None,
        }
    }

    /// The gradients at the inputs `positions` of an operation that is `formula` of them, statistics (inputs 2 and 3)
    /// left out.
    fn through(
        &self,
        inputs: &[Tensor],
        positions: &[usize],
        upstream: &Tensor,
        formula: impl Fn(&[StandIn]) -> Tensor,
    ) -> Vec<Option<Tensor>> {
        let inputs: Vec<StandIn> = inputs.iter().map(|input| self.stand_in(input)).collect();
        let y = formula(&inputs);
        let wrt: Vec<&Tensor> = positions.iter().map(|&position| &inputs[position].source).collect();
        let gradients = self.grad_from(&[(&y, upstream.clone())], &wrt);
        let shaped = gradients.into_iter().zip(positions).map(|(gradient, &position)| {
            (!matches!(position, 2 | 3)).then(|| gradient.reshape(inputs[position].tensor.shape()))
        });
        shaped.collect()
    }

    /// A node that has the value of `tensor` and that nothing else depends on, so that a formula can be differentiated
    /// at one of its inputs though others may be functions of that.
    fn stand_in(&self, tensor: &Tensor) -> StandIn {
        // A reshape of a reshape is one of the first's input: what a formula makes of `tensor` depends on `source`.
        let shape = std::iter::once(1).chain(tensor.shape().iter().copied()).collect();
        let source = self.push_anew(Op::Reshape, &[tensor.id()], shape);
        let tensor = self.push_anew(Op::Reshape, &[source.id()], tensor.shape().to_vec());
        StandIn { source, tensor }
    }
}

/// The stand-in for an input of a formula: the formula takes `tensor` and is differentiated at `source`.
struct StandIn {
    source: Tensor,
    tensor: Tensor,
}

impl NormGeometry {
    /// The gradient at `x` for `gradient [outer, groups]` at the means: all elements of a group share it.
    fn spread(&self, gradient: &Tensor, x: &Tensor) -> Tensor {
        let share = gradient.scale(1.0 / self.population() as f32).reshape([self.outer, 1, self.groups(), 1]);
        share.broadcast_to([self.outer, self.rows, self.groups(), self.size]).reshape(x.shape())
    }
}
