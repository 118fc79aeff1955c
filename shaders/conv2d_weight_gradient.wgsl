// conv2d_weight_gradient: partials[k, i, j, c, o] = Σ_{(n, y, x) in part k} input[n, y s + i - p, x s + j - p, c] gradient[n, y, x, o]
//
// GEMM view: M = kh * kw * c_in, N = c_out, K = output pixels, cut into `parts` parts of
// `pixels_per_part`; each part writes its own slice of partials, which `reduce` adds in a fixed order.
// Tile: TILE_M x TILE_N a workgroup, 8 x 8 a thread, or matrices of a subgroup with COOPERATIVE; STEP_K pixels a
// step (src/compute/conv_tile.rs), with AHEAD fetched while the step before is multiplied.
// Dispatch: parts * ceil(M / TILE_M) * ceil(N / TILE_N) workgroups of THREADS threads,
// over x and y; channel tiles run fastest, parts slowest.
// Fused: nothing. Never written to memory: the im2col matrix.

//#include conv_parameters
//#include conv_sums
// Loads run along c_in with SOURCE_VEC4 (c_in is a multiple of 4), along c_out with TARGET_VEC4 (c_out is). In f16
// with HALF_A the input, with HALF_B the gradient; SCALED multiplies the sums by a factor.
//#if HALF
//#include half
//#endif
//#if HALF_A
alias StoredA = vec2<u32>;

fn input_of(v: StoredA) -> vec4<f32> {
    return widen(v);
}
//#else
alias StoredA = vec4<f32>;

fn input_of(v: StoredA) -> vec4<f32> {
    return v;
}
//#endif
//#if HALF_B
alias StoredB = vec2<u32>;

fn gradient_of(v: StoredB) -> vec4<f32> {
    return widen(v);
}
//#else
alias StoredB = vec4<f32>;

fn gradient_of(v: StoredB) -> vec4<f32> {
    return v;
}
//#endif
//#if SOURCE_VEC4
@group(0) @binding(1) var<storage, read> input: array<StoredA>;
//#else
@group(0) @binding(1) var<storage, read> input: array<f32>;
//#endif
//#if TARGET_VEC4
@group(0) @binding(2) var<storage, read> gradient: array<StoredB>;
//#else
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
//#endif
//#if TARGET_VEC4
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
//#else
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
//#endif

const QUADS_M: u32 = TILE_M / 4u;
const LOADS_A: u32 = STEP_K * QUADS_M;
const LOADS_B: u32 = STEP_K * QUADS_N;

// Of output pixels: the image's first input row, and the input row and column under tap (0, 0) (modulo 2^32 where
// that is outside). With AHEAD those of the next step, else of this step and of the next, in turns.
//#if AHEAD
var<workgroup> origins: array<vec3<u32>, STEP_K>;
//#else
var<workgroup> origins: array<vec3<u32>, 2u * STEP_K>;
//#endif

// A row of the weights' matrix: tap (i, j), channel c.
struct Row {
    i: u32,
    j: u32,
    c: u32,
}

fn rows() -> u32 {
    return parameters.kh * parameters.kw * parameters.c_in;
}

fn row_of(m: u32) -> Row {
    let tap = m / parameters.c_in;
    return Row(tap / parameters.kw, tap % parameters.kw, m % parameters.c_in);
}

// Where the window of output pixel `pixel` lies; outside every image from `end` on.
fn origin_of(pixel: u32, end: u32) -> vec3<u32> {
    let row = pixel / parameters.out_w;
    let y = row % parameters.out_h * parameters.stride - parameters.padding;
    let x = pixel % parameters.out_w * parameters.stride - parameters.padding;
    let origin = vec3<u32>(row / parameters.out_h * parameters.h, y, x);
    return select(origin, vec3<u32>(0u, 0x80000000u, 0x80000000u), pixel >= end);
}

//#if SOURCE_VEC4
// Rows m .. m + 4 of the pixel at `origin`, as they lie in memory: four channels under one tap.
fn stored_input(origin: vec3<u32>, m: u32) -> StoredA {
    let row = row_of(m);
    let y = origin.y + row.i;
    let x = origin.z + row.j;
    var v = StoredA();
    if m < rows() && y < parameters.h && x < parameters.w {
        v = input[(((origin.x + y) * parameters.w + x) * parameters.c_in + row.c) / 4u];
    }
    return v;
}
//#else
fn load_one(origin: vec3<u32>, m: u32) -> f32 {
    let row = row_of(m);
    let y = origin.y + row.i;
    let x = origin.z + row.j;
    var v = 0.0;
    if m < rows() && y < parameters.h && x < parameters.w {
        v = input[((origin.x + y) * parameters.w + x) * parameters.c_in + row.c];
    }
    return v;
}

