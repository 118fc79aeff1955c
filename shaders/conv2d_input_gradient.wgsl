// conv2d_input_gradient: gradient_in[n, y, x, c] = mask(n, y, x, c) * Σ gradient[n, v, u, o] transposed[i, j, o, c] + residual[n, y, x, c]
// over all (i, j, v, u, o) with v s + i - p = y and u s + j - p = x; mask is 1 where its bit is set, else slope.
//
// Input pixels of one class (y mod s, x mod s) meet the same taps, every s-th of the kernel: s * s
// independent problems without a wasted multiplication.
// GEMM view of a class: M = its input pixels, N = c_in, K = its taps * c_out.
// Tile: TILE_M x TILE_N a workgroup, 8 pixels x 8 channels a thread, or matrices of a subgroup with COOPERATIVE
// (src/compute/conv_tile.rs).
// Dispatch: s * s * ceil(M of the largest class / TILE_M) * ceil(N / TILE_N) workgroups of
// THREADS threads, over x and y.
// Fused: the leaky ReLU's derivative (MASK), the residual gradient before or behind it (RESIDUAL_BEFORE,
// RESIDUAL_AFTER), the SGLD update of the input along the gradient (UPDATE). In f16 with HALF_A the gradient, with
// HALF_B the weights, with HALF_C residual and result; SCALED multiplies the sums by a factor.
// Never written to memory: the im2col matrix, a gradient widened with zeros, the gradient before the mask, the
// noise.

//#include conv_window
//#if DIRECT
//#include conv_direct
//#else
//#include conv_gather
//#endif
@group(0) @binding(1) var<storage, read> gradient: array<StoredSource>;
@group(0) @binding(2) var<storage, read> transposed: array<StoredTarget>;
//#if UPDATE
@group(0) @binding(6) var<storage, read_write> x: array<f32>;
@group(0) @binding(7) var<storage, read> counters: array<u32>;
@group(0) @binding(8) var<storage, read> moving: array<f32>;
//#include sgld_update
//#endif
//#if TARGET_VEC4
//#include gradient_epilogue
//#else
//#include sloped

@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient_in: array<f32>;
//#endif

fn source_at(index: u32) -> StoredSource {
    return gradient[index];
}

fn weights_at(index: u32) -> StoredTarget {
    return transposed[index];
}

// The signs of a quad of channels of an input pixel, in the lowest four bits.
fn signs(pixel: u32, quad: u32) -> u32 {
//#if MASK
    return mask[pixel / 8u * ((parameters.c_in + 3u) / 4u) + quad] >> (pixel % 8u * 4u);
//#else
    return 0u;
//#endif
}

//#if TARGET_VEC4
// Writes four channels of input pixel `pixel`.
fn finish(pixel: u32, quad: u32, sum: vec4<f32>) {
    if pixel != OUTSIDE {
        finish_quad(pixel * (parameters.c_in / 4u) + quad, signs(pixel, quad), sum);
    }
}
//#else
fn finish_one(pixel: u32, channel: u32, sign: u32, sum: f32) {
    if channel < parameters.c_in {
        let index = pixel * parameters.c_in + channel;
        var v = sum;
//#if SCALED
        v *= parameters.factor;
//#endif
//#if RESIDUAL_BEFORE
        v += residual[index];
//#endif
//#if MASK
        v = select(sloped(v, parameters.slope), v, (sign & 1u) == 1u);
//#endif
//#if RESIDUAL_AFTER
        v += residual[index];
//#endif
        gradient_in[index] = v;
    }
}

// Writes four channels of input pixel `pixel`, as far as they exist.
fn finish(pixel: u32, quad: u32, sum: vec4<f32>) {
    if pixel != OUTSIDE {
        let word = signs(pixel, quad);
        finish_one(pixel, 4u * quad, word, sum.x);
        finish_one(pixel, 4u * quad + 1u, word >> 1u, sum.y);
        finish_one(pixel, 4u * quad + 2u, word >> 2u, sum.z);
        finish_one(pixel, 4u * quad + 3u, word >> 3u, sum.w);
    }
}
//#endif

