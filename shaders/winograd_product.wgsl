// winograd_product: product[p, m, n] = Σ_k transformed[p, m, k] weights[p, k, n], a matrix product for each
// of the tile's points p.
//
// GEMM view: M = tiles, N = c_out, K = c_in, `points` times over.
// Tile: TILE_M x TILE_N a workgroup, 8 x 8 a thread, STEP_K terms between two barriers (src/compute/conv_tile.rs).
// Dispatch: points * ceil(M / TILE_M) * ceil(N / TILE_N) workgroups of TILE_M / 8 * TILE_N / 8 threads, over
// x and y; column tiles run fastest, points slowest.
// With ALIGNED (K is a multiple of STEP_K) terms need no bounds.

//#include conv_sums

const QUADS_K: u32 = STEP_K / 4u;
const LOADS_A: u32 = TILE_M * QUADS_K;
const LOADS_B: u32 = STEP_K * QUADS_N;

//#include conv_tiles

struct Parameters {
    m: u32,
    // Quads of a row of `weights`, and of one of `transformed`.
    quads_n: u32,
    quads_k: u32,
    points: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> transformed: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> product: array<vec4<f32>>;

fn within(quad: u32) -> bool {
//#if ALIGNED
    return true;
//#else
    return quad < parameters.quads_k;
//#endif
}

// Fills both tiles with the terms 4 * quad_k .. 4 * quad_k + STEP_K; `a` and `b` are the point's first quads.
fn stage(a: u32, b: u32, first_m: u32, first_n: u32, quad_k: u32, local: u32) {
    for (var turn = 0u; turn < (LOADS_A + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        if LOADS_A % THREADS == 0u || load < LOADS_A {
            let m = load / QUADS_K;
            let quad = load % QUADS_K;
            var v = vec4<f32>();
            if first_m + m < parameters.m && within(quad_k + quad) {
                v = transformed[a + (first_m + m) * parameters.quads_k + quad_k + quad];
            }
            store_a(m, quad, v);
        }
    }
    for (var turn = 0u; turn < (LOADS_B + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        if LOADS_B % THREADS == 0u || load < LOADS_B {
            let k = load / QUADS_N;
            let quad = first_n + load % QUADS_N;
            var v = vec4<f32>();
            if quad < parameters.quads_n && within(quad_k + k / 4u) {
                v = weights[b + (4u * quad_k + k) * parameters.quads_n + quad];
            }
            store_b(k, load % QUADS_N, v);
        }
    }
}

fn finish(at: u32, m: u32, quad: u32, sum: vec4<f32>) {
    if m < parameters.m {
        product[at + m * parameters.quads_n + quad] = sum;
    }
}

// Where the point's product begins.
struct Place {
    at: u32,
}

fn finish_rows(place: Place, m: u32, quad: u32, sums: Rows) {
    if quad < parameters.quads_n {
        finish(place.at, m, quad, sums.r0);
        finish(place.at, m + 1u, quad, sums.r1);
        finish(place.at, m + 2u, quad, sums.r2);
        finish(place.at, m + 3u, quad, sums.r3);
        finish(place.at, m + 4u, quad, sums.r4);
        finish(place.at, m + 5u, quad, sums.r5);
        finish(place.at, m + 6u, quad, sums.r6);
        finish(place.at, m + 7u, quad, sums.r7);
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let tiles_n = (parameters.quads_n + QUADS_N - 1u) / QUADS_N;
    let tiles_m = (parameters.m + TILE_M - 1u) / TILE_M;
    let tile = group.x + group.y * groups.x;
    let point = tile / (tiles_n * tiles_m);
    if point >= parameters.points {
        return;
    }
    let first_n = tile % tiles_n * QUADS_N;
    let first_m = tile / tiles_n % tiles_m * TILE_M;
    let a = point * parameters.m * parameters.quads_k;
    let b = point * 4u * parameters.quads_k * parameters.quads_n;
    var sums = Sums();
    for (var quad_k = 0u; quad_k < parameters.quads_k; quad_k += QUADS_K) {
        workgroupBarrier();
        stage(a, b, first_m, first_n, quad_k, lane.index);
        workgroupBarrier();
        multiply(lane, &sums);
    }
    finish_tile(Place(point * parameters.m * parameters.quads_n), first_m, first_n, lane, sums);
}
