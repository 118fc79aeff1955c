// What conv2d and conv2d_input_gradient gather: an implicit GEMM without an im2col matrix.
//
//   sums[m, n] = Σ_k A[m, k] B[k, n]
//   A[m, k]: channel c of the source pixel under tap (i, j) of target pixel m's window, 0 outside the image
//   B[k, n]: weights[the tap's matrix, c, n]                                            k = (i, j, c)
//
// The includer declares `source_at(index) -> StoredSource` and `weights_at(index) -> StoredTarget`, which read its
// tensors. They hold vec4s with SOURCE_VEC4 (the source's channels are a multiple of 4) and TARGET_VEC4 (the
// target's are), else f32.
//
// Functions that are called many times in a row return at their end only: SwiftShader inlines them, and its
// compile time doubles or worse with every earlier return that follows another.

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
//#if HALF
//#include half
//#endif

// What the tensors hold: fours of f16 with HALF_A and HALF_B.
//#if HALF_A
alias StoredSource = vec2<u32>;

fn source_of(v: StoredSource) -> Source {
    return widen(v);
}
//#else
alias StoredSource = Source;

fn source_of(v: StoredSource) -> Source {
    return v;
}
//#endif
//#if HALF_B
alias StoredTarget = vec2<u32>;

fn target_of(v: StoredTarget) -> Target {
    return widen(v);
}
//#else
alias StoredTarget = Target;

fn target_of(v: StoredTarget) -> Target {
    return v;
}
//#endif

const OUTSIDE: u32 = 0xffffffffu;

// The target pixels, the taps that meet them, and the tensors' sizes.
struct Window {
    // Target pixels: images of target_h x target_w.
    pixels: u32,
    target_h: u32,
    target_w: u32,
    // Under tap (0, 0) of target pixel (y, x) lies source pixel (first_y + y * step, first_x + x * step),
    // modulo 2^32 where that is outside.
    first_y: u32,
    first_x: u32,
    step: u32,
    // From one tap to the next in the source: 1 or, modulo 2^32, -1.
    direction: u32,
    // Taps, and the weights' tap of window position (i, j): (first_row + i * tap_step, first_column + j * tap_step).
    rows: u32,
    columns: u32,
    first_row: u32,
    first_column: u32,
    tap_step: u32,
    source_h: u32,
    source_w: u32,
    source_channels: u32,
    target_channels: u32,
}

// Of target pixel m: the image's first source row, and the source row and column under tap (0, 0); far
// outside every image past the last pixel.
fn origin_of(window: Window, m: u32) -> vec3<u32> {
    let row = m / window.target_w;
    let image = row / window.target_h;
    let origin = vec3<u32>(
        image * window.source_h,
        window.first_y + row % window.target_h * window.step,
        window.first_x + m % window.target_w * window.step,
    );
    return select(origin, vec3<u32>(0u, 0x80000000u, 0x80000000u), m >= window.pixels);
}

// The index in elements of the source's channel 0 under tap (i, j), or OUTSIDE.
fn source_index(window: Window, origin: vec3<u32>, i: u32, j: u32) -> u32 {
    let y = origin.y + window.direction * i;
    let x = origin.z + window.direction * j;
    let index = ((origin.x + y) * window.source_w + x) * window.source_channels;
    return select(index, OUTSIDE, y >= window.source_h || x >= window.source_w);
}

// The row of `weights`, seen as a matrix of target_channels columns, of tap (i, j) and channel c.
fn weight_row(window: Window, i: u32, j: u32, c: u32) -> u32 {
    let row = window.first_row + i * window.tap_step;
    let column = window.first_column + j * window.tap_step;
    return (row * parameters.kw + column) * window.source_channels + c;
}

// Four channels of a row of `weights`, as they lie in memory, zeros past the last channel.
//#if TARGET_VEC4
alias StoredWeights = StoredTarget;
//#else
alias StoredWeights = vec4<f32>;
//#endif

fn stored_weights(window: Window, row: u32, quad: u32) -> StoredWeights {
    var v = StoredWeights();
//#if TARGET_VEC4
    let quads = window.target_channels / 4u;
    if quad < quads {
        v = weights_at(row * quads + quad);
    }
//#else
    let n = quad * 4u;
    let first = row * window.target_channels + n;
    if n < window.target_channels { v.x = weights_at(first); }
    if n + 1u < window.target_channels { v.y = weights_at(first + 1u); }
    if n + 2u < window.target_channels { v.z = weights_at(first + 2u); }
    if n + 3u < window.target_channels { v.w = weights_at(first + 3u); }
//#endif
    return v;
}

fn weights_of(v: StoredWeights) -> vec4<f32> {
//#if TARGET_VEC4
    return target_of(v);
//#else
    return v;
//#endif
}

fn load_weights(window: Window, row: u32, quad: u32) -> vec4<f32> {
    return weights_of(stored_weights(window, row, quad));
}
