// The GEMM of conv_window through workgroup memory: a tile of A and one of B at a time.
// Tile: TILE_M pixels x TILE_N channels a workgroup, STEP_K terms between two barriers.
// With ALIGNED (the source's channels are a multiple of STEP_K) a step lies within one tap and needs no
// bounds on k; with AHEAD, one is fetched while the one before it is multiplied.

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
// A step of the sum: channels c .. c + STEP_K under tap (i, j), for the columns from first_quad on.
struct Step {
    window: Window,
    first_quad: u32,
    i: u32,
    j: u32,
    c: u32,
}

alias StoredA = StoredSource;
alias StoredB = StoredWeights;

// Load number `load` of A's tile and of B's, as it lies in memory.
fn fetch_a(step: Step, load: u32) -> StoredA {
    var v = StoredA();
    if LOADS_A % THREADS == 0u || load < LOADS_A {
        let index = source_index(step.window, origins[load / QUADS_K], step.i, step.j);
        if index != OUTSIDE {
            v = source_at((index + step.c) / 4u + load % QUADS_K);
        }
    }
    return v;
}

fn fetch_b(step: Step, load: u32) -> StoredB {
    var v = StoredB();
    if LOADS_B % THREADS == 0u || load < LOADS_B {
        let row = weight_row(step.window, step.i, step.j, step.c) + load / QUADS_N;
        v = stored_weights(step.window, row, step.first_quad + load % QUADS_N);
    }
    return v;
}

// Puts it into workgroup memory.
fn put_a(load: u32, v: StoredA) {
    if LOADS_A % THREADS == 0u || load < LOADS_A {
        store_a(load / QUADS_K, load % QUADS_K, source_of(v));
    }
}

fn put_b(load: u32, v: StoredB) {
    if LOADS_B % THREADS == 0u || load < LOADS_B {
        store_b(load / QUADS_N, load % QUADS_N, weights_of(v));
    }
}

//#if AHEAD
//#include conv_ahead

fn step_after(step: Step) -> Step {
    var next = step;
    next.c += STEP_K;
    if next.c == step.window.source_channels {
        next.c = 0u;
        next.j++;
    }
    if next.j == step.window.columns {
        next.j = 0u;
        next.i++;
    }
    return next;
}
//#else
// Fills both tiles.
fn stage(step: Step, local: u32) {
    for (var turn = 0u; turn < (LOADS_A + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        put_a(load, fetch_a(step, load));
    }
    for (var turn = 0u; turn < (LOADS_B + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        put_b(load, fetch_b(step, load));
    }
}
//#endif
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
            v = source_of(source_at((index + at.z) / 4u));
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
            v = source_of(source_at(index + at.z));
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
//#if AHEAD
    // The origins are written.
    workgroupBarrier();
    var step = Step(window, first_quad, 0u, 0u, 0u);
    var ahead = Ahead();
    // A class of an input gradient may meet no tap.
    let terms = window.rows * window.columns * window.source_channels;
    if terms > 0u {
        ahead = fetch(step, lane.index);
    }
    for (var k = 0u; k < terms; k += STEP_K) {
        workgroupBarrier();
        put(ahead, lane.index);
        workgroupBarrier();
        step = step_after(step);
        if k + STEP_K < terms {
            ahead = fetch(step, lane.index);
        }
        multiply(lane, &sums);
    }
//#else
    for (var i = 0u; i < window.rows; i++) {
        for (var j = 0u; j < window.columns; j++) {
            for (var c = 0u; c < window.source_channels; c += STEP_K) {
                workgroupBarrier();
                stage(Step(window, first_quad, i, j, c), lane.index);
                workgroupBarrier();
                multiply(lane, &sums);
            }
        }
    }
//#endif
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
