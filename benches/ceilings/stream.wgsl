// stream: y = x, or y = value, or every y[i] is the sum of 32 words of x (switches COPY, FILL, else sums).
// 16 bytes at a time, the threads of a workgroup side by side.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y; n vec4s are copied or filled, or n sums made.

struct Parameters {
    n: u32,
    value: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
//#if FILL
//#else
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
//#endif
//#if VECTORS
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;
//#else
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
//#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.x + group.y * groups.x;
    let i = index * 256u + local;
    if i < parameters.n {
//#if COPY
        y[i] = x[i];
//#endif
//#if FILL
        y[i] = vec4(parameters.value);
//#endif
//#if SUMS
        let first = index * 2048u + local;
        var total = x[first];
        for (var k = 1u; k < 8u; k++) {
            total += x[first + 256u * k];
        }
        y[i] = total.x + total.y + total.z + total.w + parameters.value;
//#endif
    }
}
