// argmax: y[o, i] = the first a at which x[o, a, i] is largest, as u32; the first NaN, if there is one.
//
// Dispatch: a workgroup for LANES neighbouring columns (o, i): ceil(outer inner / LANES) workgroups of 256, over x and y.
// Constant: LANES, a power of two up to 256; 256 / LANES threads share the elements of a column, each taking every
// 256 / LANES-th, and compare what they found in a tree.

struct Parameters {
    columns: u32,
    inner: u32,
    axis: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

//#include exceeds

const ROWS: u32 = 256u / LANES;
var<workgroup> values: array<f32, 256>;
var<workgroup> indices: array<u32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.x + group.y * groups.x;
    let column = block * LANES + local % LANES;
    let row = local / LANES;
    let first = column / parameters.inner * parameters.axis * parameters.inner + column % parameters.inner;
    var value = 0.0;
    // A thread without elements of its own has the column's first.
    var index = 0u;
    if column < parameters.columns {
        value = x[first];
        for (var a = row; a < parameters.axis; a += ROWS) {
            let v = x[first + a * parameters.inner];
            if exceeds(v, value) {
                value = v;
                index = a;
            }
        }
    }
    values[local] = value;
    indices[local] = index;
    for (var step = ROWS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if row < step {
            let other = local + step * LANES;
            let larger = exceeds(values[other], values[local]);
            let alike = !larger && !exceeds(values[local], values[other]);
            if larger || (alike && indices[other] < indices[local]) {
                values[local] = values[other];
                indices[local] = indices[other];
            }
        }
    }
    // A column's thread of row 0 wrote its result itself: no barrier before it reads it back.
    if row == 0u && column < parameters.columns {
        y[column] = indices[local];
    }
}
