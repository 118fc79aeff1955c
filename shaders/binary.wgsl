// binary: y = a op b, element by element, a and b read through strides.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.
// Constants: OP, the function (the order of BinaryOp in src/kernels/binary.rs); RANK, the axes left after
// neighbours that both operands walk in one stride were joined: 1 where nothing but a scalar is broadcast.

//#include strided

struct Parameters {
    shape: vec4<u32>,
    a_strides: vec4<u32>,
    b_strides: vec4<u32>,
    n: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// By the order of a and b; NaN, which the sum then is, if either is NaN. The tests look at the bits, because a compiler
// may assume that there is none.
fn ordered(a: f32, b: f32, above: f32, below: f32, equal: f32) -> f32 {
    let a_is_nan = (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u;
    let b_is_nan = (bitcast<u32>(b) & 0x7fffffffu) > 0x7f800000u;
    let order = select(select(equal, below, a < b), above, a > b);
    return select(order, a + b, a_is_nan || b_is_nan);
}

fn apply(a: f32, b: f32) -> f32 {
    switch OP {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return a / b; }
        case 4u: { return ordered(a, b, a, b, a); }
        case 5u: { return ordered(a, b, b, a, a); }
        default: { return ordered(a, b, 1.0, 0.0, 0.5); }
    }
}

//#include element

fn element(i: u32) {
    let a_index = strided(i, parameters.shape, parameters.a_strides);
    let b_index = strided(i, parameters.shape, parameters.b_strides);
    y[i] = apply(a[a_index], b[b_index]);
}
