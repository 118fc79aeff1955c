// moments: of each channel of x [outer, rows, channels], over the rows of part p: y[o, p, 0, c] the mean, and
// y[o, p, 1, c] the sum of the squared deviations from it.
//
// Dispatch: a workgroup for LANES neighbouring quads of channels of one part: outer parts quads / LANES workgroups
// of 256, over x and y.
// Constant: LANES, a power of two up to 32 that divides the quads; 256 / LANES threads share a quad's rows.
// Switches: HALF and HALF_C: x is f16.
//
// A thread sums deviations from its first value, and means are those of deviations from the part's first row, so that
// no digits are lost where the mean is large.

struct Parameters {
    rows: u32,
    quads: u32,
    part: u32,
    parts: u32,
    // Of all images.
    all_parts: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

//#if HALF
//#include half

//#endif
//#include stored

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<Stored>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

const ROWS: u32 = 256u / LANES;
var<workgroup> means: array<vec4<f32>, 256>;
var<workgroup> squares: array<vec4<f32>, 256>;
var<workgroup> counts: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.x + group.y * groups.x;
    let blocks = parameters.quads / LANES;
    let outer_part = index / blocks;
    let outer = outer_part / parameters.parts;
    let quad = index % blocks * LANES + local % LANES;
    let thread = local / LANES;
    let first = outer_part % parameters.parts * parameters.part;
    let end = min(first + parameters.part, parameters.rows);
    // The grid may end in workgroups without a part.
    let inside = outer_part < parameters.all_parts;
    var n = 0.0;
    var part_origin = vec4<f32>();
    var origin = vec4<f32>();
    var sum = vec4<f32>();
    var square = vec4<f32>();
    if inside && first + thread < end {
        let base = outer * parameters.rows;
        part_origin = loaded(x[(base + first) * parameters.quads + quad]);
        origin = loaded(x[(base + first + thread) * parameters.quads + quad]);
        for (var row = first + thread; row < end; row += ROWS) {
            let v = loaded(x[(base + row) * parameters.quads + quad]) - origin;
            sum += v;
            square += v * v;
            n += 1.0;
        }
        sum /= n;
        square -= n * sum * sum;
    }
    means[local] = (origin - part_origin) + sum;
    squares[local] = square;
    counts[local] = n;
    for (var step = ROWS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if thread < step {
            let other = local + step * LANES;
            let m = counts[other];
            if m > 0.0 {
                let all = counts[local] + m;
                let difference = means[other] - means[local];
                means[local] += difference * (m / all);
                squares[local] += squares[other] + difference * difference * (counts[local] * m / all);
                counts[local] = all;
            }
        }
    }
    // A quad's thread 0 wrote its results itself: no barrier before it reads them back.
    if inside && thread == 0u {
        let at = 2u * outer_part * parameters.quads + quad;
        y[at] = part_origin + means[local];
        y[at + parameters.quads] = squares[local];
    }
}
