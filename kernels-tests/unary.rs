//! `unary` against float64.

use super::harness::{Expect, Inputs, check, words};
use jem::kernels::unary::{Unary, UnaryOp};

tests![every_function, non_finite_values_stay_visible];

fn reference(op: UnaryOp, x: f32) -> f64 {
    let x = f64::from(x);
    match op {
        UnaryOp::Affine(a, b) => f64::from(a) * x + f64::from(b),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::LeakyRelu(slope) => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        UnaryOp::Clamp(low, high) => x.clamp(f64::from(low), f64::from(high)),
        UnaryOp::Inside(low, high) => f64::from(x >= f64::from(low) && x <= f64::from(high)),
    }
}

fn every_function() {
    for n in [1, 3, 255, 256, 257, 1000, 70_000] {
        let mut inputs = Inputs::new(n as u64);
        for permutation in Unary::permutations() {
            let positive = matches!(permutation.op, UnaryOp::Log | UnaryOp::Sqrt);
            let low = if positive { 0.01 } else { -3.0 };
            let mut x: Vec<f32> = (0..n).map(|_| inputs.uniform(low, 3.0)).collect();
            x[0] = 0.75; // inside every kink, so that no reference is all zeros
            let y = x.iter().map(|&x| reference(permutation.op, x)).collect();
            check(Unary { n, ..permutation }, &[Some(words(&x)), None], &[Expect::Close(y, 1e-12)]);
        }
    }
}

fn non_finite_values_stay_visible() {
    let x = [f32::NAN, 0.5, -0.5, 2.0];
    let n = x.len();
    for op in [UnaryOp::Affine(2.0, 1.0), UnaryOp::LeakyRelu(0.2), UnaryOp::Clamp(-1.0, 1.0)] {
        let y = x.iter().map(|&x| reference(op, x)).collect();
        check(Unary { op, n }, &[Some(words(&x)), None], &[Expect::Close(y, 1e-12)]);
    }
}
