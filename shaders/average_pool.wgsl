// average_pool: the means over windows of size x size, NHWC.
//
// Dispatch: a thread for each output, ceil(n / 256) workgroups of 256, over x and y.
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
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

//#include element

fn element(i: u32) {
    let channel = i % parameters.c;
    let pixel = i / parameters.c;
    let out_w = parameters.w / parameters.size;
    let row = pixel / out_w * parameters.size;
    let column = pixel % out_w * parameters.size;
    var sum = 0.0;
    for (var r = row; r < row + parameters.size; r++) {
        for (var q = column; q < column + parameters.size; q++) {
            sum += x[(r * parameters.w + q) * parameters.c + channel];
        }
    }
    y[i] = sum * parameters.scale;
}
