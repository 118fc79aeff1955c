// What an input gradient does to four channels of its sums: the leaky ReLU's derivative (MASK), the residual
// gradient before or behind it (RESIDUAL_BEFORE, RESIDUAL_AFTER).
// SCALED multiplies the sums first. The includer declares `parameters` with a `slope` and a `factor`.

//#include stored
//#include sloped
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> residual: array<Stored>;
@group(0) @binding(5) var<storage, read_write> gradient_in: array<Stored>;

// Writes quad `index` of the gradient; its signs are the lowest four bits of `word`.
fn finish_quad(index: u32, word: u32, sum: vec4<f32>) {
    var v = sum;
//#if SCALED
    v *= parameters.factor;
//#endif
//#if RESIDUAL_BEFORE
    v += loaded(residual[index]);
//#endif
//#if MASK
    let bits = (vec4<u32>(word) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
    v = select(sloped_quad(v, parameters.slope), v, bits != vec4<u32>());
//#endif
//#if RESIDUAL_AFTER
    v += loaded(residual[index]);
//#endif
    gradient_in[index] = stored(v);
}
