// scatter_labels: y[r, c] = x[r] where c is labels[r], else 0.
//
// Dispatch: ceil(rows cols / 256) workgroups of 256, over x and y.

struct Parameters {
    n: u32,
    cols: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

//#include element

fn element(i: u32) {
    let row = i / parameters.cols;
    y[i] = select(0.0, x[row], i - row * parameters.cols == labels[row]);
}
