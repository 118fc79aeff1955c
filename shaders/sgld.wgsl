// sgld: x += step * clamp(gradient, ±limit) + noise * N(0, 1), then x clamped to [low, high].
//
// Dispatch: ceil(pairs / 256) workgroups of 256, over x and y; a thread updates elements 2i and 2i + 1,
// whose noise comes from one call of Threefry.
// Constant and switches: sgld_update's.
// Never in memory: the noise.

struct Parameters {
    n: u32,
    step: f32,
    noise: f32,
    limit: f32,
    low: f32,
    high: f32,
    padding_0: f32,
    padding_1: f32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> counters: array<u32>;
@group(0) @binding(4) var<storage, read> moving: array<f32>;

//#include sgld_update

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = (group.x + group.y * groups.x) * 256u + local;
    let normals = noise_of(pair);
    let first = 2u * pair;
    if first < parameters.n {
        update(first, gradient[first], normals.x);
    }
    if first + 1u < parameters.n {
        update(first + 1u, gradient[first + 1u], normals.y);
    }
}
