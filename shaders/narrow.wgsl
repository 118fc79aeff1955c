// narrow: y = x, rounded to the nearest f16, two to a word.
//
// Dispatch: ceil(pairs / 256) workgroups of 256, over x and y.

struct Parameters {
    pairs: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

//#include pack_half

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i < parameters.pairs {
        y[i] = pack_half(x[i]);
    }
}
