// e^v for every v. Vulkan promises nothing for infinities and NaN, and a driver (SwiftShader) clamps the
// argument first: there e^-inf is not 0, and a NaN among logits would give finite probabilities.

fn exponential(v: f32) -> f32 {
    // Below -104, e^v rounds to 0. The bits are asked, for a compiler may take v != v to be false.
    let is_nan = (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
    return select(select(exp(v), 0.0, v < -104.0), v, is_nan);
}
