// e^v and ln v for every v. Vulkan promises nothing for infinities and NaN, and a driver (SwiftShader) clamps
// the arguments first: there e^-inf is not 0, ln 0 is finite, and a NaN among logits gives finite
// probabilities. The bits are asked, for a compiler may take v != v to be false.

fn exponential(v: f32) -> f32 {
    let is_nan = (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
    // Below -104, e^v rounds to 0.
    return select(select(exp(v), 0.0, v < -104.0), v, is_nan);
}

fn logarithm(v: f32) -> f32 {
    // A variable, for WGSL refuses constants that are not finite.
    var minus_infinity = 0xff800000u;
    let infinite_or_nan = (bitcast<u32>(v) & 0x7f800000u) == 0x7f800000u;
    return select(select(log(v), bitcast<f32>(minus_infinity), v == 0.0), v, infinite_or_nan);
}
