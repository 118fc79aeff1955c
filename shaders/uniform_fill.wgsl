// uniform_fill: out uniform in [low, low + range); elements 2i and 2i + 1 from counter (iteration, i).
//
// Dispatch: ceil(pairs / 256) workgroups of 256, over x and y; a thread makes a pair.

struct Parameters {
    n: u32,
    low: f32,
    range: f32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> counters: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

//#include threefry

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = (group.x + group.y * groups.x) * 256u + local;
    let words = threefry2x32(vec2(counters[0], parameters.stream), vec2(counters[1], pair));
    if 2u * pair < parameters.n {
        out[2u * pair] = parameters.low + parameters.range * uniform_of(words.x);
    }
    if 2u * pair + 1u < parameters.n {
        out[2u * pair + 1u] = parameters.low + parameters.range * uniform_of(words.y);
    }
}
