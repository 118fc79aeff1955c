// normalise_sums: of each channel, over the rows of part p: y[o, p, 0, c] = Σ gradient and
// y[o, p, 1, c] = Σ gradient (x - mean) / sqrt(variance + epsilon).
//
// Dispatch: a workgroup for LANES neighbouring quads of channels of one part: outer parts quads / LANES workgroups
// of 256, over x and y.
// Constant: LANES, a power of two up to 32 that divides the quads; 256 / LANES threads share a quad's rows.
// Switches: HALF and HALF_C: gradient and x are f16.

struct Parameters {
    outer: u32,
    rows: u32,
    channels: u32,
    size: u32,
    part: u32,
    parts: u32,
    epsilon: f32,
    padding: u32,
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
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

//#include norm_statistics

const ROWS: u32 = 256u / LANES;
var<workgroup> sums: array<vec4<f32>, 256>;
var<workgroup> products: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.x + group.y * groups.x;
    let quads = parameters.channels / 4u;
    let blocks = quads / LANES;
    let outer_part = index / blocks;
    let outer = outer_part / parameters.parts;
    let quad = index % blocks * LANES + local % LANES;
    let thread = local / LANES;
    // The grid may end in workgroups without a part.
    let inside = outer < parameters.outer;
    var sum = vec4<f32>();
    var product = vec4<f32>();
    if inside {
        let first = outer_part % parameters.parts * parameters.part;
        let end = min(first + parameters.part, parameters.rows);
        let centre = mean_of(outer, quad);
        for (var row = first + thread; row < end; row += ROWS) {
            let at = (outer * parameters.rows + row) * quads + quad;
            let g = loaded(gradient[at]);
            sum += g;
            product += g * (loaded(x[at]) - centre);
        }
        product *= deviation_reciprocal(outer, quad);
    }
    sums[local] = sum;
    products[local] = product;
    for (var step = ROWS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if thread < step {
            sums[local] += sums[local + step * LANES];
            products[local] += products[local + step * LANES];
        }
    }
    // A quad's thread 0 wrote its results itself: no barrier before it reads them back.
    if inside && thread == 0u {
        let at = 2u * outer_part * quads + quad;
        y[at] = sums[local];
        y[at + quads] = products[local];
    }
}
