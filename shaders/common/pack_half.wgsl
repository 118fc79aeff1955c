// Two f32 as f16 in a word, each rounded to the nearest; from 65,520 on an f16 is infinite, and NaN stays NaN. WGSL
// leaves pack2x16float undefined beyond 65,504, and drivers differ there: what has overflowed must stay visible.

fn pack_half(v: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(v);
    let magnitude = bits & vec2<u32>(0x7fffffffu);
    let sign = bits & vec2<u32>(0x80000000u);
    let finite = pack2x16float(bitcast<vec2<f32>>(min(magnitude, vec2<u32>(0x477fe000u)) | sign));
    let special = select(vec2<u32>(0x7c00u), vec2<u32>(0x7e00u), magnitude > vec2<u32>(0x7f800000u));
    let signed = special | (sign >> vec2<u32>(16u));
    let halves = select(signed, vec2<u32>(finite & 0xffffu, finite >> 16u), magnitude < vec2<u32>(0x477ff000u));
    return halves.x | (halves.y << 16u);
}
