// ascent: p += radius * s² * gradient / (sqrt(norm) + 1e-12), with s = |p| (ADAPTIVE) or 1.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y. Switch: ADAPTIVE.

struct Parameters {
    n: u32,
    radius: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> settings: Parameters;
@group(0) @binding(1) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i >= settings.n {
        return;
    }
    let p = parameters[i];
    let scale = settings.radius / (sqrt(norm[0]) + 1e-12);
//#if ADAPTIVE
    parameters[i] = p + p * p * gradient[i] * scale;
//#else
    parameters[i] = p + gradient[i] * scale;
//#endif
}
