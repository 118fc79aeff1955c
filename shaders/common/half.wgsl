// Tensors in f16, four channels to two words, each behind a switch: HALF_A and HALF_B for the operands of a
// product, HALF_C for its results and the residual. No device needs an extension for it.

//#include pack_half

fn widen(v: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}

fn narrow(v: vec4<f32>) -> vec2<u32> {
    return vec2<u32>(pack_half(v.xy), pack_half(v.zw));
}
