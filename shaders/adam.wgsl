// adam: g = clip * gradient + weight_decay * p; m = β1 m + (1 - β1) g; v = β2 v + (1 - β2) g²;
// p -= rate * m̂ / (sqrt(v̂) + ε), with the bias corrections of `control`; DECOUPLED: p -= rate * weight_decay * p in
// front of it, and no decay in g.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y. Switches: CLIP, DECOUPLED.

struct Parameters {
    n: u32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    epsilon: f32,
    weight_decay: f32,
    clip: f32,
}

@group(0) @binding(0) var<uniform> settings: Parameters;
@group(0) @binding(1) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> first: array<f32>;
@group(0) @binding(4) var<storage, read_write> second: array<f32>;
// learning rate, 1 / (1 - β1^t), 1 / (1 - β2^t), the moving average's rate
@group(0) @binding(5) var<storage, read> control: array<f32>;
//#if CLIP
@group(0) @binding(6) var<storage, read> norm: array<f32>;
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
    var p = parameters[i];
    var g = gradient[i];
//#if CLIP
    g *= clip_scale(settings.clip, norm[0]);
//#endif
//#if DECOUPLED
    p -= control[0] * settings.weight_decay * p;
//#else
    g += settings.weight_decay * p;
//#endif
    let m = settings.beta1 * first[i] + settings.rest1 * g;
    let v = settings.beta2 * second[i] + settings.rest2 * g * g;
    first[i] = m;
    second[i] = v;
    parameters[i] = p - control[0] * (control[1] * m) / (sqrt(control[2] * v) + settings.epsilon);
}