fn stored_input(origin: vec3<u32>, m: u32) -> StoredA {
    return vec4<f32>(
        load_one(origin, m), load_one(origin, m + 1u), load_one(origin, m + 2u), load_one(origin, m + 3u),
    );
}
//#endif

// Four channels of the gradient of `pixel`, as they lie in memory, zeros past the last channel.
fn stored_gradient(pixel: u32, quad: u32) -> StoredB {
    var v = StoredB();
//#if TARGET_VEC4
    let quads = parameters.c_out / 4u;
    if quad < quads {
        v = gradient[pixel * quads + quad];
    }
//#else
    let n = quad * 4u;
    let first = pixel * parameters.c_out + n;
    if n < parameters.c_out { v.x = gradient[first]; }
    if n + 1u < parameters.c_out { v.y = gradient[first + 1u]; }
    if n + 2u < parameters.c_out { v.z = gradient[first + 2u]; }
    if n + 3u < parameters.c_out { v.w = gradient[first + 3u]; }
//#endif
    return v;
}

//#if COOPERATIVE
//#else
// The tiles of input [k][m] and gradient [k][n], in quads along m and n.
var<workgroup> tile_a: array<vec4<f32>, LOADS_A>;
var<workgroup> tile_b: array<vec4<f32>, LOADS_B>;

fn store_a(k: u32, quad: u32, v: vec4<f32>) {
    tile_a[k * QUADS_M + quad] = v;
}

fn store_b(k: u32, quad: u32, v: vec4<f32>) {
    tile_b[k * QUADS_N + quad] = v;
}

// Adds the product of the staged tiles to a thread's sums.
fn multiply(lane: Lane, sums: ptr<function, Sums>) {
    for (var k = 0u; k < STEP_K; k++) {
        let row = k * QUADS_M + lane.index / HALF_N * 2u;
        let a = tile_a[row];
        let b = tile_a[row + 1u];
        let column = k * QUADS_N + lane.index % HALF_N;
        let low = tile_b[column];
        let high = tile_b[column + HALF_N];
        (*sums).low.r0 = fma(a.xxxx, low, (*sums).low.r0);
        (*sums).high.r0 = fma(a.xxxx, high, (*sums).high.r0);
        (*sums).low.r1 = fma(a.yyyy, low, (*sums).low.r1);
        (*sums).high.r1 = fma(a.yyyy, high, (*sums).high.r1);
        (*sums).low.r2 = fma(a.zzzz, low, (*sums).low.r2);
        (*sums).high.r2 = fma(a.zzzz, high, (*sums).high.r2);
        (*sums).low.r3 = fma(a.wwww, low, (*sums).low.r3);
        (*sums).high.r3 = fma(a.wwww, high, (*sums).high.r3);
        (*sums).low.r4 = fma(b.xxxx, low, (*sums).low.r4);
        (*sums).high.r4 = fma(b.xxxx, high, (*sums).high.r4);
        (*sums).low.r5 = fma(b.yyyy, low, (*sums).low.r5);
        (*sums).high.r5 = fma(b.yyyy, high, (*sums).high.r5);
        (*sums).low.r6 = fma(b.zzzz, low, (*sums).low.r6);
        (*sums).high.r6 = fma(b.zzzz, high, (*sums).high.r6);
        (*sums).low.r7 = fma(b.wwww, low, (*sums).low.r7);
        (*sums).high.r7 = fma(b.wwww, high, (*sums).high.r7);
    }
}
//#endif

//#if AHEAD
// A step of the sum: STEP_K pixels from `first` on, before `end`, for the rows and the columns from these on.
struct Step {
    first: u32,
    end: u32,
    first_m: u32,
    first_quad: u32,
}

fn fetch_a(step: Step, load: u32) -> StoredA {
    var v = StoredA();
    if LOADS_A % THREADS == 0u || load < LOADS_A {
        v = stored_input(origins[load / QUADS_M], step.first_m + load % QUADS_M * 4u);
    }
    return v;
}

fn fetch_b(step: Step, load: u32) -> StoredB {
    let pixel = step.first + load / QUADS_N;
    var v = StoredB();
    if pixel < step.end && (LOADS_B % THREADS == 0u || load < LOADS_B) {
        v = stored_gradient(pixel, step.first_quad + load % QUADS_N);
    }
    return v;
}

