//! The operations of a tensor expression.

use super::Normalisation;
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::loss_term::LossTerm;
use crate::compute::norm_geometry::NormGeometry;
use crate::compute::pool_geometry::PoolGeometry;
use crate::kernels::binary::BinaryOp;
use crate::kernels::unary::UnaryOp;

/// The place of a leaf's contents: a range of an external buffer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// The external slot's name; leaves of one slot share its buffer.
    pub slot: String,
    /// The slot's size in 32-bit words.
    pub words: usize,
    /// The leaf's first word: a multiple of 64.
    pub offset: usize,
    /// Whether it changes only between optimizer steps, so that nodes that depend on parameters alone are computed by
    /// the `prepare` program.
    pub parameter: bool,
}

/// An operation; its inputs are in the node's list, in the order given here.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Contents that come from outside the program.
    Leaf(Leaf),
    /// This value in every element.
    Constant(f32),
    /// `(counters [4])` (u32) to uniform random numbers in [0, 1).
    Uniform {
        /// The key's stream ([`crate::compute::random::lane`]).
        stream: u32,
    },
    /// `(x)`, element by element.
    Unary(UnaryOp),
    /// `(a, b)` of one shape, element by element.
    Binary(BinaryOp),
    /// `(gradient, x)`: `gradient` where `x > 0`, `slope * gradient` elsewhere.
    LeakyReluGradient {
        /// The slope below 0.
        slope: f32,
    },
    /// `(x)` repeated along axes of length 1 (same rank) to the node's shape.
    Broadcast,
    /// `(x)` with the same elements in the same order.
    Reshape,
    /// `(x)` with axis `i` of the result being axis `axes[i]` of `x`.
    Permute(Vec<usize>),
    /// `(x)` at the positions of this axis from `first` on, `step` apart, as many as the node's shape has.
    Slice {
        /// The axis.
        axis: usize,
        /// The first position.
        first: usize,
        /// The distance from one position to the next.
        step: usize,
    },
    /// `(x)` at the positions of this axis from `first` on, `step` apart, amid `value`.
    Pad {
        /// The axis.
        axis: usize,
        /// The position of the first element of `x`.
        first: usize,
        /// The distance from one position to the next.
        step: usize,
        /// The other elements.
        value: f32,
    },
    /// `(a, b, ..)` one after the other along this axis.
    Concat(usize),
    /// `(x)` summed over these axes (ascending), which stay with length 1.
    Sum(Vec<usize>),
    /// `(x)` to the largest over these axes (ascending), which stay with length 1.
    Max(Vec<usize>),
    /// `(x)` to the smallest over these axes (ascending), which stay with length 1.
    Min(Vec<usize>),
    /// `(x)` to the position (u32) of the largest along this axis, which stays with length 1.
    ArgMax(usize),
    /// `(a, b)` or `(a, b, bias)`: `op(a) op(b) + bias`, matrices.
    MatMul {
        /// `a` is `[k, m]`.
        transpose_a: bool,
        /// `b` is `[n, k]`.
        transpose_b: bool,
    },
    /// `(x, weights)` or `(x, weights, bias)`.
    Conv2d(ConvGeometry),
    /// `(gradient, weights)`.
    Conv2dInputGradient(ConvGeometry),
    /// `(x, gradient)`.
    Conv2dWeightGradient(ConvGeometry),
    /// `(x)`: means of `size` x `size` squares.
    AveragePool {
        /// The side of a square, and the stride.
        size: usize,
    },
    /// `(gradient)`: each element spread evenly over its square.
    AveragePoolGradient {
        /// The side of a square, and the stride.
        size: usize,
    },
    /// `(x, v)` to `v` at the first of the largest of `x` in each window; with `v = x` the maximum.
    MaxPool(PoolGeometry),
    /// `(x, gradient)` to the sum of `gradient` over the windows of which each element is the first of the largest.
    MaxPoolGradient(PoolGeometry),
    /// `(x)` to each group's mean, `[outer, groups]`.
    NormMean(NormGeometry),
    /// `(x)` to each group's variance, `[outer, groups]`.
    NormVariance(NormGeometry),
    /// `(x, mean, variance, weight, bias)`: `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
    Normalise(Normalisation),
    /// `(gradient, x, mean, variance, weight)`: the gradient at `x`, through mean and variance too.
    NormaliseGradient(Normalisation),
    /// `(gradient, x, mean, variance, weight)` to the sums over the rows of `gradient`, `[outer, channels]`.
    NormSums(Normalisation),
    /// `(gradient, x, mean, variance, weight)` to the sums over the rows of `gradient` times normalised `x`,
    /// `[outer, channels]`.
    NormProducts(Normalisation),
    /// `(x [rows, cols])` to `[rows]`.
    LogSumExp,
    /// `(x [rows, cols])`, along the columns.
    Softmax {
        /// The logarithm of it.
        log: bool,
    },
    /// `(x [rows, ..], indices [..])` to those rows of `x`, `[.., ..]`.
    GatherRows,
    /// `(x [.., ..], indices [..])` to the sums of the rows of `x` with the same index, `[rows, ..]`.
    ScatterAdd,
    /// `(x [rows, cols], labels [rows])` to `[rows]`.
    GatherLabels,
    /// `(x [rows], labels [rows])` to `[rows, cols]`, zero off the label.
    ScatterLabels,
    /// `(logits [n, classes], labels [n])` to each image's loss `[n]`.
    LogitLoss(Vec<LossTerm>),
    /// `(logits, labels)` to `[n, 5]`: LogSumExp, cross-entropy, 1 if correct, sum of squares, functional.
    LogitStats(Vec<LossTerm>),
    /// `(logits, labels, upstream [n])` to `[n, classes]`.
    LogitLossGradient(Vec<LossTerm>),
}

