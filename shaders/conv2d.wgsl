// conv2d: v[n, y, x, o] = Σ_{i, j, c} input[n, y s + i - p, x s + j - p, c] weights[i, j, c, o] + bias[o] + residual[n, y, x, o]
//
// GEMM view: M = output pixels (n * out_h * out_w), N = c_out, K = kh * kw * c_in.
// Tile: TILE_M x TILE_N a workgroup, 8 pixels x 8 channels a thread, or matrices of a subgroup with COOPERATIVE
// (src/compute/conv_tile.rs).
// Dispatch: ceil(M / TILE_M) * ceil(N / TILE_N) workgroups of THREADS threads, over x and y;
// channel tiles run fastest, so that neighbours gather the same pixels.
// Fused: bias, residual, leaky ReLU and its sign mask, each behind a switch. In f16 with HALF_A the input, with
// HALF_B the weights, with HALF_C residual and results.
// Never written to memory: the im2col matrix, the sums before the epilogue and, without RAW, v itself.

//#include conv_window
//#if DIRECT
//#include conv_direct
//#else
//#include conv_gather
//#endif
@group(0) @binding(1) var<storage, read> input: array<StoredSource>;
@group(0) @binding(2) var<storage, read> weights: array<StoredTarget>;
//#if TARGET_VEC4
//#include conv_epilogue
//#else
//#include sloped

@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> raw: array<f32>;
@group(0) @binding(6) var<storage, read_write> activated: array<f32>;
@group(0) @binding(7) var<storage, read_write> mask: array<u32>;
//#endif

fn source_at(index: u32) -> StoredSource {
    return input[index];
}

fn weights_at(index: u32) -> StoredTarget {
    return weights[index];
}

//#if TARGET_VEC4
// Writes a pixel's four channels and returns their bits of the mask.
fn finish(pixel: u32, quad: u32, sum: vec4<f32>) -> u32 {
    var bits = 0u;
    if pixel < parameters.out_pixels {
        bits = finish_quad(pixel * (parameters.c_out / 4u) + quad, quad, sum);
    }
    return bits;
}
//#else
// Writes one value and returns its bit of the mask.
fn finish_one(pixel: u32, channel: u32, sum: f32) -> u32 {
    var bit = 0u;
    if pixel < parameters.out_pixels && channel < parameters.c_out {
        let index = pixel * parameters.c_out + channel;
        var v = sum;
//#if BIAS
        v += bias[channel];
//#endif
//#if RESIDUAL
        v += residual[index];
//#endif
//#if RAW
        raw[index] = v;
//#endif
//#if ACTIVATED
        activated[index] = select(sloped(v, parameters.slope), v, v > 0.0);
//#endif
        bit = select(0u, 1u, v > 0.0);
    }
    return bit;
}

// Writes a pixel's four channels, as far as they exist, and returns their bits of the mask.
fn finish(pixel: u32, quad: u32, sum: vec4<f32>) -> u32 {
    let channel = quad * 4u;
    return finish_one(pixel, channel, sum.x)
        | finish_one(pixel, channel + 1u, sum.y) << 1u
        | finish_one(pixel, channel + 2u, sum.z) << 2u
        | finish_one(pixel, channel + 3u, sum.w) << 3u;
}
//#endif

// Nothing: the pixel says where.
alias Place = u32;

// Writes 8 pixels of one quad of channels and their word of the mask.
fn finish_rows(place: Place, pixel: u32, quad: u32, sums: Rows) {
    let quads = (parameters.c_out + 3u) / 4u;
    if pixel < parameters.out_pixels && quad < quads {
        let bits = finish(pixel, quad, sums.r0)
            | finish(pixel + 1u, quad, sums.r1) << 4u
            | finish(pixel + 2u, quad, sums.r2) << 8u
            | finish(pixel + 3u, quad, sums.r3) << 12u
            | finish(pixel + 4u, quad, sums.r4) << 16u
            | finish(pixel + 5u, quad, sums.r5) << 20u
            | finish(pixel + 6u, quad, sums.r6) << 24u
            | finish(pixel + 7u, quad, sums.r7) << 28u;
//#if MASK
        mask[pixel / 8u * quads + quad] = bits;
//#endif
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let tiles_n = (parameters.c_out + TILE_N - 1u) / TILE_N;
    let tile = group.x + group.y * groups.x;
    let first_pixel = tile / tiles_n * TILE_M;
    let first_quad = tile % tiles_n * QUADS_N;
    if first_pixel >= parameters.out_pixels {
        return;
    }
    let window = Window(
        parameters.out_pixels, parameters.out_h, parameters.out_w,
        0u - parameters.padding, 0u - parameters.padding, parameters.stride, 1u,
        parameters.kh, parameters.kw, 0u, 0u, 1u,
        parameters.h, parameters.w, parameters.c_in, parameters.c_out,
    );
    let sums = accumulate(window, first_pixel, first_quad, lane);
    finish_tile(0u, first_pixel, first_quad, lane, sums);
}
