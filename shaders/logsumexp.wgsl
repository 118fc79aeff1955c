// logsumexp: y[r] = m + ln Σ_c exp(x[r, c] - m), m = max_c x[r, c].
//
// Dispatch: 64 threads a workgroup, WIDTH of them a row: ceil(rows WIDTH / 64) workgroups, over x and y.
// Constant: WIDTH, 1 for short rows, else 64.

//#include row_softmax

struct Parameters {
    rows: u32,
    cols: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = ((group.x + group.y * groups.x) * 64u + local) / WIDTH;
    // Threads past the end repeat the last row, so that all reach the barriers; they write nothing.
    let first = min(row, parameters.rows - 1u) * parameters.cols;
    let max_and_sum = row_max_and_sum(first, parameters.cols, local);
    if row < parameters.rows && local % WIDTH == 0u {
        y[row] = max_and_sum.x + logarithm(max_and_sum.y);
    }
}
