// mismatches: counts[t] += how many words i of a and b differ with i % counters = t.
//
// Dispatch: ceil(counters / 256) workgroups of 256, over x and y; neighbours read neighbouring words.

struct Parameters {
    n: u32,
    counters: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 256u + local;
    if t < parameters.counters {
        var count = 0u;
        for (var i = t; i < parameters.n; i += parameters.counters) {
            count += select(0u, 1u, a[i] != b[i]);
        }
        counts[t] += count;
    }
}
