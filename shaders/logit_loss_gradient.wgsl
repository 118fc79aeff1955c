// logit_loss_gradient: gradient[i, k] = upstream[i] ((a + b) softmax(f_i)[k] + (c - b) [k = y_i]
// + 2 d f_i[k] + e ∂φ/∂f_i[k]), with the weights of the part of the batch that row i belongs to.
//
// Switch: FUNCTIONAL (φ).
// Dispatch: n workgroups of 64, over x and y; one a row.

struct Parameters {
    n: u32,
    classes: u32,
    padding_0: u32,
    padding_1: u32,
    // The row after each part's last, and each part's a, b, c, d.
    ends: vec4<u32>,
    weights: array<vec4<f32>, 4>,
//#if FUNCTIONAL
    // The number of each part's functional (0: none), the bits of its parameter, those of its weight.
    functionals: array<vec4<u32>, 4>,
//#endif
}

const THREADS: u32 = 64u;

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> upstream: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

var<private> first_logit: u32;

fn row_logit(k: u32) -> f32 {
    return logits[first_logit + k];
}

//#include logit_row

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = group.x + group.y * groups.x;
    if i >= parameters.n {
        return;
    }
    let classes = parameters.classes;
    first_logit = i * classes;
    let row = logit_row(local, classes);
    let weights = weights_of(i);
//#if FUNCTIONAL
    let functional = functional_row(row, i, local, classes, labels[i]);
//#endif
    for (var k = local; k < classes; k += THREADS) {
//#if FUNCTIONAL
        let sum = logit_gradient_at(row, weights, k, classes, labels[i])
            + functional_gradient_at(row, functional, k, labels[i]);
        gradient[first_logit + k] = upstream[i] * sum;
//#else
        gradient[first_logit + k] =
            upstream[i] * logit_gradient_at(row, weights, k, classes, labels[i]);
//#endif
    }
}
