//! Functions of one and of two numbers in float64.

use super::reference::leaky_relu;
use jem::kernels::binary::BinaryOp;
use jem::kernels::unary::UnaryOp;
use std::cmp::Ordering;

/// `y` of `unary`.
pub fn unary(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Affine(a, b) => f64::from(a) * x + f64::from(b),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::LeakyRelu(slope) => leaky_relu(x, slope),
        UnaryOp::Clamp(low, high) => x.clamp(f64::from(low), f64::from(high)),
        UnaryOp::Inside(low, high) => f64::from(x >= f64::from(low) && x <= f64::from(high)),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        UnaryOp::Abs => x.abs(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Float => x,
        UnaryOp::Silu if x == f64::NEG_INFINITY => 0.0,
        UnaryOp::Silu => x / (1.0 + (-x).exp()),
        UnaryOp::Pow(p) => x.powf(f64::from(p)),
        UnaryOp::Sign => ordered(x, 0.0, [1.0, -1.0, x]),
    }
}

/// `y` of `binary`.
pub fn binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Max => ordered(a, b, [a, b, a]),
        BinaryOp::Min => ordered(a, b, [b, a, a]),
        BinaryOp::Step => ordered(a, b, [1.0, 0.0, 0.5]),
    }
}

/// One of `[above, below, equal]` by the order of `a` and `b`; NaN if either is.
fn ordered(a: f64, b: f64, [above, below, equal]: [f64; 3]) -> f64 {
    match a.partial_cmp(&b) {
        Some(Ordering::Greater) => above,
        Some(Ordering::Less) => below,
        Some(Ordering::Equal) => equal,
        None => f64::NAN,
    }
}
