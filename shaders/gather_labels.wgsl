// gather_labels: y[r] = x[r, labels[r]]; NaN for a label outside the columns.
//
// Dispatch: ceil(rows / 256) workgroups of 256, over x and y.

struct Parameters {
    rows: u32,
    cols: u32,
    // Bits: WGSL has no NaN literal.
    nan: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i >= parameters.rows {
        return;
    }
    let label = labels[i];
    if label < parameters.cols {
        y[i] = x[i * parameters.cols + label];
    } else {
        y[i] = bitcast<f32>(parameters.nan);
    }
}
