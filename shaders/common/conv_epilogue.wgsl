// What a convolution does to four channels of its sums: bias, residual, leaky ReLU and its signs, each behind
// a switch. The includer declares `parameters` with a `slope`.

//#include stored
//#include sloped

@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<Stored>;
@group(0) @binding(5) var<storage, read_write> raw: array<Stored>;
@group(0) @binding(6) var<storage, read_write> activated: array<Stored>;
@group(0) @binding(7) var<storage, read_write> mask: array<u32>;

// Writes quad `index` of the output, which holds quad `quad` of the channels; returns its four signs.
fn finish_quad(index: u32, quad: u32, sum: vec4<f32>) -> u32 {
    var v = sum;
//#if BIAS
    v += bias[quad];
//#endif
//#if RESIDUAL
    v += loaded(residual[index]);
//#endif
//#if RAW
    raw[index] = stored(v);
//#endif
    let positive = v > vec4<f32>();
//#if ACTIVATED
    activated[index] = stored(select(sloped_quad(v, parameters.slope), v, positive));
//#endif
    return dot(select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), positive), vec4<u32>(1u));
}
