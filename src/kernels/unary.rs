//! `y = op(x)`, element by element, for tensors that no fused kernel takes.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::{CHUNK, leaky_relu, limited, map};
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// A function of one real number, with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UnaryOp {
    /// `a x + b`.
    Affine(f32, f32),
    /// `e^x`.
    Exp,
    /// The natural logarithm; NaN below 0, -inf at 0.
    Log,
    /// `1 / x`.
    Reciprocal,
    /// The square root; NaN below 0.
    Sqrt,
    /// `x` if `x > 0`, else `slope x`; with the slope 0, -inf gives 0.
    LeakyRelu(f32),
    /// `min(max(x, low), high)`; NaN stays NaN.
    Clamp(f32, f32),
    /// 1 where `low <= x <= high`, else 0: the derivative of [`UnaryOp::Clamp`].
    Inside(f32, f32),
    /// `σ(x) = 1 / (1 + e^-x)`.
    Sigmoid,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `|x|`.
    Abs,
    /// 1 where `x > 0`, -1 where `x < 0`, else `x`: the derivative of [`UnaryOp::Abs`], 0 at 0.
    Sign,
    /// `tanh x`.
    Tanh,
    /// `x`, a word of u32, as a number; exact up to 2^24.
    Float,
    /// `x σ(x)`; 0 at -inf.
    Silu,
    /// `x^p` as C's `pow` computes it: NaN for a finite `x` below 0 if `p` is not a whole number. On a GPU the relative
    /// error is about `|p ln x| 2^-23`.
    Pow(f32),
}

/// [`UnaryOp`] over `n` contiguous elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unary {
    /// The function.
    pub op: UnaryOp,
    /// Elements.
    pub n: usize,
}

impl Unary {
    /// One instance of every function.
    pub fn permutations() -> Vec<Self> {
        use UnaryOp::*;
        let ops = [
            Affine(2.0, -1.0),
            Exp,
            Log,
            Reciprocal,
            Sqrt,
            LeakyRelu(0.2),
            Clamp(-1.0, 1.0),
            Inside(-1.0, 1.0),
            Sigmoid,
            Softplus,
            Abs,
            Sign,
            Tanh,
            Float,
            Silu,
            Pow(2.5),
        ];
        ops.map(|op| Self { op, n: 1000 }).to_vec()
    }

    fn code(&self) -> (u32, f32, f32) {
        match self.op {
            UnaryOp::Affine(a, b) => (0, a, b),
            UnaryOp::Exp => (1, 0.0, 0.0),
            UnaryOp::Log => (2, 0.0, 0.0),
            UnaryOp::Reciprocal => (3, 0.0, 0.0),
            UnaryOp::Sqrt => (4, 0.0, 0.0),
            UnaryOp::LeakyRelu(slope) => (5, slope, 0.0),
            UnaryOp::Clamp(low, high) => (6, low, high),
            UnaryOp::Inside(low, high) => (7, low, high),
            UnaryOp::Sigmoid => (8, 0.0, 0.0),
            UnaryOp::Softplus => (9, 0.0, 0.0),
            UnaryOp::Abs => (10, 0.0, 0.0),
            UnaryOp::Sign => (11, 0.0, 0.0),
            UnaryOp::Tanh => (12, 0.0, 0.0),
            UnaryOp::Float => (13, 0.0, 0.0),
            UnaryOp::Silu => (14, 0.0, 0.0),
            UnaryOp::Pow(p) => (15, p, if p % 2.0 == 0.0 { 0.0 } else { 1.0 + f32::from(p.fract() != 0.0) }),
        }
    }
}

impl Kernel for Unary {
    fn name(&self) -> &'static str {
        "unary"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("x", 1, Access::Read, self.n), binding("y", 2, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("unary")
            .with_u32("OP", self.code().0)
            .with_switch("WORDS", self.op == UnaryOp::Float)
            .with_switch("RELU", self.op == UnaryOp::LeakyRelu(0.0))
    }

    fn uniforms(&self) -> Vec<u32> {
        let (_, a, b) = self.code();
        vec![self.n as u32, a.to_bits(), b.to_bits(), 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }

    fn flops(&self) -> u64 {
        let each = if matches!(self.op, UnaryOp::Affine(..)) { 2 } else { 1 };
        each * self.n as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("unary binds x and y") };
        let (words, x, y) = (x.u32(), x.f32(), y.f32_mut());
        match self.op {
            UnaryOp::Affine(a, b) => map(x, y, |x| a * x + b),
            UnaryOp::Exp => map(x, y, f32::exp),
            UnaryOp::Log => map(x, y, f32::ln),
            UnaryOp::Reciprocal => map(x, y, f32::recip),
            UnaryOp::Sqrt => map(x, y, f32::sqrt),
            UnaryOp::LeakyRelu(slope) => map(x, y, |x| leaky_relu(x, slope)),
            UnaryOp::Clamp(low, high) => map(x, y, |x| limited(x, low, high)),
            UnaryOp::Inside(low, high) => map(x, y, |x| if x >= low && x <= high { 1.0 } else { 0.0 }),
            UnaryOp::Sigmoid => map(x, y, sigmoid),
            UnaryOp::Softplus => {
                map(x, y, |x| if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() });
            }
            UnaryOp::Abs => map(x, y, f32::abs),
            UnaryOp::Sign => map(x, y, |x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            }),
            UnaryOp::Tanh => map(x, y, f32::tanh),
            UnaryOp::Silu => map(x, y, |x| if x == f32::NEG_INFINITY { 0.0 } else { x * sigmoid(x) }),
            UnaryOp::Pow(p) => map(x, y, |x| f64::from(x).powf(f64::from(p)) as f32),
            UnaryOp::Float => {
                y.par_iter_mut().zip(words).with_min_len(CHUNK).for_each(|(y, &x)| *y = x as f32);
            }
        }
    }
}

/// `σ(x)` by a power of e that does not overflow.
fn sigmoid(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}