fn put_a(load: u32, v: StoredA) {
    if LOADS_A % THREADS == 0u || load < LOADS_A {
        store_a(load / QUADS_M, load % QUADS_M, input_of(v));
    }
}

fn put_b(load: u32, v: StoredB) {
    if LOADS_B % THREADS == 0u || load < LOADS_B {
        store_b(load / QUADS_N, load % QUADS_N, gradient_of(v));
    }
}

//#include conv_ahead
//#endif

// Writes four channels of row m of a part's slice.
fn finish(part: u32, m: u32, quad: u32, unscaled: vec4<f32>) {
    if m < rows() {
        var sum = unscaled;
//#if SCALED
        sum *= parameters.factor;
//#endif
//#if TARGET_VEC4
        partials[(part * rows() + m) * (parameters.c_out / 4u) + quad] = sum;
//#else
        let n = quad * 4u;
        let first = (part * rows() + m) * parameters.c_out + n;
        partials[first] = sum.x;
        if n + 1u < parameters.c_out { partials[first + 1u] = sum.y; }
        if n + 2u < parameters.c_out { partials[first + 2u] = sum.z; }
        if n + 3u < parameters.c_out { partials[first + 3u] = sum.w; }
//#endif
    }
}

// The part of the sum.
alias Place = u32;

// Writes 8 rows of one quad of columns.
fn finish_rows(part: Place, m: u32, quad: u32, sums: Rows) {
    if quad < (parameters.c_out + 3u) / 4u {
        finish(part, m, quad, sums.r0);
        finish(part, m + 1u, quad, sums.r1);
        finish(part, m + 2u, quad, sums.r2);
        finish(part, m + 3u, quad, sums.r3);
        finish(part, m + 4u, quad, sums.r4);
        finish(part, m + 5u, quad, sums.r5);
        finish(part, m + 6u, quad, sums.r6);
        finish(part, m + 7u, quad, sums.r7);
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let tiles_n = (parameters.c_out + TILE_N - 1u) / TILE_N;
    let tiles_m = (rows() + TILE_M - 1u) / TILE_M;
    let tile = group.x + group.y * groups.x;
    let first_quad = tile % tiles_n * QUADS_N;
    let first_m = tile / tiles_n % tiles_m * TILE_M;
    let part = tile / (tiles_n * tiles_m);
    if part >= parameters.parts {
        return;
    }
    let begin = part * parameters.pixels_per_part;
    let end = min(begin + parameters.pixels_per_part, parameters.out_pixels);
    var sums = Sums();
    for (var k = lane.index; k < STEP_K; k += THREADS) {
        origins[k] = origin_of(begin + k, end);
    }
//#if AHEAD
    workgroupBarrier();
    var ahead = fetch(Step(begin, end, first_m, first_quad), lane.index);
    for (var first = begin; first < end; first += STEP_K) {
        let next = first + STEP_K;
        workgroupBarrier();
        put(ahead, lane.index);
        for (var k = lane.index; k < STEP_K; k += THREADS) {
            origins[k] = origin_of(next + k, end);
        }
        workgroupBarrier();
        if next < end {
            ahead = fetch(Step(next, end, first_m, first_quad), lane.index);
        }
        multiply(lane, &sums);
    }
//#else
    // Which half of `origins` is this step's.
    var half = 0u;
    for (var first = begin; first < end; first += STEP_K) {
        workgroupBarrier();
        for (var load = lane.index; load < LOADS_A; load += THREADS) {
            let m = first_m + load % QUADS_M * 4u;
            let v = stored_input(origins[half + load / QUADS_M], m);
            store_a(load / QUADS_M, load % QUADS_M, input_of(v));
        }
        for (var load = lane.index; load < LOADS_B; load += THREADS) {
            let pixel = first + load / QUADS_N;
            var v = StoredB();
            if pixel < end {
                v = stored_gradient(pixel, first_quad + load % QUADS_N);
            }
            store_b(load / QUADS_N, load % QUADS_N, gradient_of(v));
        }
        half = STEP_K - half;
        for (var k = lane.index; k < STEP_K; k += THREADS) {
            origins[half + k] = origin_of(first + STEP_K + k, end);
        }
        workgroupBarrier();
        multiply(lane, &sums);
    }
//#endif
    finish_tile(part, first_m, first_quad, lane, sums);
}
