// A thread's part of a GEMM tile: 8 rows (pixels) by two quads of columns (channels), in named variables,
// because a dynamically indexed array would leave the registers.
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

// The second quad lies half a tile behind the first, so that neighbouring threads read neighbouring quads.
struct Sums {
    low: Rows,
    high: Rows,
}

const QUADS_N: u32 = TILE_N / 4u;
const HALF_N: u32 = TILE_N / 8u;
const THREADS: u32 = TILE_M / 8u * HALF_N;

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
