// The windows of max_pool and max_pool_gradient, whose x is at binding 1. Twin: src/compute/pool_geometry.rs.

struct Parameters {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    out_h: u32,
    out_w: u32,
    size: u32,
    stride: u32,
    padding: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;

//#include exceeds

// The element of x that is the first of the largest of a window's channel.
fn largest(image: u32, row: u32, column: u32, channel: u32) -> u32 {
    let top = row * parameters.stride;
    let left = column * parameters.stride;
    let first_row = max(top, parameters.padding) - parameters.padding;
    let first_column = max(left, parameters.padding) - parameters.padding;
    let end_row = min(top + parameters.size - parameters.padding, parameters.h);
    let end_column = min(left + parameters.size - parameters.padding, parameters.w);
    var best = ((image * parameters.h + first_row) * parameters.w + first_column) * parameters.c + channel;
    var value = x[best];
    for (var r = first_row; r < end_row; r++) {
        for (var q = first_column; q < end_column; q++) {
            let at = ((image * parameters.h + r) * parameters.w + q) * parameters.c + channel;
            let v = x[at];
            if exceeds(v, value) {
                value = v;
                best = at;
            }
        }
    }
    return best;
}
