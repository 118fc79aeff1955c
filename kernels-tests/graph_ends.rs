//! Functions of one number and their gradients at the ends of their domains: infinities, zeros of both signs, NaN.

use super::harness::{devices, words};
use jem::graph::{Function, Graph, Tensor};

tests![values_and_gradients_at_the_ends, powers_are_those_of_float64];

/// A function in the graph, and its value and derivative in float64.
struct End {
    name: &'static str,
    build: fn(&Tensor) -> Tensor,
    value: fn(f64) -> f64,
    slope: fn(f64) -> f64,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `value`, or NaN if `x` is NaN.
fn visible(x: f64, value: f64) -> f64 {
    if x.is_nan() { x } else { value }
}

/// 1 for true, 0 for false.
fn one(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// The functions under test. Limits replace formulas that would divide infinities. The gradient at NaN is that of the
/// side that comparisons choose, or NaN.
const ENDS: &[End] = &[
    End { name: "relu", build: |x| x.relu(), value: |x| visible(x, x.max(0.0)), slope: |x| one(x > 0.0) },
    End {
        name: "leaky_relu",
        build: |x| x.leaky_relu(0.25),
        value: |x| if x > 0.0 { x } else { 0.25 * x },
        slope: |x| if x > 0.0 { 1.0 } else { 0.25 },
    },
    End {
        name: "abs",
        build: |x| x.abs(),
        value: f64::abs,
        slope: |x| visible(x, one(x > 0.0) - one(x < 0.0)),
    },
    End { name: "square", build: |x| x.square(), value: |x| x * x, slope: |x| 2.0 * x },
    End {
        name: "clamp",
        build: |x| x.clamp(-1.0, 1.0),
        value: |x| x.clamp(-1.0, 1.0),
        slope: |x| one((-1.0..=1.0).contains(&x)),
    },
    End {
        name: "clamp below alone",
        build: |x| x.clamp(-1.0, f32::INFINITY),
        value: |x| visible(x, x.max(-1.0)),
        slope: |x| one(x >= -1.0),
    },
    End { name: "sigmoid", build: |x| x.sigmoid(), value: sigmoid, slope: |x| sigmoid(x) * sigmoid(-x) },
    End { name: "tanh", build: |x| x.tanh(), value: f64::tanh, slope: |x| 1.0 - x.tanh().powi(2) },
    End {
        name: "softplus",
        build: |x| x.softplus(),
        value: |x| visible(x, x.max(0.0) + (-x.abs()).exp().ln_1p()),
        slope: sigmoid,
    },
    End {
        name: "silu",
        build: |x| x.silu(),
        value: |x| if x == f64::NEG_INFINITY { 0.0 } else { x * sigmoid(x) },
        slope: |x| if x.is_infinite() { one(x > 0.0) } else { sigmoid(x) + x * sigmoid(x) * sigmoid(-x) },
    },
    End { name: "exp", build: |x| x.exp(), value: f64::exp, slope: f64::exp },
    End { name: "log", build: |x| x.log(), value: f64::ln, slope: |x| 1.0 / x },
    End { name: "reciprocal", build: |x| x.reciprocal(), value: |x| 1.0 / x, slope: |x| -1.0 / (x * x) },
    End { name: "affine", build: |x| x.affine(-2.0, 1.0), value: |x| 1.0 - 2.0 * x, slope: |_| -2.0 },
    End {
        name: "maximum",
        build: |x| x.maximum(&x.graph().constant(0.5, [1])),
        value: |x| visible(x, x.max(0.5)),
        slope: |x| visible(x, one(x > 0.5)),
    },
    End {
        name: "minimum",
        build: |x| x.minimum(&x.graph().constant(0.5, [1])),
        value: |x| visible(x, x.min(0.5)),
        slope: |x| visible(x, one(x < 0.5)),
    },
    End { name: "pow 3", build: |x| x.pow(3.0), value: |x| x.powi(3), slope: |x| 3.0 * x * x },
    End { name: "pow -1", build: |x| x.pow(-1.0), value: |x| 1.0 / x, slope: |x| -1.0 / (x * x) },
    End { name: "pow -2", build: |x| x.pow(-2.0), value: |x| x.powi(-2), slope: |x| -2.0 * x.powi(-3) },
    End { name: "pow 2.5", build: |x| x.pow(2.5), value: |x| x.powf(2.5), slope: |x| 2.5 * x.powf(1.5) },
    End { name: "pow -1.5", build: |x| x.pow(-1.5), value: |x| x.powf(-1.5), slope: |x| -1.5 * x.powf(-2.5) },
    End { name: "pow 80", build: |x| x.pow(80.0), value: |x| x.powi(80), slope: |x| 80.0 * x.powi(79) },
    End { name: "pow 81", build: |x| x.pow(81.0), value: |x| x.powi(81), slope: |x| 81.0 * x.powi(80) },
    End { name: "pow -81", build: |x| x.pow(-81.0), value: |x| x.powi(-81), slope: |x| -81.0 * x.powi(-82) },
];

/// The values of `outputs` on every device for `x`.
fn results(outputs: &[&Tensor], x: &[f32]) -> Vec<(&'static str, Vec<Vec<f32>>)> {
    let of = |(name, device): (&'static str, _)| {
        let function = Function::new(device, outputs).unwrap_or_else(|error| panic!("{name}: {error}"));
        function.set_slot("x", &words(x)).expect("x");
        function.run().expect("a run");
        (name, outputs.iter().map(|output| function.get(output).expect("an output")).collect())
    };
    devices().map(of).to_vec()
}

/// Asserts that `found` is `expected` to a relative `bound`; f32 overflows to infinity.
fn assert_is(found: f32, expected: f64, bound: f64, context: &str) {
    let expected = if (expected as f32).is_infinite() { f64::from(expected as f32) } else { expected };
    let found = f64::from(found);
    let same = found == expected || (found.is_nan() && expected.is_nan());
    // A device may flush numbers below the smallest normal f32 to 0.
    let near = (found - expected).abs() <= bound * expected.abs() + f64::from(f32::MIN_POSITIVE);
    assert!(same || near, "{context}: {found:e}, expected {expected:e}");
}

fn values_and_gradients_at_the_ends() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    let x = [-infinity, -2.0, -1.0, -0.25, -0.0, 0.0, 0.25, 1.0, 2.0, infinity, nan];
    for End { name, build, value, slope } in ENDS {
        let graph = Graph::new();
        let input = graph.input("x", [x.len()]);
        let y = build(&input);
        let [gradient] = graph.grad(&y, [&input]);
        for (device, results) in results(&[&y, &gradient], &x) {
            for (i, &x) in x.iter().enumerate() {
                let context = format!("{name} of {x} on {device}");
                assert_is(results[0][i], value(f64::from(x)), 1e-5, &context);
                assert_is(results[1][i], slope(f64::from(x)), 1e-5, &format!("the gradient of {context}"));
            }
        }
    }
}

/// Tests numbers of both signs and powers of all kinds, over the range of f32. The bound is that of e^(p ln |x|) in
/// f32: the rounding of the exponent is the relative error of the result.
fn powers_are_those_of_float64() {
    let x = [-30.0f32, -2.0, -1.0625, -1.0, -0.9375, -0.5, 0.03125, 0.75, 1.0, 1.0001, 3.0, 1e4];
    let powers = [
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
        16.0,
        63.0,
        64.0,
        65.0,
        66.0,
        127.0,
        1001.0,
        16_777_217.0,
        1e9,
        -1.0,
        -3.0,
        -4.0,
        -5.0,
        -64.0,
        -65.0,
        -128.0,
        -1001.0,
        0.25,
        0.5,
        0.75,
        1.5,
        65.5,
        -0.5,
        -2.25,
        -100.5,
    ];
    for p in powers {
        let graph = Graph::new();
        let input = graph.input("x", [x.len()]);
        let y = input.pow(p);
        for (device, results) in results(&[&y], &x) {
            for (&found, &x) in results[0].iter().zip(&x) {
                let expected = f64::from(x).powf(f64::from(p));
                let exponent = (f64::from(p) * f64::from(x.abs()).ln()).abs().min(104.0);
                let bound = (8.0 + 2.0 * exponent) * 0.5f64.powi(23);
                assert_is(found, expected, bound, &format!("{x} to the power {p} on {device}"));
            }
        }
    }
}
