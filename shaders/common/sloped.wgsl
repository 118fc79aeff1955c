// slope v, the side of a leaky ReLU below 0, and of its gradient. With RELU the slope is 0: an infinity gives 0, and a
// NaN stays NaN. The bits decide what is NaN, because a compiler may assume that there is none. Twin: `sloped` in
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
