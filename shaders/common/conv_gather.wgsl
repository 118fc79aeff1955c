// The GEMM inside conv2d and conv2d_input_gradient, without an im2col matrix:
//
//   sums[m, n] = Σ_k A[m, k] B[k, n]
//   A[m, k]: channel c of the source pixel under tap (i, j) of target pixel m's window, 0 outside the image
//   B[k, n]: weights[the tap's matrix, c, n]                                            k = (i, j, c)
//
// Tile: TILE_M pixels x TILE_N channels a workgroup, 8 x 4 a thread, STEP_K terms between two barriers.
// The includer declares `source_at(index) -> Source` and `weights_at(index) -> Target`, which read its
// tensors. These are of vec4<f32> with SOURCE_VEC4 (the source's channels are a multiple of 4) and
// TARGET_VEC4 (the target's are), else of f32. With ALIGNED (the source's channels are a multiple of
// STEP_K) a step lies within one tap and needs no bounds on k.

//#include conv_parameters
//#include conv_sums
//#if SOURCE_VEC4
alias Source = vec4<f32>;
//#else
alias Source = f32;
//#endif
//#if TARGET_VEC4
alias Target = vec4<f32>;
//#else
alias Target = f32;
//#endif
const QUADS_K: u32 = STEP_K / 4u;
const QUADS_N: u32 = TILE_N / 4u;
const THREADS: u32 = TILE_M / 8u * QUADS_N;
// The 8 rows of a thread lie together; the quad behind them puts the next thread's on other banks.
const PITCH_A: u32 = 8u * QUADS_K + 1u;
const LOADS_A: u32 = TILE_M * QUADS_K;
const LOADS_B: u32 = STEP_K * QUADS_N;

// A's tile [m][k], quads along k; B's [k][n], quads along n.
var<workgroup> tile_a: array<vec4<f32>, TILE_M / 8u * PITCH_A>;
var<workgroup> tile_b: array<vec4<f32>, LOADS_B>;
// Of each target pixel of the tile: the image's first source row, the source row and column under tap
// (0, 0) (modulo 2^32 where that is outside), and the target pixel's number.
var<workgroup> origins: array<vec4<u32>, TILE_M>;
// The origin of a row past the last pixel: every tap of it is outside.
const NOWHERE: vec4<u32> = vec4<u32>(0u, 0x80000000u, 0x80000000u, 0xffffffffu);

// The taps that meet the pixels of a tile, and the tensors' sizes.
struct Window {
    rows: u32,
    columns: u32,
    // The weights' tap of window position (i, j): (first_row + i * step, first_column + j * step).
    first_row: u32,
    first_column: u32,
    step: u32,
    // From one tap to the next in the source: 1 or, modulo 2^32, -1.
    direction: u32,
    source_h: u32,
    source_w: u32,
    source_channels: u32,
    target_channels: u32,
}

// The index in elements of the source's channel 0 under tap (i, j), or 0xffffffff outside the image.
fn source_index(window: Window, origin: vec4<u32>, i: u32, j: u32) -> u32 {
    let y = origin.y + window.direction * i;
    let x = origin.z + window.direction * j;
    if y >= window.source_h || x >= window.source_w {
        return 0xffffffffu;
    }
    return ((origin.x + y) * window.source_w + x) * window.source_channels;
}

// The row of `weights`, seen as a matrix of target_channels columns, of tap (i, j) and channel c.
fn weight_row(window: Window, i: u32, j: u32, c: u32) -> u32 {
    let row = window.first_row + i * window.step;
    let column = window.first_column + j * window.step;
    return (row * parameters.kw + column) * window.source_channels + c;
}

// Four channels of a row of `weights`, zeros past the last channel.
fn load_weights(window: Window, row: u32, quad: u32) -> vec4<f32> {
//#if TARGET_VEC4
    let quads = window.target_channels / 4u;
    if quad < quads {
        return weights_at(row * quads + quad);
    }
    return vec4<f32>();
//#else
    let n = quad * 4u;
    let first = row * window.target_channels + n;
    var v = vec4<f32>();
    if n < window.target_channels { v.x = weights_at(first); }
    if n + 1u < window.target_channels { v.y = weights_at(first + 1u); }
    if n + 2u < window.target_channels { v.z = weights_at(first + 2u); }
    if n + 3u < window.target_channels { v.w = weights_at(first + 3u); }
    return v;
//#endif
}

