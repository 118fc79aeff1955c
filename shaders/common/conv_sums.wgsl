// How a workgroup keeps the sums of its tile, and how it hands them to the epilogue.
//
// The includer declares `Place` (what its epilogue knows beside the row) and `finish_rows(place, m, quad, rows)`,
// which writes 8 rows of one quad of columns; it calls `accumulate` (conv_direct or conv_gather) and then
// `finish_tile`.

// 8 rows (pixels) of a quad of columns (channels), in named variables, because a dynamically indexed array
// would leave the registers.
struct Rows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

const QUADS_N: u32 = TILE_N / 4u;

//#if COOPERATIVE
//#include conv_matrices
//#else
const HALF_N: u32 = TILE_N / 8u;

// Which invocation of the workgroup this is.
struct Lane {
    @builtin(local_invocation_index) index: u32,
}

// A thread's sums: 8 rows by two quads of columns. The second quad lies half a tile behind the first, so that
// neighbouring threads read neighbouring quads.
struct Sums {
    low: Rows,
    high: Rows,
}

// Four rows of B in one quad of columns.
struct Quad {
    k0: vec4<f32>,
    k1: vec4<f32>,
    k2: vec4<f32>,
    k3: vec4<f32>,
}

fn dot4(a: vec4<f32>, b: Quad, sum: vec4<f32>) -> vec4<f32> {
    return fma(a.wwww, b.k3, fma(a.zzzz, b.k2, fma(a.yyyy, b.k1, fma(a.xxxx, b.k0, sum))));
}

fn finish_tile(place: Place, first_m: u32, first_quad: u32, lane: Lane, sums: Sums) {
    let m = first_m + lane.index / HALF_N * 8u;
    let quad = first_quad + lane.index % HALF_N;
    finish_rows(place, m, quad, sums.low);
    finish_rows(place, m, quad + HALF_N, sums.high);
}
//#endif
