// conv2d_input_gradient: gradient_in[n, y, x, c] = mask(n, y, x, c) * Σ gradient[n, v, u, o] transposed[i, j, o, c] + residual[n, y, x, c]
// over all (i, j, v, u, o) with v s + i - p = y and u s + j - p = x; mask is 1 where its bit is set, else slope.
//
// Input pixels of one class (y mod s, x mod s) meet the same taps, every s-th of the kernel: s * s
// independent problems without a wasted multiplication.
// GEMM view of a class: M = its input pixels, N = c_in, K = its taps * c_out.
// Tile: TILE_M x TILE_N a workgroup, 8 pixels x 4 channels a thread, STEP_K terms a step (src/kernels/conv_tile.rs).
// Dispatch: s * s * ceil(M of the largest class / TILE_M) * ceil(N / TILE_N) workgroups of
// TILE_M / 8 * TILE_N / 4 threads, over x and y.
// Fused: the leaky ReLU's derivative (MASK), the residual gradient (RESIDUAL).
// Never written to memory: the im2col matrix, a gradient widened with zeros, the gradient before the mask.

//#include conv_gather
@group(0) @binding(1) var<storage, read> gradient: array<Source>;
@group(0) @binding(2) var<storage, read> transposed: array<Target>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> residual: array<Target>;
@group(0) @binding(5) var<storage, read_write> gradient_in: array<Target>;

fn source_at(index: u32) -> Source {
    return gradient[index];
}

fn weights_at(index: u32) -> Target {
    return transposed[index];
}

// Writes the four channels of the input pixel of the tile's row m.
fn finish(m: u32, quad: u32, sum: vec4<f32>) {
    let pixel = origins[m].w;
    if pixel == NOWHERE.w {
        return;
    }
    var v = sum;
//#if MASK
    let word = mask[pixel / 8u * ((parameters.c_in + 3u) / 4u) + quad];
    let bits = (vec4<u32>(word >> (pixel % 8u * 4u)) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
    v = select(parameters.slope * v, v, bits != vec4<u32>());
//#endif
//#if TARGET_VEC4
    let index = pixel * (parameters.c_in / 4u) + quad;
//#if RESIDUAL
    v += residual[index];
//#endif
    gradient_in[index] = v;
//#else
    let channel = quad * 4u;
    let index = pixel * parameters.c_in + channel;
    write_one(index, channel, v.x);
    write_one(index + 1u, channel + 1u, v.y);
    write_one(index + 2u, channel + 2u, v.z);
    write_one(index + 3u, channel + 3u, v.w);
//#endif
}

//#if TARGET_VEC4
//#else
fn write_one(index: u32, channel: u32, value: f32) {
    if channel >= parameters.c_in {
        return;
    }
    var v = value;
//#if RESIDUAL
    v += residual[index];
//#endif
    gradient_in[index] = v;
}
//#endif

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let s = parameters.stride;
    let quads = (parameters.c_in + 3u) / 4u;
    let tiles_n = (quads + QUADS_N - 1u) / QUADS_N;
    let largest = parameters.n * ((parameters.h + s - 1u) / s) * ((parameters.w + s - 1u) / s);
    let tiles = (largest + TILE_M - 1u) / TILE_M * tiles_n;
    let index = group.x + group.y * groups.x;
    let class_y = index / tiles / s;
    let class_x = index / tiles % s;
    let first_m = index % tiles / tiles_n * TILE_M;
    let first_quad = index % tiles % tiles_n * QUADS_N;
    // The class's pixels are (class_y + s * row, class_x + s * column).
    let rows = (parameters.h + s - 1u - class_y) / s;
    let columns = (parameters.w + s - 1u - class_x) / s;
    let pixels = parameters.n * rows * columns;
    if class_y >= s || first_m >= pixels {
        return;
    }
    // Its taps are first, first + s, ...; under tap `first` of row 0 lies source row (class_y + p) / s.
    let first_row = (class_y + parameters.padding) % s;
    let first_column = (class_x + parameters.padding) % s;
    for (var m = local; m < TILE_M; m += THREADS) {
        let at = first_m + m;
        var origin = NOWHERE;
        if at < pixels {
            let row = at / columns % rows;
            let column = at % columns;
            let image = at / (columns * rows);
            let y = row * s + class_y;
            let x = column * s + class_x;
            origin = vec4<u32>(
                image * parameters.out_h,
                row + (class_y + parameters.padding) / s,
                column + (class_x + parameters.padding) / s,
                (image * parameters.h + y) * parameters.w + x,
            );
        }
        origins[m] = origin;
    }
    let window = Window(
        (parameters.kh + s - 1u - first_row) / s, (parameters.kw + s - 1u - first_column) / s,
        first_row, first_column, s, 0xffffffffu,
        parameters.out_h, parameters.out_w, parameters.c_out, parameters.c_in,
    );
    let sums = accumulate(window, first_quad, local);
    // A class without taps has met no barrier since `origins` was written.
    workgroupBarrier();

    let m = local / QUADS_N * 8u;
    let quad = first_quad + local % QUADS_N;
    if quad >= quads {
        return;
    }
    finish(m, quad, sums.r0);
    finish(m + 1u, quad, sums.r1);
    finish(m + 2u, quad, sums.r2);
    finish(m + 3u, quad, sums.r3);
    finish(m + 4u, quad, sums.r4);
    finish(m + 5u, quad, sums.r5);
    finish(m + 6u, quad, sums.r6);
    finish(m + 7u, quad, sums.r7);
}
