// The GEMM of conv_window through workgroup memory: a tile of A and one of B at a time.
// Tile: TILE_M pixels x TILE_N channels a workgroup, STEP_K terms between two barriers.
// With ALIGNED (the source's channels are a multiple of STEP_K) a step lies within one tap and needs no
// bounds on k.

const QUADS_K: u32 = STEP_K / 4u;
const LOADS_A: u32 = TILE_M * QUADS_K;
const LOADS_B: u32 = STEP_K * QUADS_N;

// origin_of the tile's pixels.
var<workgroup> origins: array<vec3<u32>, TILE_M>;

//#if COOPERATIVE
//#else
//#include conv_tiles
//#endif

//#if ALIGNED
// Fills both tiles with channels c .. c + STEP_K of tap (i, j).
fn stage(window: Window, i: u32, j: u32, c: u32, first_quad: u32, local: u32) {
    for (var turn = 0u; turn < (LOADS_A + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        if LOADS_A % THREADS == 0u || load < LOADS_A {
            let m = load / QUADS_K;
            let quad = load % QUADS_K;
            let index = source_index(window, origins[m], i, j);
            var v = vec4<f32>();
            if index != OUTSIDE {
                v = source_at((index + c) / 4u + quad);
            }
            store_a(m, quad, v);
        }
    }
    let row = weight_row(window, i, j, c);
    for (var turn = 0u; turn < (LOADS_B + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        if LOADS_B % THREADS == 0u || load < LOADS_B {
            let quad = load % QUADS_N;
            store_b(load / QUADS_N, quad, load_weights(window, row + load / QUADS_N, first_quad + quad));
        }
    }
}
//#else
// The tap and channel of term k: (i, j, c).
fn locate(window: Window, k: u32) -> vec3<u32> {
    let tap = k / window.source_channels;
    return vec3<u32>(tap / window.columns, tap % window.columns, k % window.source_channels);
}

// Term k of the pixel at `origin`, 0 outside the image and past the last term.
//#if SOURCE_VEC4
fn load_source(window: Window, origin: vec3<u32>, k: u32, terms: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if k < terms {
        let at = locate(window, k);
        let index = source_index(window, origin, at.x, at.y);
        if index != OUTSIDE {
            v = source_at((index + at.z) / 4u);
        }
    }
    return v;
}
//#else
fn load_term(window: Window, origin: vec3<u32>, k: u32, terms: u32) -> f32 {
    var v = 0.0;
    if k < terms {
        let at = locate(window, k);
        let index = source_index(window, origin, at.x, at.y);
        if index != OUTSIDE {
            v = source_at(index + at.z);
        }
    }
    return v;
}

fn load_source(window: Window, origin: vec3<u32>, k: u32, terms: u32) -> vec4<f32> {
    return vec4<f32>(
        load_term(window, origin, k, terms),
        load_term(window, origin, k + 1u, terms),
        load_term(window, origin, k + 2u, terms),
        load_term(window, origin, k + 3u, terms),
    );
}
//#endif

// Fills both tiles with the terms k .. k + STEP_K of `terms`.
fn stage(window: Window, k: u32, terms: u32, first_quad: u32, local: u32) {
    for (var load = local; load < LOADS_A; load += THREADS) {
        let m = load / QUADS_K;
        let quad = load % QUADS_K;
        store_a(m, quad, load_source(window, origins[m], k + 4u * quad, terms));
    }
    for (var load = local; load < LOADS_B; load += THREADS) {
        let term = k + load / QUADS_N;
        var v = vec4<f32>();
        if term < terms {
            let at = locate(window, term);
            v = load_weights(window, weight_row(window, at.x, at.y, at.z), first_quad + load % QUADS_N);
        }
        store_b(load / QUADS_N, load % QUADS_N, v);
    }
}
//#endif

// The sums over all taps of the window and all channels of the source.
fn accumulate(window: Window, first_m: u32, first_quad: u32, lane: Lane) -> Sums {
    for (var m = lane.index; m < TILE_M; m += THREADS) {
        origins[m] = origin_of(window, first_m + m);
    }
    var sums = Sums();
//#if ALIGNED
    for (var i = 0u; i < window.rows; i++) {
        for (var j = 0u; j < window.columns; j++) {
            for (var c = 0u; c < window.source_channels; c += STEP_K) {
                workgroupBarrier();
                stage(window, i, j, c, first_quad, lane.index);
                workgroupBarrier();
                multiply(lane, &sums);
            }
        }
    }
//#else
    let terms = window.rows * window.columns * window.source_channels;
    for (var k = 0u; k < terms; k += STEP_K) {
        workgroupBarrier();
        stage(window, k, terms, first_quad, lane.index);
        workgroupBarrier();
        multiply(lane, &sums);
    }
//#endif
    return sums;
}
