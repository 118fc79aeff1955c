// paste: y[o, first + step a, i] = x[o, a, i]; the other elements of y stay. Words, not floats: a NaN keeps its payload.
//
// Dispatch: a thread for each element of x, ceil(n / 256) workgroups of 256, over x and y.

struct Parameters {
    n: u32,
    axis: u32,
    inner: u32,
    length: u32,
    first: u32,
    step: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

//#include element

fn element(i: u32) {
    let row = i / parameters.inner;
    let outer = row / parameters.axis;
    let a = parameters.first + parameters.step * (row - outer * parameters.axis);
    y[(outer * parameters.length + a) * parameters.inner + i - row * parameters.inner] = x[i];
}
