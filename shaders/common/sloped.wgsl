// The side of a leaky ReLU below 0, and of its gradient: slope v. With RELU the slope is 0, and 0 of an infinity is 0; a
// NaN stays one. The tests look at the bits, because a compiler may assume that there is no NaN. Twin: `sloped` in
// src/compute/cpu/elementwise.rs.
fn sloped(v: f32, slope: f32) -> f32 {
//#if RELU
    return select(0.0, v, (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u);
//#else
    return slope * v;
//#endif
}

fn sloped_quad(v: vec4<f32>, slope: f32) -> vec4<f32> {
//#if RELU
    let magnitude = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    return select(vec4<f32>(), v, magnitude > vec4<u32>(0x7f800000u));
//#else
    return slope * v;
//#endif
}
