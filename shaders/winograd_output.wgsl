// winograd_output: v = A^T product[., ., t, .] A for each tile t, and what conv2d (or with GRADIENT
// conv2d_input_gradient) does to its sums: the same epilogue behind the same switches.
//
// Dispatch: ceil(n * tiles_y * w / 8 * c / 4 / 64) workgroups of 64, over x and y; a thread takes four
// channels of eight pixels' width of tiles: whole words of the sign mask.
// Switches: F4 (tiles of 4x4, else 2x2), GRADIENT, and the epilogue's.

//#if F4
//#include winograd_4
//#else
//#include winograd_2
//#endif

struct Parameters {
    h: u32,
    w: u32,
    // Quads of channels.
    quads: u32,
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,
    slope: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> product: array<vec4<f32>>;
//#if GRADIENT
//#include gradient_epilogue
//#else
//#include conv_epilogue
//#endif

const WIDTH: u32 = 8u;

fn value(i: u32, j: u32, at: u32) -> vec4<f32> {
    return product[(i * LINE + j) * parameters.tiles * parameters.quads + at];
}

// Row i of the products at `at`, transformed along the row.
fn row(i: u32, at: u32) -> Outputs {
    return output_line(Line(
        value(i, 0u, at),
        value(i, 1u, at),
        value(i, 2u, at),
        value(i, 3u, at),
//#if F4
        value(i, 4u, at),
        value(i, 5u, at),
//#endif
    ));
}

// A thread's tiles: the number of their first pixel, how many rows are in the image, and the quad of channels.
struct Strip {
    first: u32,
    rows: u32,
    quad: u32,
}

// Writes row y, column x of a strip; returns the four signs where they belong in the row's mask word.
fn finish_one(strip: Strip, y: u32, x: u32, words: vec4<u32>, v: vec4<f32>) -> u32 {
    var bits = 0u;
    if y < strip.rows {
        let index = (strip.first + y * parameters.w + x) * parameters.quads + strip.quad;
//#if GRADIENT
        finish_quad(index, words[y] >> (4u * x), v);
//#else
        bits = finish_quad(index, strip.quad, v) << (4u * x);
//#endif
    }
    return bits;
}

// Transforms a column and writes it; returns the rows' mask words with its signs.
fn finish(strip: Strip, x: u32, words: vec4<u32>, column: Line) -> vec4<u32> {
    let v = output_line(column);
    return words | vec4<u32>(
        finish_one(strip, 0u, x, words, v.v0),
        finish_one(strip, 1u, x, words, v.v1),
//#if F4
        finish_one(strip, 2u, x, words, v.v2),
        finish_one(strip, 3u, x, words, v.v3),
//#else
        0u,
        0u,
//#endif
    );
}

//#if MASK
// The mask's word of row y of a strip.
fn word_index(strip: Strip, y: u32) -> u32 {
    return (strip.first + y * parameters.w) / 8u * parameters.quads + strip.quad;
}

//#if GRADIENT
fn read_word(strip: Strip, y: u32) -> u32 {
    var word = 0u;
    if y < strip.rows {
        word = mask[word_index(strip, y)];
    }
    return word;
}
//#else
fn write_word(strip: Strip, y: u32, word: u32) {
    if y < strip.rows {
        mask[word_index(strip, y)] = word;
    }
}
//#endif
//#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.x + group.y * groups.x) * 64u + local;
    let quad = index % parameters.quads;
    let strips_x = parameters.w / WIDTH;
    let strip_x = index / parameters.quads % strips_x;
    let band = index / parameters.quads / strips_x;
    if band >= parameters.tiles / parameters.tiles_x {
        return;
    }
    let y = band % parameters.tiles_y * TILE;
    let first = (band / parameters.tiles_y * parameters.h + y) * parameters.w + strip_x * WIDTH;
    let strip = Strip(first, min(TILE, parameters.h - y), quad);
    var words = vec4<u32>();
//#if GRADIENT
//#if MASK
    words = vec4<u32>(
        read_word(strip, 0u),
        read_word(strip, 1u),
//#if F4
        read_word(strip, 2u),
        read_word(strip, 3u),
//#else
        0u,
        0u,
//#endif
    );
//#endif
//#endif
    for (var x = 0u; x < WIDTH; x += TILE) {
        let tile = band * parameters.tiles_x + (strip_x * WIDTH + x) / TILE;
        let at = tile * parameters.quads + quad;
        let r0 = row(0u, at);
        let r1 = row(1u, at);
        let r2 = row(2u, at);
        let r3 = row(3u, at);
//#if F4
        let r4 = row(4u, at);
        let r5 = row(5u, at);
        words = finish(strip, x, words, Line(r0.v0, r1.v0, r2.v0, r3.v0, r4.v0, r5.v0));
        words = finish(strip, x + 1u, words, Line(r0.v1, r1.v1, r2.v1, r3.v1, r4.v1, r5.v1));
        words = finish(strip, x + 2u, words, Line(r0.v2, r1.v2, r2.v2, r3.v2, r4.v2, r5.v2));
        words = finish(strip, x + 3u, words, Line(r0.v3, r1.v3, r2.v3, r3.v3, r4.v3, r5.v3));
//#else
        words = finish(strip, x, words, Line(r0.v0, r1.v0, r2.v0, r3.v0));
        words = finish(strip, x + 1u, words, Line(r0.v1, r1.v1, r2.v1, r3.v1));
//#endif
    }
//#if GRADIENT
//#else
//#if MASK
    write_word(strip, 0u, words.x);
    write_word(strip, 1u, words.y);
//#if F4
    write_word(strip, 2u, words.z);
    write_word(strip, 3u, words.w);
//#endif
//#endif
//#endif
}
