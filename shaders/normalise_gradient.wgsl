// normalise_gradient: y = (weight gradient - m0 - m1 x̂) / sqrt(variance + epsilon) + residual over
// [outer rows, channels], with x̂ = (x - mean) / sqrt(variance + epsilon) and means[o, group] = (m0, m1); the
// statistics are those of an image and of `size` neighbouring channels.
//
// Dispatch: a thread for four channels of 8 rows: ceil(ceil(outer rows / 8) channels / 4 / 256) workgroups of 256,
// over x and y.
// Switches: RESIDUAL; HALF and HALF_C: gradient, x, residual and y are f16.

struct Parameters {
    outer: u32,
    rows: u32,
    channels: u32,
    size: u32,
    epsilon: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

//#if HALF
//#include half

//#endif
//#include stored

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> gradient: array<Stored>;
@group(0) @binding(2) var<storage, read> x: array<Stored>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> means: array<vec2<f32>>;
//#if RESIDUAL
@group(0) @binding(7) var<storage, read> residual: array<Stored>;
//#endif
@group(0) @binding(8) var<storage, read_write> y: array<Stored>;

//#include norm_statistics

// y = a gradient + b (x - centre) + c
struct Coefficients {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    centre: vec4<f32>,
}

fn coefficients_of(outer: u32, quad: u32) -> Coefficients {
    let at = statistics_at(outer, quad);
    let reciprocal = deviation_reciprocal(outer, quad);
    let m0 = vec4<f32>(means[at.x].x, means[at.y].x, means[at.z].x, means[at.w].x);
    let m1 = vec4<f32>(means[at.x].y, means[at.y].y, means[at.z].y, means[at.w].y);
    let b = -m1 * reciprocal * reciprocal;
    return Coefficients(weight[quad] * reciprocal, b, -m0 * reciprocal, mean_of(outer, quad));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    let quads = parameters.channels / 4u;
    let rows = parameters.outer * parameters.rows;
    if i < (rows + 7u) / 8u * quads {
        let quad = i % quads;
        let first = i / quads * 8u;
        let end = min(first + 8u, rows);
        // The image whose statistics are at hand.
        var outer = first / parameters.rows;
        var own = coefficients_of(outer, quad);
        for (var row = first; row < end; row++) {
            if row >= (outer + 1u) * parameters.rows {
                outer++;
                own = coefficients_of(outer, quad);
            }
            let at = row * quads + quad;
            var v = own.a * loaded(gradient[at]) + own.b * (loaded(x[at]) - own.centre) + own.c;
//#if RESIDUAL
            v += loaded(residual[at]);
//#endif
            y[at] = stored(v);
        }
    }
}
