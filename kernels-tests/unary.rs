//! `unary` against float64.

use super::harness::{Expect, Inputs, check, words};
use super::reference_elementwise::unary;
use jem::kernels::unary::{Unary, UnaryOp};

tests![
    every_function,
    far_from_zero,
    non_finite_values_stay_visible,
    the_ends_of_domains,
    whole_numbers_as_floats
];

fn reference(op: UnaryOp, x: f32) -> f64 {
    unary(op, f64::from(x))
}

fn every_function() {
    for n in [1, 3, 255, 256, 257, 1000, 70_000] {
        let mut inputs = Inputs::new(n as u64);
        // `Float` takes no floats.
        for permutation in Unary::permutations().into_iter().filter(|unary| unary.op != UnaryOp::Float) {
            let positive = matches!(permutation.op, UnaryOp::Log | UnaryOp::Sqrt | UnaryOp::Pow(_));
            let low = if positive { 0.01 } else { -3.0 };
            let mut x: Vec<f32> = (0..n).map(|_| inputs.uniform(low, 3.0)).collect();
            x[0] = 0.75; // inside every kink, so that no reference is all zeros
            let y = x.iter().map(|&x| reference(permutation.op, x)).collect();
            check(Unary { n, ..permutation }, &[Some(words(&x)), None], &[Expect::Close(y, 1e-12)]);
        }
    }
}

/// One element at a time, as each has an error of its own (at -80 both functions are 2e-35): that of WGSL's
/// exp, 3 + 2|x| units in the last place.
fn far_from_zero() {
    for op in [UnaryOp::Sigmoid, UnaryOp::Softplus, UnaryOp::Tanh] {
        for x in [-80.0f32, -40.0, -20.0, -10.0, -5.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 5.0, 20.0, 90.0, 1e30] {
            if op == UnaryOp::Tanh && x == 0.0 {
                check(Unary { op, n: 1 }, &[Some(words(&[x])), None], &[Expect::Exactly(vec![0])]);
                continue;
            }
            let bound = (5.0 + 2.0 * f64::from(x.abs().min(80.0))) * 0.5f64.powi(23);
            let expected = Expect::Close(vec![reference(op, x)], bound * bound);
            check(Unary { op, n: 1 }, &[Some(words(&[x])), None], &[expected]);
        }
        let end = if op == UnaryOp::Tanh { -1.0f32 } else { 0.0 };
        check(Unary { op, n: 1 }, &[Some(words(&[-1e30])), None], &[Expect::Exactly(vec![end.to_bits()])]);
    }
}

fn non_finite_values_stay_visible() {
    let x = [f32::NAN, 0.5, -0.5, 2.0];
    let n = x.len();
    let ops = [
        UnaryOp::Affine(2.0, 1.0),
        UnaryOp::LeakyRelu(0.2),
        UnaryOp::LeakyRelu(0.0),
        UnaryOp::Clamp(-1.0, 1.0),
        UnaryOp::Sigmoid,
        UnaryOp::Softplus,
        UnaryOp::Abs,
        UnaryOp::Sign,
        UnaryOp::Tanh,
    ];
    for op in ops {
        let y = x.iter().map(|&x| reference(op, x)).collect();
        check(Unary { op, n }, &[Some(words(&x)), None], &[Expect::Close(y, 1e-12)]);
    }
}

/// `UnaryOp` promises results where WGSL promises none.
fn the_ends_of_domains() {
    let x = [-0.5, -1.0, f32::NEG_INFINITY, -0.0, 0.0, f32::INFINITY, f32::NAN, 4.0];
    let ops = [
        UnaryOp::Log,
        UnaryOp::Sqrt,
        UnaryOp::Reciprocal,
        UnaryOp::Exp,
        UnaryOp::Abs,
        UnaryOp::Sign,
        UnaryOp::LeakyRelu(0.0),
        UnaryOp::LeakyRelu(0.2),
        UnaryOp::Silu,
        UnaryOp::Pow(2.5),
        UnaryOp::Pow(-3.0),
        UnaryOp::Pow(6.0),
        UnaryOp::Clamp(-1.0, 1.0),
        UnaryOp::Inside(-1.0, 1.0),
        UnaryOp::Sigmoid,
        UnaryOp::Softplus,
        UnaryOp::Tanh,
    ];
    for op in ops {
        let y = x.iter().map(|&x| reference(op, x)).collect();
        check(Unary { op, n: x.len() }, &[Some(words(&x)), None], &[Expect::Close(y, 1e-12)]);
    }
}

fn whole_numbers_as_floats() {
    let mut x = vec![0, 1, 7, 1000, (1 << 24) - 1, 1 << 24, 1 << 31];
    x.extend(Inputs::new(4).below(70_000, 1 << 24));
    let y: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    check(Unary { op: UnaryOp::Float, n: x.len() }, &[Some(x), None], &[Expect::Exactly(words(&y))]);
}
