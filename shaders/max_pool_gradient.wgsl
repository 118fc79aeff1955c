// max_pool_gradient: y[pixel, c] = the sum of gradient over the windows of which x[pixel, c] is the first of the largest,
// NHWC: the transpose of max_pool in v.
//
// Dispatch: a thread for each element of y, ceil(n / 256) workgroups of 256, over x and y. It looks through every window
// that has the pixel, in the order of the windows, so no sum depends on the order of threads.

//#include max_window

@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// The first window that reaches position `at`.
fn first_window(at: u32) -> u32 {
    let beyond = at + parameters.padding + parameters.stride;
    return (max(beyond, parameters.size) - parameters.size) / parameters.stride;
}

// The end of the windows that begin at or before position `at`, of `count`.
fn end_window(at: u32, count: u32) -> u32 {
    return min((at + parameters.padding) / parameters.stride + 1u, count);
}

//#include element

fn element(i: u32) {
    let channel = i % parameters.c;
    let pixel = i / parameters.c;
    let column = pixel % parameters.w;
    let row = pixel / parameters.w % parameters.h;
    let image = pixel / parameters.w / parameters.h;
    var sum = 0.0;
    for (var r = first_window(row); r < end_window(row, parameters.out_h); r++) {
        for (var q = first_window(column); q < end_window(column, parameters.out_w); q++) {
            if largest(image, r, q, channel) == i {
                let window = (image * parameters.out_h + r) * parameters.out_w + q;
                sum += gradient[window * parameters.c + channel];
            }
        }
    }
    y[i] = sum;
}
