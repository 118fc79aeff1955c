// e^v and ln v for every v. Vulkan promises nothing for infinities and NaN, nor for ln v below 0, and a driver
// (SwiftShader) clamps the arguments first: there e^-inf is not 0, ln 0 is finite, ln -1 is 0, and a NaN among logits
// gives finite probabilities. The tests look at the bits, because a compiler may assume that v != v is false.

fn exponential(v: f32) -> f32 {
    let is_nan = (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
    // Below -104, e^v rounds to 0.
    return select(select(exp(v), 0.0, v < -104.0), v, is_nan);
}

// e^v - 1 for v <= 0, accurate for small v.
fn exponential_minus_one(v: f32) -> f32 {
    let series = v * (1.0 + v * (1.0 / 2.0 + v * (1.0 / 6.0 + v * (1.0 / 24.0 + v * (1.0 / 120.0
        + v * (1.0 / 720.0 + v * (1.0 / 5040.0 + v * (1.0 / 40320.0))))))));
    return select(series, exponential(v) - 1.0, v < -0.5);
}

// ln(1 + v) for v >= 0, accurate for small v: 2 artanh(v / (2 + v)).
fn logarithm_of_one_plus(v: f32) -> f32 {
    let z = v / (2.0 + v);
    let square = z * z;
    let series = 2.0 * z * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0))));
    return select(logarithm(1.0 + v), series, v < 0.5);
}

fn logarithm(v: f32) -> f32 {
    // Variables, because WGSL rejects constants that are not finite.
    var minus_infinity = 0xff800000u;
    var nan = 0x7fc00000u;
    let infinite_or_nan = (bitcast<u32>(v) & 0x7f800000u) == 0x7f800000u;
    let finite = select(log(v), bitcast<f32>(nan), v < 0.0);
    let all = select(select(finite, bitcast<f32>(minus_infinity), v == 0.0), v, infinite_or_nan);
    return select(all, bitcast<f32>(nan), bitcast<u32>(v) == minus_infinity);
}
