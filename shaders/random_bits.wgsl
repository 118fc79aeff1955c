// random_bits: words 2i and 2i + 1 are threefry2x32(key, (step, first + i)).
//
// Dispatch: ceil(pairs / 256) workgroups of 256, over x and y; a thread makes a pair.

struct Parameters {
    key: vec2<u32>,
    counter: vec2<u32>,
    n: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> bits: array<u32>;

//#include threefry

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = (group.x + group.y * groups.x) * 256u + local;
    let words = threefry2x32(parameters.key, parameters.counter + vec2(0u, pair));
    if 2u * pair < parameters.n {
        bits[2u * pair] = words.x;
    }
    if 2u * pair + 1u < parameters.n {
        bits[2u * pair + 1u] = words.y;
    }
}
