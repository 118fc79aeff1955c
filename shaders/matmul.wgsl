// matmul: C[m, n] = op(A) op(B) (+ bias[n]).
//
// Tiles of 64 x 64, 16 terms a step, 256 threads with 4 x 4 sums each.
// Dispatch: ceil(m / 64) ceil(n / 64) workgroups, over x and y.
// Switches: TRANSPOSE_A (A is [k, m]), TRANSPOSE_B (B is [n, k]), BIAS.

struct Parameters {
    m: u32,
    n: u32,
    k: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
//#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
//#endif
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Elements between neighbouring k: 64 and 4 against bank conflicts when a tile is filled along k.
const PITCH: u32 = 68u;
var<workgroup> tile_a: array<f32, 1088>; // 16 x PITCH: [k, row]
var<workgroup> tile_b: array<f32, 1088>; // 16 x PITCH: [k, column]

fn load_a(row: u32, k: u32) -> f32 {
    var v = 0.0;
    if row < parameters.m && k < parameters.k {
//#if TRANSPOSE_A
        v = a[k * parameters.m + row];
//#else
        v = a[row * parameters.k + k];
//#endif
    }
    return v;
}

fn load_b(k: u32, column: u32) -> f32 {
    var v = 0.0;
    if column < parameters.n && k < parameters.k {
//#if TRANSPOSE_B
        v = b[column * parameters.k + k];
//#else
        v = b[k * parameters.n + column];
//#endif
    }
    return v;
}

fn store(row: u32, column: u32, sums: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        if row < parameters.m && column + j < parameters.n {
//#if BIAS
            y[row * parameters.n + column + j] = sums[j] + bias[column + j];
//#else
            y[row * parameters.n + column + j] = sums[j];
//#endif
        }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tiles_n = (parameters.n + 63u) / 64u;
    let tile = group.x + group.y * groups.x;
    let first_row = tile / tiles_n * 64u;
    let first_column = tile % tiles_n * 64u;
    let row = local / 16u * 4u;
    let column = local % 16u * 4u;
    var sums_0 = vec4<f32>();
    var sums_1 = vec4<f32>();
    var sums_2 = vec4<f32>();
    var sums_3 = vec4<f32>();
    for (var k = 0u; k < parameters.k; k += 16u) {
        // Neighbouring threads load along the stored axis.
        for (var e = local; e < 1024u; e += 256u) {
//#if TRANSPOSE_A
            tile_a[e / 64u * PITCH + e % 64u] = load_a(first_row + e % 64u, k + e / 64u);
//#else
            tile_a[e % 16u * PITCH + e / 16u] = load_a(first_row + e / 16u, k + e % 16u);
//#endif
//#if TRANSPOSE_B
            tile_b[e % 16u * PITCH + e / 16u] = load_b(k + e % 16u, first_column + e / 16u);
//#else
            tile_b[e / 64u * PITCH + e % 64u] = load_b(k + e / 64u, first_column + e % 64u);
//#endif
        }
        workgroupBarrier();
        for (var kk = 0u; kk < 16u; kk++) {
            let i = kk * PITCH + row;
            let j = kk * PITCH + column;
            let v = vec4<f32>(tile_b[j], tile_b[j + 1u], tile_b[j + 2u], tile_b[j + 3u]);
            sums_0 += tile_a[i] * v;
            sums_1 += tile_a[i + 1u] * v;
            sums_2 += tile_a[i + 2u] * v;
            sums_3 += tile_a[i + 3u] * v;
        }
        workgroupBarrier();
    }
    store(first_row + row, first_column + column, sums_0);
    store(first_row + row + 1u, first_column + column, sums_1);
    store(first_row + row + 2u, first_column + column, sums_2);
    store(first_row + row + 3u, first_column + column, sums_3);
}
