// copy: y = x from `offset` on, read through strides. Words, not floats: a NaN keeps its payload.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.
// Constant: RANK, the axes left after neighbours that are walked in one stride were joined.

//#include strided

struct Parameters {
    shape: vec4<u32>,
    strides: vec4<u32>,
    n: u32,
    offset: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

//#include element

fn element(i: u32) {
    y[i] = x[parameters.offset + strided(i, parameters.shape, parameters.strides)];
}
