// momentum: g = clip * gradient + weight_decay * p; v = momentum * v + g;
// p -= rate * v, or rate * (g + momentum * v) with NESTEROV.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y. Switches: CLIP, NESTEROV.

struct Parameters {
    n: u32,
    momentum: f32,
    weight_decay: f32,
    clip: f32,
}

@group(0) @binding(0) var<uniform> settings: Parameters;
@group(0) @binding(1) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> velocity: array<f32>;
// The learning rate and three words of other optimizers.
@group(0) @binding(4) var<storage, read> control: array<f32>;
//#if CLIP
@group(0) @binding(5) var<storage, read> norm: array<f32>;
//#include clip
//#endif

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
    var g = gradient[i];
//#if CLIP
    g *= clip_scale(settings.clip, norm[0]);
//#endif
    g += settings.weight_decay * p;
    let v = settings.momentum * velocity[i] + g;
    velocity[i] = v;
//#if NESTEROV
    parameters[i] = p - control[0] * (g + settings.momentum * v);
//#else
    parameters[i] = p - control[0] * v;
//#endif
}
