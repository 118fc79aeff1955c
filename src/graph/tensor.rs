//! The operations that users write, with shape inference and a few peephole simplifications: arithmetic, shapes and
//! products. The others are in `parts.rs`, `reductions.rs`, `indices.rs`, `layers.rs`, `pools.rs`, `random.rs`,
//! `loss.rs` and `normalise.rs`.

use super::{Graph, NodeId, Op};
use crate::kernels::binary::BinaryOp;
use crate::kernels::unary::UnaryOp;

/// A node of a [`Graph`] with its shape. Images are NHWC, convolution weights `[kh, kw, c_in, c_out]`.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub(super) graph: Graph,
    id: NodeId,
    pub(super) shape: Vec<usize>,
}

impl Tensor {
    pub(super) fn new(graph: Graph, id: NodeId, shape: Vec<usize>) -> Self {
        Self { graph, id, shape }
    }

    /// The lengths of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The graph that it is in.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    fn op(&self) -> Op {
        self.graph.node(self.id).op
    }

    pub(super) fn push(&self, op: Op, others: &[&Tensor], shape: Vec<usize>) -> Tensor {
        if others.iter().any(|other| !self.graph.is_same(&other.graph)) {
            return self.fail(op.name(), "tensors of two graphs".into(), shape);
        }
        let inputs: Vec<NodeId> = std::iter::once(self.id).chain(others.iter().map(|t| t.id)).collect();
        self.graph.push(op, &inputs, shape)
    }

    /// Keeps the mistake and stands in for the result with zeros of `shape`.
    pub(super) fn fail(&self, operation: &'static str, message: String, shape: Vec<usize>) -> Tensor {
        self.graph.fail(operation, message);
        self.graph.constant(0.0, shape)
    }

    fn unary(&self, op: UnaryOp) -> Tensor {
        self.push(Op::Unary(op), &[], self.shape.clone())
    }

    /// `a x + b`.
    pub fn affine(&self, a: f32, b: f32) -> Tensor {
        match self.op() {
            _ if a == 1.0 && b == 0.0 => self.clone(),
            Op::Constant(value) => self.graph.constant(a * value + b, self.shape.clone()),
            _ => self.unary(UnaryOp::Affine(a, b)),
        }
    }

    /// `a x`.
    pub fn scale(&self, a: f32) -> Tensor {
        self.affine(a, 0.0)
    }

    /// `e^x`.
    pub fn exp(&self) -> Tensor {
        self.unary(UnaryOp::Exp)
    }

    /// The natural logarithm.
    pub fn log(&self) -> Tensor {
        self.unary(UnaryOp::Log)
    }

    /// `1 / x`.
    pub fn reciprocal(&self) -> Tensor {
        self.unary(UnaryOp::Reciprocal)
    }

    /// The square root; its gradient at 0 is infinite.
    pub fn sqrt(&self) -> Tensor {
        self.unary(UnaryOp::Sqrt)
    }

    /// `x` where positive, `slope x` elsewhere.
    pub fn leaky_relu(&self, slope: f32) -> Tensor {
        self.unary(UnaryOp::LeakyRelu(slope))
    }

    /// `max(x, 0)`; its gradient at 0 is 0.
    pub fn relu(&self) -> Tensor {
        self.leaky_relu(0.0)
    }

    /// `min(max(x, low), high)`; its gradient is 1 inside, bounds included. `low` is at most `high`.
    pub fn clamp(&self, low: f32, high: f32) -> Tensor {
        self.between(UnaryOp::Clamp(low, high), low, high)
    }

    /// 1 where `low <= x <= high`, else 0; its gradient is 0. `low` is at most `high`.
    pub fn inside(&self, low: f32, high: f32) -> Tensor {
        self.between(UnaryOp::Inside(low, high), low, high)
    }

    /// The function `op` of bounds; a mistake if `low` is not at most `high`.
    fn between(&self, op: UnaryOp, low: f32, high: f32) -> Tensor {
        if low <= high {
            return self.unary(op);
        }
        let message = format!("bounds {low} and {high}; the first must be at most the second");
        self.fail(Op::Unary(op).name(), message, self.shape.clone())
    }

    /// `|x|`; its gradient at 0 is 0.
    pub fn abs(&self) -> Tensor {
        self.unary(UnaryOp::Abs)
    }

    /// 1 where `x > 0`, -1 where `x < 0`, 0 at 0; its gradient is 0.
    pub fn sign(&self) -> Tensor {
        self.unary(UnaryOp::Sign)
    }

    /// `x²`.
    pub fn square(&self) -> Tensor {
        self.mul(self)
    }

    /// `x^p` as C's `pow` computes it: NaN for a finite `x` below 0 if `p` is not a whole number. For `p` = 1/2 it is
    /// [`Tensor::sqrt`]. `p` is finite. Whole powers from -4 to 4 are products; for others the relative error on a GPU
    /// is about `|p ln x| 2^-23`.
    pub fn pow(&self, p: f32) -> Tensor {
        const PRODUCTS: f32 = 4.0;
        if !p.is_finite() {
            return self.fail("pow", format!("power {p}; it must be finite"), self.shape.clone());
        }
        if p == 0.5 {
            return self.sqrt();
        }
        if p.fract() != 0.0 || p.abs() > PRODUCTS {
            return self.unary(UnaryOp::Pow(p));
        }
        // Take the reciprocal first: its power overflows only where the result does.
        let base = if p < 0.0 { self.reciprocal() } else { self.clone() };
        match p.abs() as u32 {
            0 => self.graph.constant(1.0, self.shape.clone()),
            1 => base,
            2 => base.square(),
            3 => base.mul(&base.square()),
            _ => base.square().square(),
        }
    }

    /// `σ(x) = 1 / (1 + e^-x)`.
    pub fn sigmoid(&self) -> Tensor {
        self.unary(UnaryOp::Sigmoid)
    }

    /// `tanh x`.
    pub fn tanh(&self) -> Tensor {
        self.unary(UnaryOp::Tanh)
    }

    /// `ln(1 + e^x)`.
    pub fn softplus(&self) -> Tensor {
        self.unary(UnaryOp::Softplus)
    }

    /// `x σ(x)` (Hendrycks & Gimpel 2016); 0 at -inf.
    pub fn silu(&self) -> Tensor {
        self.unary(UnaryOp::Silu)
    }

    /// `self` where `x > 0`, `slope * self` elsewhere: the gradient of [`Tensor::leaky_relu`] at `x`.
    pub fn leaky_relu_gradient(&self, x: &Tensor, slope: f32) -> Tensor {
        if self.shape != x.shape {
            let message = format!("gradient {:?} for a tensor {:?}", self.shape, x.shape);
            return self.fail("leaky_relu_gradient", message, x.shape.clone());
        }
        self.push(Op::LeakyReluGradient { slope }, &[x], self.shape.clone())
    }

    fn binary(&self, op: BinaryOp, other: &Tensor) -> Tensor {
        if !self.graph.is_same(&other.graph) {
            return self.fail(Op::Binary(op).name(), "tensors of two graphs".into(), self.shape.clone());
        }
        let Some(shape) = broadcast_shape(&self.shape, &other.shape) else {
            let message = format!("shapes {:?} and {:?} do not broadcast", self.shape, other.shape);
            return self.fail(Op::Binary(op).name(), message, self.shape.clone());
        };
        let (a, b) = (self.broadcast_to(shape.clone()), other.broadcast_to(shape.clone()));
        match (op, a.op(), b.op()) {
            (BinaryOp::Add, Op::Constant(c), _) => b.affine(1.0, c),
            (BinaryOp::Add, _, Op::Constant(c)) => a.affine(1.0, c),
            (BinaryOp::Sub, _, Op::Constant(c)) => a.affine(1.0, -c),
            (BinaryOp::Sub, Op::Constant(c), _) => b.affine(-1.0, c),
            (BinaryOp::Mul, Op::Constant(c), _) => b.affine(c, 0.0),
            (BinaryOp::Mul, _, Op::Constant(c)) => a.affine(c, 0.0),
            _ => a.push(Op::Binary(op), &[&b], shape),
        }
    }

    /// `a + b`, broadcast as NumPy does.
    pub fn add(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Add, other)
    }

    /// `a - b`, broadcast as NumPy does.
    pub fn sub(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Sub, other)
    }

    /// `a * b`, element by element, broadcast as NumPy does.
    pub fn mul(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Mul, other)
    }

    /// `a / b`, element by element, broadcast as NumPy does.
    pub fn div(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Div, other)
    }

    /// The larger of both, broadcast as NumPy does; where they are equal each has half of the gradient.
    pub fn maximum(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Max, other)
    }

    /// The smaller of both, broadcast as NumPy does; where they are equal each has half of the gradient.
    pub fn minimum(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Min, other)
    }

    /// 1 where `self > other`, 1/2 where they are equal, else 0; its gradient is 0.
    pub fn step(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOp::Step, other)
    }

    /// Repeats along axes of length 1, and along new outer axes, to `shape`.
    pub fn broadcast_to(&self, shape: impl Into<Vec<usize>>) -> Tensor {
        let shape = shape.into();
        if broadcast_shape(&self.shape, &shape).as_ref() != Some(&shape) {
            let message = format!("{:?} does not broadcast to {shape:?}", self.shape);
            return self.fail("broadcast", message, shape);
        }
        if let Op::Constant(value) = self.op() {
            return self.graph.constant(value, shape);
        }
        let mut ranked = vec![1; shape.len() - self.shape.len()];
        ranked.extend(&self.shape);
        self.reshape(ranked).push_unless_same(Op::Broadcast, shape)
    }

    fn push_unless_same(&self, op: Op, shape: Vec<usize>) -> Tensor {
        if self.shape == shape { self.clone() } else { self.push(op, &[], shape) }
    }

    /// Each image's elements in a row: `[n, elements / n]`.
    pub fn flatten(&self) -> Tensor {
        let n = self.shape.first().copied().unwrap_or(1);
        self.reshape([n, self.elements() / n.max(1)])
    }

    /// The same elements in the same order, with other lengths.
    pub fn reshape(&self, shape: impl Into<Vec<usize>>) -> Tensor {
        let shape = shape.into();
        if shape.iter().product::<usize>() != self.elements() {
            let message = format!("{:?} has not as many elements as {shape:?}", self.shape);
            return self.fail("reshape", message, shape);
        }
        let node = self.graph.node(self.id);
        match node.op {
            Op::Constant(value) => self.graph.constant(value, shape),
            Op::Reshape => self.graph.tensor(node.inputs[0]).push_unless_same(Op::Reshape, shape),
            _ => self.push_unless_same(Op::Reshape, shape),
        }
    }

    /// Axis `i` of the result is axis `axes[i]`.
    pub fn permute(&self, axes: &[usize]) -> Tensor {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if sorted != (0..self.shape.len()).collect::<Vec<_>>() {
            let message = format!("{axes:?} are not the axes of {:?}", self.shape);
            return self.fail("permute", message, self.shape.clone());
        }
        let shape = axes.iter().map(|&axis| self.shape[axis]).collect();
        self.push(Op::Permute(axes.to_vec()), &[], shape)
    }

    /// The matrix product of `[m, k]` and `[k, n]`.
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        self.matmul_with(other, None, false, false)
    }

    /// `x weights + bias` for `x [rows, in]`, `weights [in, out]`, `bias [out]`.
    pub fn linear(&self, weights: &Tensor, bias: &Tensor) -> Tensor {
        self.matmul_with(weights, Some(bias), false, false)
    }

    /// `op(self) op(other) + bias`, where `op` transposes if asked to; `bias [n]` is added to every row.
    pub fn matmul_with(
        &self,
        other: &Tensor,
        bias: Option<&Tensor>,
        transpose_a: bool,
        transpose_b: bool,
    ) -> Tensor {
        let (Ok([a0, a1]), Ok([b0, b1])) =
            (<[usize; 2]>::try_from(&self.shape[..]), <[usize; 2]>::try_from(&other.shape[..]))
        else {
            let message = format!("expected matrices, got {:?} and {:?}", self.shape, other.shape);
            return self.fail("matmul", message, vec![1, 1]);
        };
        let (m, k) = if transpose_a { (a1, a0) } else { (a0, a1) };
        let (k_b, n) = if transpose_b { (b1, b0) } else { (b0, b1) };
        if k != k_b || bias.is_some_and(|bias| bias.shape != [n]) {
            let message = format!("[{m}, {k}] x [{k_b}, {n}], bias {:?}", bias.map(|bias| &bias.shape));
            return self.fail("matmul", message, vec![m, n]);
        }
        let others: Vec<&Tensor> = std::iter::once(other).chain(bias).collect();
        self.push(Op::MatMul { transpose_a, transpose_b }, &others, vec![m, n])
    }
}

/// The shape that both broadcast to, as in NumPy: aligned at the last axis, lengths equal or 1.
fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}
