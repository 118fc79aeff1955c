// scatter_add: y[r] = the sum of those rows i of x, of `width` elements, whose indices[i] is r: the transpose of
// gather_rows.
//
// Dispatch: a workgroup for 256 columns of one row of y: rows ceil(width / 256) workgroups of 256, over x and y. Its
// threads compare 256 indices at once and note in bits which are r; then each adds up its column of those rows, in the
// order of the indices. So no sum depends on the order of threads.

struct Parameters {
    rows: u32,
    count: u32,
    width: u32,
    // Workgroups of a row.
    blocks: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> chosen: array<atomic<u32>, 8>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.x + group.y * groups.x;
    let row = block / parameters.blocks;
    let column = (block - row * parameters.blocks) * 256u + local;
    var sum = 0.0;
    for (var first = 0u; first < parameters.count; first += 256u) {
        if local < 8u {
            atomicStore(&chosen[local], 0u);
        }
        workgroupBarrier();
        let own = first + local;
        if own < parameters.count && indices[own] == row {
            atomicOr(&chosen[local / 32u], 1u << (local % 32u));
        }
        workgroupBarrier();
        if column < parameters.width {
            for (var word = 0u; word < 8u; word++) {
                var bits = atomicLoad(&chosen[word]);
                while bits != 0u {
                    let i = first + word * 32u + firstTrailingBit(bits);
                    sum += x[i * parameters.width + column];
                    bits &= bits - 1u;
                }
            }
        }
        workgroupBarrier();
    }
    if row < parameters.rows && column < parameters.width {
        y[row * parameters.width + column] = sum;
    }
}
