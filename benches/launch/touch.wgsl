// touch: y[g] += 1 for workgroup g: a dispatch with next to no work, whose result says how often it ran.
//
// Dispatch: as many workgroups of 256 as y has words, at most 65,535.

struct Parameters {
    groups: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    if local == 0u && group.x < parameters.groups {
        y[group.x] += 1u;
    }
}
