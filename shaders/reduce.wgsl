// reduce: y[o, p, i] = factor * Σ x[o, a, i] over the a of part p, or factor * Σ x².
//
// Dispatch: a workgroup for LANES neighbouring columns (o, i) of one part:
// ceil(outer inner / LANES) parts workgroups of 256, over x and y.
// Constant: LANES, a power of two up to 256; 256 / LANES threads share the terms of a column, each taking
// every 256 / LANES-th, and add up in a tree. The order of the additions depends on the shape alone.
// Switches: SQUARES, HALF (x is f16, two to a word).

struct Parameters {
    columns: u32,
    inner: u32,
    axis: u32,
    part: u32,
    parts: u32,
    factor: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
//#if HALF
@group(0) @binding(1) var<storage, read> x: array<u32>;
//#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
//#endif
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const ROWS: u32 = 256u / LANES;
var<workgroup> scratch: array<f32, 256>;

fn term(index: u32) -> f32 {
//#if HALF
    let pair = unpack2x16float(x[index / 2u]);
    return select(pair.x, pair.y, (index & 1u) == 1u);
//#else
    return x[index];
//#endif
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.x + group.y * groups.x;
    let part = block % parameters.parts;
    let column = block / parameters.parts * LANES + local % LANES;
    let row = local / LANES;
    let outer = column / parameters.inner;
    let i = column % parameters.inner;
    var sum = 0.0;
    if column < parameters.columns {
        let end = min((part + 1u) * parameters.part, parameters.axis);
        for (var a = part * parameters.part + row; a < end; a += ROWS) {
            let v = term((outer * parameters.axis + a) * parameters.inner + i);
//#if SQUARES
            sum += v * v;
//#else
            sum += v;
//#endif
        }
    }
    scratch[local] = sum;
    for (var step = ROWS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if row < step {
            scratch[local] += scratch[local + step * LANES];
        }
    }
    // A column's thread of row 0 wrote its sum itself: no barrier before it reads it back.
    if row == 0u && column < parameters.columns {
        y[(outer * parameters.parts + part) * parameters.inner + i] = parameters.factor * scratch[local];
    }
}
