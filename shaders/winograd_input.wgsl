// winograd_input: transformed[i, j, t, c] = (B^T d_t B)[i, j], where d_t are the pixels of input
// [n, h, w, c] that tile t of a 3x3 convolution's output reads (stride 1, padding 1; zeros outside).
//
// Dispatch: ceil(tiles * c / 4 / 64) workgroups of 64, over x and y; a thread takes four channels of a tile,
// neighbours the next four.
// Switch: F4 (tiles of 4x4 from 6x6, else 2x2 from 4x4).

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
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4<f32>>;

// Where a thread's tile begins: the image's first row, and the row and column of the first pixel, modulo 2^32.
struct Origin {
    image: u32,
    y: u32,
    x: u32,
    quad: u32,
}

fn pixel(origin: Origin, i: u32, j: u32) -> vec4<f32> {
    let y = origin.y + i;
    let x = origin.x + j;
    var v = vec4<f32>();
    if y < parameters.h && x < parameters.w {
        v = input[((origin.image + y) * parameters.w + x) * parameters.quads + origin.quad];
    }
    return v;
}

// Row i of the pixels, transformed along the row.
fn row(origin: Origin, i: u32) -> Line {
    return input_line(Line(
        pixel(origin, i, 0u),
        pixel(origin, i, 1u),
        pixel(origin, i, 2u),
        pixel(origin, i, 3u),
//#if F4
        pixel(origin, i, 4u),
        pixel(origin, i, 5u),
//#endif
    ));
}

// Transforms a column and writes it from `first` on.
fn finish(first: u32, column: Line) {
    let v = input_line(column);
    let pitch = LINE * parameters.tiles * parameters.quads;
    transformed[first] = v.v0;
    transformed[first + pitch] = v.v1;
    transformed[first + 2u * pitch] = v.v2;
    transformed[first + 3u * pitch] = v.v3;
//#if F4
    transformed[first + 4u * pitch] = v.v4;
    transformed[first + 5u * pitch] = v.v5;
//#endif
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.x + group.y * groups.x) * 64u + local;
    let tile = index / parameters.quads;
    if tile >= parameters.tiles {
        return;
    }
    let band = tile / parameters.tiles_x;
    let origin = Origin(
        band / parameters.tiles_y * parameters.h,
        band % parameters.tiles_y * TILE - 1u,
        tile % parameters.tiles_x * TILE - 1u,
        index % parameters.quads,
    );
    let r0 = row(origin, 0u);
    let r1 = row(origin, 1u);
    let r2 = row(origin, 2u);
    let r3 = row(origin, 3u);
    let component = parameters.tiles * parameters.quads;
//#if F4
    let r4 = row(origin, 4u);
    let r5 = row(origin, 5u);
    finish(index, Line(r0.v0, r1.v0, r2.v0, r3.v0, r4.v0, r5.v0));
    finish(index + component, Line(r0.v1, r1.v1, r2.v1, r3.v1, r4.v1, r5.v1));
    finish(index + 2u * component, Line(r0.v2, r1.v2, r2.v2, r3.v2, r4.v2, r5.v2));
    finish(index + 3u * component, Line(r0.v3, r1.v3, r2.v3, r3.v3, r4.v3, r5.v3));
    finish(index + 4u * component, Line(r0.v4, r1.v4, r2.v4, r3.v4, r4.v4, r5.v4));
    finish(index + 5u * component, Line(r0.v5, r1.v5, r2.v5, r3.v5, r4.v5, r5.v5));
//#else
    finish(index, Line(r0.v0, r1.v0, r2.v0, r3.v0));
    finish(index + component, Line(r0.v1, r1.v1, r2.v1, r3.v1));
    finish(index + 2u * component, Line(r0.v2, r1.v2, r2.v2, r3.v2));
    finish(index + 3u * component, Line(r0.v3, r1.v3, r2.v3, r3.v3));
//#endif
}
