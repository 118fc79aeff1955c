// gather_rows: y[i] = row indices[i] of x, of `width` elements; NaN for an index that is no row.
//
// Dispatch: a thread for each element of y, ceil(n width / 256) workgroups of 256, over x and y.

struct Parameters {
    n: u32,
    rows: u32,
    width: u32,
    // Bits: WGSL has no NaN literal.
    nan: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

//#include element

fn element(i: u32) {
    let row = i / parameters.width;
    let index = indices[row];
    if index < parameters.rows {
        y[i] = x[index * parameters.width + i - row * parameters.width];
    } else {
        y[i] = bitcast<f32>(parameters.nan);
    }
}
