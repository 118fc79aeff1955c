// moving_average: average += rate * (parameters - average).
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.

struct Parameters {
    n: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> settings: Parameters;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read_write> average: array<f32>;
// Three words of the optimizer, and the rate.
@group(0) @binding(3) var<storage, read> control: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i < settings.n {
        average[i] += control[3] * (parameters[i] - average[i]);
    }
}
