// The GEMM of conv_window for few target channels: a gathered value would be used too few times to be
// worth a trip through workgroup memory, so each thread gathers its own; there is no barrier.
// Tile: TILE_M pixels x TILE_N channels a workgroup, 8 x 8 a thread.

//#if SOURCE_VEC4
const STEP_C: u32 = 4u;
//#else
const STEP_C: u32 = 1u;
//#endif

// A quad of the source's channels, or one channel, with zeros outside the image.
fn gather(index: u32, c: u32) -> Source {
    var v = Source();
    if index != OUTSIDE {
        v = source_of(source_at((index + c) / STEP_C));
    }
    return v;
}

//#if SOURCE_VEC4
fn load_quad(window: Window, row: u32, quad: u32) -> Quad {
    return Quad(
        load_weights(window, row, quad),
        load_weights(window, row + 1u, quad),
        load_weights(window, row + 2u, quad),
        load_weights(window, row + 3u, quad),
    );
}

fn step(a: vec4<f32>, b: Quad, sum: vec4<f32>) -> vec4<f32> {
    return dot4(a, b, sum);
}
//#else
fn load_quad(window: Window, row: u32, quad: u32) -> vec4<f32> {
    return load_weights(window, row, quad);
}

fn step(a: f32, b: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a), b, sum);
}
//#endif

// The sums over all taps of the window and all channels of the source.
fn accumulate(window: Window, first_m: u32, first_quad: u32, lane: Lane) -> Sums {
    let m = first_m + lane.index / HALF_N * 8u;
    let quad = first_quad + lane.index % HALF_N;
    let o0 = origin_of(window, m);
    let o1 = origin_of(window, m + 1u);
    let o2 = origin_of(window, m + 2u);
    let o3 = origin_of(window, m + 3u);
    let o4 = origin_of(window, m + 4u);
    let o5 = origin_of(window, m + 5u);
    let o6 = origin_of(window, m + 6u);
    let o7 = origin_of(window, m + 7u);
    var sums = Sums();
    for (var i = 0u; i < window.rows; i++) {
        for (var j = 0u; j < window.columns; j++) {
            let s0 = source_index(window, o0, i, j);
            let s1 = source_index(window, o1, i, j);
            let s2 = source_index(window, o2, i, j);
            let s3 = source_index(window, o3, i, j);
            let s4 = source_index(window, o4, i, j);
            let s5 = source_index(window, o5, i, j);
            let s6 = source_index(window, o6, i, j);
            let s7 = source_index(window, o7, i, j);
            let row = weight_row(window, i, j, 0u);
            for (var c = 0u; c < window.source_channels; c += STEP_C) {
                let low = load_quad(window, row + c, quad);
                let high = load_quad(window, row + c, quad + HALF_N);
                let a0 = gather(s0, c);
                sums.low.r0 = step(a0, low, sums.low.r0);
                sums.high.r0 = step(a0, high, sums.high.r0);
                let a1 = gather(s1, c);
                sums.low.r1 = step(a1, low, sums.low.r1);
                sums.high.r1 = step(a1, high, sums.high.r1);
                let a2 = gather(s2, c);
                sums.low.r2 = step(a2, low, sums.low.r2);
                sums.high.r2 = step(a2, high, sums.high.r2);
                let a3 = gather(s3, c);
                sums.low.r3 = step(a3, low, sums.low.r3);
                sums.high.r3 = step(a3, high, sums.high.r3);
                let a4 = gather(s4, c);
                sums.low.r4 = step(a4, low, sums.low.r4);
                sums.high.r4 = step(a4, high, sums.high.r4);
                let a5 = gather(s5, c);
                sums.low.r5 = step(a5, low, sums.low.r5);
                sums.high.r5 = step(a5, high, sums.high.r5);
                let a6 = gather(s6, c);
                sums.low.r6 = step(a6, low, sums.low.r6);
                sums.high.r6 = step(a6, high, sums.high.r6);
                let a7 = gather(s7, c);
                sums.low.r7 = step(a7, low, sums.low.r7);
                sums.high.r7 = step(a7, high, sums.high.r7);
            }
        }
    }
    return sums;
}