impl Op {
    /// The name in error messages and labels.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Leaf(_) => "leaf",
            Op::Constant(_) => "constant",
            Op::Uniform { .. } => "uniform",
            Op::Unary(UnaryOp::Affine(..)) => "affine",
            Op::Unary(UnaryOp::Exp) => "exp",
            Op::Unary(UnaryOp::Log) => "log",
            Op::Unary(UnaryOp::Reciprocal) => "reciprocal",
            Op::Unary(UnaryOp::Sqrt) => "sqrt",
            Op::Unary(UnaryOp::LeakyRelu(_)) => "leaky_relu",
            Op::Unary(UnaryOp::Clamp(..)) => "clamp",
            Op::Unary(UnaryOp::Inside(..)) => "inside",
            Op::Unary(UnaryOp::Sigmoid) => "sigmoid",
            Op::Unary(UnaryOp::Softplus) => "softplus",
            Op::Unary(UnaryOp::Abs) => "abs",
            Op::Unary(UnaryOp::Sign) => "sign",
            Op::Unary(UnaryOp::Tanh) => "tanh",
            Op::Unary(UnaryOp::Float) => "to_floats",
            Op::Unary(UnaryOp::Silu) => "silu",
            Op::Unary(UnaryOp::Pow(_)) => "pow",
            Op::Binary(BinaryOp::Add) => "add",
            Op::Binary(BinaryOp::Sub) => "sub",
            Op::Binary(BinaryOp::Mul) => "mul",
            Op::Binary(BinaryOp::Div) => "div",
            Op::Binary(BinaryOp::Max) => "maximum",
            Op::Binary(BinaryOp::Min) => "minimum",
            Op::Binary(BinaryOp::Step) => "step",
            Op::LeakyReluGradient { .. } => "leaky_relu_gradient",
            Op::Broadcast => "broadcast",
            Op::Reshape => "reshape",
            Op::Permute(_) => "permute",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Concat(_) => "concat",
            Op::Sum(_) => "sum",
            Op::Max(_) => "max",
            Op::Min(_) => "min",
            Op::ArgMax(_) => "argmax",
            Op::MatMul { .. } => "matmul",
            Op::Conv2d(_) => "conv2d",
            Op::Conv2dInputGradient(_) => "conv2d_input_gradient",
            Op::Conv2dWeightGradient(_) => "conv2d_weight_gradient",
            Op::AveragePool { .. } => "average_pool",
            Op::AveragePoolGradient { .. } => "average_pool_gradient",
            Op::MaxPool(_) => "max_pool",
            Op::MaxPoolGradient(_) => "max_pool_gradient",
            Op::NormMean(_) => "norm_mean",
            Op::NormVariance(_) => "norm_variance",
            Op::Normalise(_) => "normalise",
            Op::NormaliseGradient(_) => "normalise_gradient",
            Op::NormSums(_) => "norm_sums",
            Op::NormProducts(_) => "norm_products",
            Op::LogSumExp => "logsumexp",
            Op::Softmax { log: false } => "softmax",
            Op::Softmax { log: true } => "log_softmax",
            Op::GatherRows => "gather_rows",
            Op::ScatterAdd => "scatter_add",
            Op::GatherLabels => "gather_labels",
            Op::ScatterLabels => "scatter_labels",
            Op::LogitLoss(_) => "logit_loss",
            Op::LogitStats(_) => "logit_stats",
            Op::LogitLossGradient(_) => "logit_loss_gradient",
        }
    }
}
