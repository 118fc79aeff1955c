// The staged tiles of conv_gather in f32, of which each thread multiplies 8 x 8.

// The 8 rows of a thread lie together; the quad behind them puts the next thread's on other banks.
const PITCH_A: u32 = 8u * QUADS_K + 1u;

// A's tile [m][k], quads along k; B's [k][n], quads along n.
var<workgroup> tile_a: array<vec4<f32>, TILE_M / 8u * PITCH_A>;
var<workgroup> tile_b: array<vec4<f32>, LOADS_B>;

fn store_a(m: u32, quad: u32, v: vec4<f32>) {
    tile_a[m / 8u * PITCH_A + m % 8u * QUADS_K + quad] = v;
}

fn store_b(k: u32, quad: u32, v: vec4<f32>) {
    tile_b[k * QUADS_N + quad] = v;
}

fn load_quad(row: u32) -> Quad {
    return Quad(tile_b[row], tile_b[row + QUADS_N], tile_b[row + 2u * QUADS_N], tile_b[row + 3u * QUADS_N]);
}

// Adds the product of the staged tiles to a thread's sums.
fn multiply(lane: Lane, sums: ptr<function, Sums>) {
    for (var quad = 0u; quad < QUADS_K; quad++) {
        let row = quad * 4u * QUADS_N + lane.index % HALF_N;
        let low = load_quad(row);
        let high = load_quad(row + HALF_N);
        let first = lane.index / HALF_N * PITCH_A + quad;
        let a0 = tile_a[first];
        (*sums).low.r0 = dot4(a0, low, (*sums).low.r0);
        (*sums).high.r0 = dot4(a0, high, (*sums).high.r0);
        let a1 = tile_a[first + QUADS_K];
        (*sums).low.r1 = dot4(a1, low, (*sums).low.r1);
        (*sums).high.r1 = dot4(a1, high, (*sums).high.r1);
        let a2 = tile_a[first + 2u * QUADS_K];
        (*sums).low.r2 = dot4(a2, low, (*sums).low.r2);
        (*sums).high.r2 = dot4(a2, high, (*sums).high.r2);
        let a3 = tile_a[first + 3u * QUADS_K];
        (*sums).low.r3 = dot4(a3, low, (*sums).low.r3);
        (*sums).high.r3 = dot4(a3, high, (*sums).high.r3);
        let a4 = tile_a[first + 4u * QUADS_K];
        (*sums).low.r4 = dot4(a4, low, (*sums).low.r4);
        (*sums).high.r4 = dot4(a4, high, (*sums).high.r4);
        let a5 = tile_a[first + 5u * QUADS_K];
        (*sums).low.r5 = dot4(a5, low, (*sums).low.r5);
        (*sums).high.r5 = dot4(a5, high, (*sums).high.r5);
        let a6 = tile_a[first + 6u * QUADS_K];
        (*sums).low.r6 = dot4(a6, low, (*sums).low.r6);
        (*sums).high.r6 = dot4(a6, high, (*sums).high.r6);
        let a7 = tile_a[first + 7u * QUADS_K];
        (*sums).low.r7 = dot4(a7, low, (*sums).low.r7);
        (*sums).high.r7 = dot4(a7, high, (*sums).high.r7);
    }
}
