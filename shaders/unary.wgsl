// unary: y = op(x), element by element.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.
// Constant: OP, the function (the order of UnaryOp in src/kernels/unary.rs).
// Switch: WORDS (x is u32, and y the same numbers).

struct Parameters {
    n: u32,
    a: f32,
    b: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
//#if WORDS
@group(0) @binding(1) var<storage, read> x: array<u32>;
//#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
//#endif
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

//#include exp_log

// Vulkan promises nothing below 0.
fn square_root(v: f32) -> f32 {
    var nan = 0x7fc00000u;
    return select(sqrt(v), bitcast<f32>(nan), v < 0.0);
}

// (1 - e^-2|v|) / (1 + e^-2|v|) with the sign of v: WGSL's tanh() may overflow, and has no digits near 0.
fn hyperbolic_tangent(v: f32) -> f32 {
    let minus = exponential_minus_one(-2.0 * abs(v));
    let size = -minus / (2.0 + minus);
    return select(size, -size, v < 0.0);
}

fn apply(v: f32) -> f32 {
    switch OP {
        case 0u: { return parameters.a * v + parameters.b; }
        case 1u: { return exponential(v); }
        case 2u: { return logarithm(v); }
        case 3u: { return 1.0 / v; }
        case 4u: { return square_root(v); }
        case 5u: { return select(parameters.a * v, v, v > 0.0); }
        // Comparisons, not clamp(): a NaN must stay one, whatever the driver's min and max do.
        case 6u: { return select(select(v, parameters.b, v > parameters.b), parameters.a, v < parameters.a); }
        case 7u: { return select(0.0, 1.0, v >= parameters.a && v <= parameters.b); }
        case 8u: { let e = exp(-abs(v)); return select(e, 1.0, v >= 0.0) / (1.0 + e); }
        case 9u: { return select(0.0, v, v > 0.0) + log1p(exp(-abs(v))); }
        case 10u: { return abs(v); }
        case 11u: { return select(select(v, -1.0, v < 0.0), 1.0, v > 0.0); }
        default: { return hyperbolic_tangent(v); }
    }
}

// ln(1 + e) = 2 artanh(e / (2 + e)) for e in [0, 1], to f32's rounding: WGSL's log() may err by 2^-21 near 1,
// which is all of a small e, and a compiler may simplify what makes up for it.
fn log1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    var sum = 1.0 / 15.0;
    for (var k = 13.0; k > 0.0; k -= 2.0) {
        sum = sum * q + 1.0 / k;
    }
    return 2.0 * s * sum;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i < parameters.n {
//#if WORDS
        y[i] = f32(x[i]);
//#else
        y[i] = apply(x[i]);
//#endif
    }
}
