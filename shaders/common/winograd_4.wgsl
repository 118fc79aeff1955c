// Winograd's F(4x4, 3x3) (Lavin & Gray, CVPR 2016) with the points 0, ±√2/2, ±√2, ∞, which are better
// conditioned than 0, ±1, ±2, ∞.
// Each function transforms one line; a tile is transformed along its rows, then along its columns.
// Twin and derivation: src/compute/winograd.rs.

const TILE: u32 = 4u;
const LINE: u32 = 6u;
// The points: √2/2 and √2.
const NEAR: f32 = 0.70710678118654752;
const FAR: f32 = 1.4142135623730951;

struct Line {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
    v4: vec4<f32>,
    v5: vec4<f32>,
}

struct Outputs {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
}

fn input_line(d: Line) -> Line {
    let near_even = d.v4 - 2.0 * d.v2;
    let near_odd = NEAR * d.v3 - FAR * d.v1;
    let far_even = d.v4 - 0.5 * d.v2;
    let far_odd = FAR * d.v3 - NEAR * d.v1;
    return Line(
        d.v0 - 2.5 * d.v2 + d.v4,
        near_even + near_odd,
        near_even - near_odd,
        far_even + far_odd,
        far_even - far_odd,
        d.v1 - 2.5 * d.v3 + d.v5,
    );
}

fn weights_line(g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>) -> Line {
    let near_even = (g0 + 0.5 * g2) / -1.5;
    let near_odd = NEAR * g1 / -1.5;
    let far_even = (g0 + 2.0 * g2) / 6.0;
    let far_odd = FAR * g1 / 6.0;
    return Line(g0, near_even + near_odd, near_even - near_odd, far_even + far_odd, far_even - far_odd, g2);
}

fn output_line(m: Line) -> Outputs {
    let near_sum = m.v1 + m.v2;
    let near_difference = m.v1 - m.v2;
    let far_sum = m.v3 + m.v4;
    let far_difference = m.v3 - m.v4;
    return Outputs(
        m.v0 + near_sum + far_sum,
        NEAR * near_difference + FAR * far_difference,
        0.5 * near_sum + 2.0 * far_sum,
        0.5 * NEAR * near_difference + 2.0 * FAR * far_difference + m.v5,
    );
}
