// sgld: x += step * clamp(gradient, ±limit) + noise * N(0, 1), then x clamped to [low, high].
//
// Dispatch: ceil(pairs / 256) workgroups of 256, over x and y; a thread updates elements 2i and 2i + 1,
// whose noise comes from one call of Threefry with counter (SGLD step, i).
// Constant: STREAM. Switches: NOISE, CLAMP_GRADIENT, CLAMP_X, MASKED (elements whose mask is 0 stay).
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
//#if MASKED
@group(0) @binding(4) var<storage, read> mask: array<f32>;
//#endif

//#if NOISE
//#include threefry
//#include normal
//#endif

// Comparisons, not clamp(): a NaN must stay one, whatever the driver's min and max do.
fn limited(v: f32, low: f32, high: f32) -> f32 {
    return select(select(v, high, v > high), low, v < low);
}

fn update(i: u32, normal: f32) {
    if i >= parameters.n {
        return;
    }
//#if MASKED
    if mask[i] == 0.0 {
        return;
    }
//#endif
    var drift = gradient[i];
//#if CLAMP_GRADIENT
    drift = limited(drift, -parameters.limit, parameters.limit);
//#endif
    var moved = x[i] + parameters.step * drift + parameters.noise * normal;
//#if CLAMP_X
    moved = limited(moved, parameters.low, parameters.high);
//#endif
    x[i] = moved;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = (group.x + group.y * groups.x) * 256u + local;
    // Read in every permutation, so that all of them have the same bindings.
    let seed = counters[0];
    let step = counters[2];
    var normals = vec2(0.0, 0.0);
//#if NOISE
    normals = normal_pair(threefry2x32(vec2(seed, STREAM), vec2(step, pair)));
//#endif
    update(2u * pair, normals.x);
    update(2u * pair + 1u, normals.y);
}
