// normalise: raw = (x - mean) / sqrt(variance + epsilon) * weight + bias over [outer rows, channels], its leaky ReLU,
// and its signs; the statistics are those of an image and of `size` neighbouring channels.
//
// Dispatch: a thread for four channels of 8 rows, which are a word of the mask (layout: src/compute/mask.rs):
// ceil(ceil(outer rows / 8) channels / 4 / 256) workgroups of 256, over x and y.
// Switches: RAW, ACTIVATED, MASK: what is written; HALF and HALF_C: x, raw and activated are f16.

struct Parameters {
    outer: u32,
    rows: u32,
    channels: u32,
    size: u32,
    epsilon: f32,
    slope: f32,
    padding_0: u32,
    padding_1: u32,
}

//#if HALF
//#include half

//#endif
//#include stored
//#include sloped

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<Stored>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> variance: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<vec4<f32>>;
//#if RAW
@group(0) @binding(6) var<storage, read_write> raw: array<Stored>;
//#endif
//#if ACTIVATED
@group(0) @binding(7) var<storage, read_write> activated: array<Stored>;
//#endif
//#if MASK
@group(0) @binding(8) var<storage, read_write> mask: array<u32>;
//#endif

//#include norm_statistics

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
        let shift = bias[quad];
        // The image whose statistics are at hand.
        var outer = first / parameters.rows;
        var centre = mean_of(outer, quad);
        var factor = weight[quad] * deviation_reciprocal(outer, quad);
        var word = 0u;
        for (var row = first; row < end; row++) {
            if row >= (outer + 1u) * parameters.rows {
                outer++;
                centre = mean_of(outer, quad);
                factor = weight[quad] * deviation_reciprocal(outer, quad);
            }
            let at = row * quads + quad;
            let v = (loaded(x[at]) - centre) * factor + shift;
            let positive = v > vec4<f32>();
//#if RAW
            raw[at] = stored(v);
//#endif
//#if ACTIVATED
            activated[at] = stored(select(sloped_quad(v, parameters.slope), v, positive));
//#endif
            let signs = dot(select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), positive), vec4<u32>(1u));
            word |= signs << (4u * (row - first));
        }
//#if MASK
        mask[i] = word;
//#endif
    }
}
