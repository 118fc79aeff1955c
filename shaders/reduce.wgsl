// reduce: y[o, p, i] = factor * Σ x[o, a, i] over the a of part p, or factor * Σ x², or factor times the largest or
// smallest x, in which NaN counts as both.
//
// Dispatch: a workgroup for LANES neighbouring columns (o, i) of one part:
// ceil(outer inner / LANES) parts workgroups of 256, over x and y.
// Constants: OP, the operation (ReduceOp::code in src/kernels/reduce.rs); LANES, a power of two up to 256; 256 / LANES
// threads share the terms of a column, each taking every 256 / LANES-th, and join theirs in a tree. The order of the
// additions depends on the shape alone.
// Switch: HALF (x is f16, two to a word).

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

//#include exceeds

// What becomes of a and b together.
fn join(a: f32, b: f32) -> f32 {
    switch OP {
        case 2u: { return select(a, b, exceeds(b, a)); }
        case 3u: { return select(a, b, exceeds(-b, -a)); }
        default: { return a + b; }
    }
}

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
    var result = 0.0;
    if column < parameters.columns {
        let first = part * parameters.part;
        let end = min(first + parameters.part, parameters.axis);
        if OP >= 2u {
            result = term((outer * parameters.axis + first) * parameters.inner + i);
        }
        for (var a = first + row; a < end; a += ROWS) {
            let v = term((outer * parameters.axis + a) * parameters.inner + i);
            result = join(result, select(v, v * v, OP == 1u));
        }
    }
    scratch[local] = result;
    for (var step = ROWS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if row < step {
            scratch[local] = join(scratch[local], scratch[local + step * LANES]);
        }
    }
    // A column's thread of row 0 wrote its result itself: no barrier before it reads it back.
    if row == 0u && column < parameters.columns {
        y[(outer * parameters.parts + part) * parameters.inner + i] = parameters.factor * scratch[local];
    }
}
