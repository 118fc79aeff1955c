// average_pool_gradient: each window of size x size gets its output's gradient / size², NHWC.
//
// Dispatch: a thread for each input pixel's channel, ceil(n / 256) workgroups of 256, over x and y.
// Images need no index of their own: their rows follow one another, and size divides them.

struct Parameters {
    n: u32,
    w: u32,
    c: u32,
    size: u32,
    scale: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

//#include element

fn element(i: u32) {
    let channel = i % parameters.c;
    let pixel = i / parameters.c;
    let row = pixel / parameters.w / parameters.size;
    let column = pixel % parameters.w / parameters.size;
    let window = row * (parameters.w / parameters.size) + column;
    y[i] = gradient[window * parameters.c + channel] * parameters.scale;
}