fn store_a(m: u32, quad: u32, v: vec4<f32>) {
    tile_a[m / 8u * PITCH_A + m % 8u * QUADS_K + quad] = v;
}

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
            if index != 0xffffffffu {
                v = source_at((index + c) / 4u + quad);
            }
            store_a(m, quad, v);
        }
    }
    let row = weight_row(window, i, j, c);
    for (var turn = 0u; turn < (LOADS_B + THREADS - 1u) / THREADS; turn++) {
        let load = turn * THREADS + local;
        if LOADS_B % THREADS == 0u || load < LOADS_B {
            tile_b[load] = load_weights(window, row + load / QUADS_N, first_quad + load % QUADS_N);
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
fn load_source(window: Window, origin: vec4<u32>, k: u32, terms: u32) -> vec4<f32> {
    if k < terms {
        let at = locate(window, k);
        let index = source_index(window, origin, at.x, at.y);
        if index != 0xffffffffu {
            return source_at((index + at.z) / 4u);
        }
    }
    return vec4<f32>();
}
//#else
fn load_term(window: Window, origin: vec4<u32>, k: u32, terms: u32) -> f32 {
    if k < terms {
        let at = locate(window, k);
        let index = source_index(window, origin, at.x, at.y);
        if index != 0xffffffffu {
            return source_at(index + at.z);
        }
    }
    return 0.0;
}

fn load_source(window: Window, origin: vec4<u32>, k: u32, terms: u32) -> vec4<f32> {
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
        tile_b[load] = v;
    }
}
//#endif

fn dot4(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return fma(a.wwww, b3, fma(a.zzzz, b2, fma(a.yyyy, b1, fma(a.xxxx, b0, sum))));
}

// Adds the product of the staged tiles to a thread's sums.
fn multiply(local: u32, sums: ptr<function, Sums>) {
    let a = local / QUADS_N * PITCH_A;
    let b = local % QUADS_N;
    for (var quad = 0u; quad < QUADS_K; quad++) {
        let row = quad * 4u * QUADS_N + b;
        let b0 = tile_b[row];
        let b1 = tile_b[row + QUADS_N];
        let b2 = tile_b[row + 2u * QUADS_N];
        let b3 = tile_b[row + 3u * QUADS_N];
        let first = a + quad;
        (*sums).r0 = dot4(tile_a[first], b0, b1, b2, b3, (*sums).r0);
        (*sums).r1 = dot4(tile_a[first + QUADS_K], b0, b1, b2, b3, (*sums).r1);
        (*sums).r2 = dot4(tile_a[first + 2u * QUADS_K], b0, b1, b2, b3, (*sums).r2);
        (*sums).r3 = dot4(tile_a[first + 3u * QUADS_K], b0, b1, b2, b3, (*sums).r3);
        (*sums).r4 = dot4(tile_a[first + 4u * QUADS_K], b0, b1, b2, b3, (*sums).r4);
        (*sums).r5 = dot4(tile_a[first + 5u * QUADS_K], b0, b1, b2, b3, (*sums).r5);
        (*sums).r6 = dot4(tile_a[first + 6u * QUADS_K], b0, b1, b2, b3, (*sums).r6);
        (*sums).r7 = dot4(tile_a[first + 7u * QUADS_K], b0, b1, b2, b3, (*sums).r7);
    }
}

// The sums of thread `local`, over all taps of the window and all channels of the source. `origins` is
// set, with no barrier since.
fn accumulate(window: Window, first_quad: u32, local: u32) -> Sums {
    var sums = Sums();
//#if ALIGNED
    for (var i = 0u; i < window.rows; i++) {
        for (var j = 0u; j < window.columns; j++) {
            for (var c = 0u; c < window.source_channels; c += STEP_K) {
                workgroupBarrier();
                stage(window, i, j, c, first_quad, local);
                workgroupBarrier();
                multiply(local, &sums);
            }
        }
    }
//#else
    let terms = window.rows * window.columns * window.source_channels;
    for (var k = 0u; k < terms; k += STEP_K) {
        workgroupBarrier();
        stage(window, k, terms, first_quad, local);
        workgroupBarrier();
        multiply(local, &sums);
    }
//#endif
    return sums;
}
