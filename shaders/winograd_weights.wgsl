// winograd_weights: transformed[i, j, r, c] = (G weights[., ., r, c] G^T)[i, j] of 3x3 weights
// [3, 3, rows, columns]; with FLIPPED of the weights turned by 180 degrees, as an input gradient reads them.
//
// Dispatch: ceil(rows * columns / 4 / 64) workgroups of 64, over x and y; a thread takes four columns.
// Switches: F4 (F(4x4, 3x3), else F(2x2, 3x3)), FLIPPED.

//#if F4
//#include winograd_4
//#else
//#include winograd_2
//#endif

struct Parameters {
    // Quads of one tap: rows * columns / 4.
    quads: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4<f32>>;

fn weight(i: u32, j: u32, quad: u32) -> vec4<f32> {
    let tap = 3u * i + j;
//#if FLIPPED
    return weights[(8u - tap) * parameters.quads + quad];
//#else
    return weights[tap * parameters.quads + quad];
//#endif
}

// Row i of the weights, transformed along the row.
fn row(i: u32, quad: u32) -> Line {
    return weights_line(weight(i, 0u, quad), weight(i, 1u, quad), weight(i, 2u, quad));
}

// Transforms a column and writes it.
fn finish(column: u32, quad: u32, g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>) {
    let v = weights_line(g0, g1, g2);
    let first = column * parameters.quads + quad;
    let pitch = LINE * parameters.quads;
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
    let quad = (group.x + group.y * groups.x) * 64u + local;
    if quad >= parameters.quads {
        return;
    }
    let r0 = row(0u, quad);
    let r1 = row(1u, quad);
    let r2 = row(2u, quad);
    finish(0u, quad, r0.v0, r1.v0, r2.v0);
    finish(1u, quad, r0.v1, r1.v1, r2.v1);
    finish(2u, quad, r0.v2, r1.v2, r2.v2);
    finish(3u, quad, r0.v3, r1.v3, r2.v3);
//#if F4
    finish(4u, quad, r0.v4, r1.v4, r2.v4);
    finish(5u, quad, r0.v5, r1.v5, r2.v5);
//#endif
}