// Input pixels (y + s * row, x + s * column): those that meet the same taps.
struct Place {
    y: u32,
    x: u32,
    rows: u32,
    columns: u32,
    pixels: u32,
}

// The input pixel that is number m of its class, OUTSIDE past the last one.
fn pixel_of(place: Place, m: u32) -> u32 {
    let row = m / place.columns;
    let y = place.y + row % place.rows * parameters.stride;
    let x = place.x + m % place.columns * parameters.stride;
    return select((row / place.rows * parameters.h + y) * parameters.w + x, OUTSIDE, m >= place.pixels);
}

//#if UPDATE
fn gradient_at(index: u32) -> f32 {
//#if TARGET_VEC4
    return gradient_in[index / 4u][index % 4u];
//#else
    return gradient_in[index];
//#endif
}

// Moves the elements whose gradient this thread has just written: in a loop, as 32 copies of the generator's rounds
// take compilers minutes.
fn update_rows(place: Place, m: u32, quad: u32) {
    let end = min(4u * quad + 4u, parameters.c_in);
    for (var row = 0u; row < 8u; row++) {
        let pixel = pixel_of(place, m + row);
        if pixel != OUTSIDE {
            for (var channel = 4u * quad; channel < end; channel++) {
                let index = pixel * parameters.c_in + channel;
                let normals = noise_of(index / 2u);
                update(index, gradient_at(index), select(normals.x, normals.y, (index & 1u) == 1u));
            }
        }
    }
}
//#endif

// Writes 8 pixels of one quad of channels.
fn finish_rows(place: Place, m: u32, quad: u32, sums: Rows) {
    if quad < (parameters.c_in + 3u) / 4u {
        finish(pixel_of(place, m), quad, sums.r0);
        finish(pixel_of(place, m + 1u), quad, sums.r1);
        finish(pixel_of(place, m + 2u), quad, sums.r2);
        finish(pixel_of(place, m + 3u), quad, sums.r3);
        finish(pixel_of(place, m + 4u), quad, sums.r4);
        finish(pixel_of(place, m + 5u), quad, sums.r5);
        finish(pixel_of(place, m + 6u), quad, sums.r6);
        finish(pixel_of(place, m + 7u), quad, sums.r7);
//#if UPDATE
        update_rows(place, m, quad);
//#endif
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let s = parameters.stride;
    let p = parameters.padding;
    let tiles_n = (parameters.c_in + TILE_N - 1u) / TILE_N;
    let largest = parameters.n * ((parameters.h + s - 1u) / s) * ((parameters.w + s - 1u) / s);
    let tiles = (largest + TILE_M - 1u) / TILE_M * tiles_n;
    let index = group.x + group.y * groups.x;
    let y = index / tiles / s;
    let x = index / tiles % s;
    let first_m = index % tiles / tiles_n * TILE_M;
    let first_quad = index % tiles % tiles_n * QUADS_N;
    let rows = (parameters.h + s - 1u - y) / s;
    let columns = (parameters.w + s - 1u - x) / s;
    let place = Place(y, x, rows, columns, parameters.n * rows * columns);
    if y >= s || first_m >= place.pixels {
        return;
    }
    // The class's taps are first, first + s, ...; under tap `first` of its row 0 lies source row (y + p) / s.
    let first_row = (y + p) % s;
    let first_column = (x + p) % s;
    let window = Window(
        place.pixels, rows, columns,
        (y + p) / s, (x + p) / s, 1u, 0xffffffffu,
        (parameters.kh + s - 1u - first_row) / s, (parameters.kw + s - 1u - first_column) / s,
        first_row, first_column, s,
        parameters.out_h, parameters.out_w, parameters.c_out, parameters.c_in,
    );
    let sums = accumulate(window, first_m, first_quad, lane);
    finish_tile(place, first_m, first_quad, lane, sums);
}
