// logit_loss: loss[i] = a LSE(f_i) + b (LSE(f_i) - f_i[y_i]) + c f_i[y_i] + d Σ f_i² + e φ(f_i, y_i), with
// the weights of the part of the batch that row i belongs to; stats[i] = LSE, cross-entropy, correct, Σ f_i², φ.
//
// Switch: FUNCTIONAL (φ, else 0).
//
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
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;

var<private> first_logit: u32;

fn row_logit(k: u32) -> f32 {
    return logits[first_logit + k];
}

//#include logit_row

// 0 for a term of weight 0, even where the term is not finite.
fn term(weight: f32, value: f32) -> f32 {
    if weight == 0.0 {
        return 0.0;
    }
    return weight * value;
}

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
    first_logit = i * parameters.classes;
    let row = logit_row(local, parameters.classes);
    let label = labels[i];
//#if FUNCTIONAL
    let functional = functional_row(row, i, local, parameters.classes, label);
//#endif
    if local == 0u {
        let s = row_stats(row, parameters.classes, label);
        let weights = weights_of(i);
        var logit_y = nan();
        if label < parameters.classes {
            logit_y = row_logit(label);
        }
        loss[i] = term(weights.x, s.x) + term(weights.y, s.y) + term(weights.z, logit_y) + term(weights.w, s.w);
        stats[5u * i] = s.x;
        stats[5u * i + 1u] = s.y;
        stats[5u * i + 2u] = s.z;
        stats[5u * i + 3u] = s.w;
//#if FUNCTIONAL
        loss[i] += term(functional.weight, functional.slopes.x);
        stats[5u * i + 4u] = functional.slopes.x;
//#else
        stats[5u * i + 4u] = 0.0;
//#endif
    }
}
