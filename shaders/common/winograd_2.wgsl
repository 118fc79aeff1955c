// Winograd's F(2x2, 3x3) (Lavin & Gray, CVPR 2016): the points 0, 1, -1, ∞.
// Each function transforms one line; a tile is transformed along its rows, then along its columns.
// Twin and derivation: src/compute/winograd.rs.

const TILE: u32 = 2u;
const LINE: u32 = 4u;

struct Line {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
}

struct Outputs {
    v0: vec4<f32>,
    v1: vec4<f32>,
}

fn input_line(d: Line) -> Line {
    return Line(d.v2 - d.v0, d.v1 + d.v2, d.v2 - d.v1, d.v3 - d.v1);
}

fn weights_line(g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>) -> Line {
    let even = 0.5 * (g0 + g2);
    return Line(-g0, even + 0.5 * g1, even - 0.5 * g1, g2);
}

fn output_line(m: Line) -> Outputs {
    return Outputs(m.v0 + m.v1 + m.v2, m.v1 - m.v2 + m.v3);
}
