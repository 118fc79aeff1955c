// unary: y = op(x), element by element.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.
// Constant: OP, the function (the order of UnaryOp in src/kernels/unary.rs).
// Switches: WORDS (x is u32, and y the same numbers), RELU (a leaky ReLU of slope 0).

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
//#include sloped

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
        case 5u: { return select(sloped(v, parameters.a), v, v > 0.0); }
        // Comparisons, not clamp(): a NaN must stay one, whatever the driver's min and max do.
        case 6u: { return select(select(v, parameters.b, v > parameters.b), parameters.a, v < parameters.a); }
        case 7u: { return select(0.0, 1.0, v >= parameters.a && v <= parameters.b); }
        case 8u: { return sigmoid(v); }
        case 9u: { return select(0.0, v, v > 0.0) + log1p(exp(-abs(v))); }
        case 10u: { return abs(v); }
        case 11u: { return select(select(v, -1.0, v < 0.0), 1.0, v > 0.0); }
        case 12u: { return hyperbolic_tangent(v); }
        case 14u: { return silu(v); }
        default: { return power(v); }
    }
}

fn sigmoid(v: f32) -> f32 {
    let e = exp(-abs(v));
    return select(e, 1.0, v >= 0.0) / (1.0 + e);
}

// v sigmoid(v), whose limit at -inf is 0.
fn silu(v: f32) -> f32 {
    var minus_infinity = 0xff800000u;
    return select(v * sigmoid(v), 0.0, bitcast<u32>(v) == minus_infinity);
}

// v^a as e^(a ln |v|), with the sign of v if a is odd; NaN for a finite v below 0 if a is not a whole number. b is 0
// for an even a, 1 for an odd one, 2 for others.
fn power(v: f32) -> f32 {
    let is_nan = (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
    let is_negative = (bitcast<u32>(v) & 0x80000000u) != 0u;
    let size = exponential(parameters.a * precise_logarithm(abs(v)));
    let signed = select(size, -size, is_negative && parameters.b == 1.0);
    var nan = 0x7fc00000u;
    let is_outside = v < 0.0 && bitcast<u32>(v) != 0xff800000u && parameters.b == 2.0;
    return select(signed, bitcast<f32>(nan), is_nan || is_outside);
}

// ln v for v >= 0, to f32's rounding: e ln 2 + 2 artanh((m - 1) / (m + 1)) for v = 2^e m with m about 1. WGSL's log()
// may err by 2^-21 near 1, and a power multiplies that error.
fn precise_logarithm(v: f32) -> f32 {
    let bits = bitcast<u32>(v);
    if bits < 0x00800000u || bits >= 0x7f800000u {
        return logarithm(v);
    }
    var exponent = f32(bits >> 23u) - 127.0;
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u);
    if m > 1.4142135 {
        m *= 0.5;
        exponent += 1.0;
    }
    return exponent * 0.6931472 + twice_artanh((m - 1.0) / (m + 1.0));
}

// ln(1 + e) = 2 artanh(e / (2 + e)) for e in [0, 1], to f32's rounding: WGSL's log() may err by 2^-21 near 1,
// which is all of a small e, and a compiler may simplify what makes up for it.
fn log1p(e: f32) -> f32 {
    return twice_artanh(e / (2.0 + e));
}

// 2 artanh(s) for |s| <= 1/3.
fn twice_artanh(s: f32) -> f32 {
    let q = s * s;
    var sum = 1.0 / 15.0;
    for (var k = 13.0; k > 0.0; k -= 2.0) {
        sum = sum * q + 1.0 / k;
    }
    return 2.0 * s * sum;
}

//#include element

fn element(i: u32) {
//#if WORDS
    y[i] = f32(x[i]);
//#else
    y[i] = apply(x[i]);
//#endif
}
