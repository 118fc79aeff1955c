// Two standard normal numbers from two random words (Box & Muller 1958). Needs threefry.
// Twin: normal_pair in src/compute/random.rs.

// (cos 2πt, sin 2πt) for t in [0, 1): Taylor polynomials about the nearest quarter turn, since WGSL
// promises its own sine to 2^-11 only.
fn cosine_sine_of_turn(t: f32) -> vec2<f32> {
    let quarter = floor(4.0 * t + 0.5);
    let r = (t - 0.25 * quarter) * 6.2831855;
    let r2 = r * r;
    let sine = r * (1.0 + r2 * (-1.0 / 6.0 + r2 * (1.0 / 120.0 + r2 * (-1.0 / 5040.0 + r2 / 362880.0))));
    let cosine = 1.0 + r2 * (-0.5 + r2 * (1.0 / 24.0 + r2 * (-1.0 / 720.0 + r2 / 40320.0)));
    switch u32(quarter) & 3u {
        case 0u: { return vec2(cosine, sine); }
        case 1u: { return vec2(-sine, cosine); }
        case 2u: { return vec2(-cosine, -sine); }
        default: { return vec2(sine, -cosine); }
    }
}

fn normal_pair(words: vec2<u32>) -> vec2<f32> {
    // In (0, 1]: the logarithm is finite; max() for a driver whose log(1) is a little above 0.
    let u = f32((words.x >> 8u) + 1u) * (1.0 / 16777216.0);
    let radius = sqrt(max(-2.0 * log(u), 0.0));
    return radius * cosine_sine_of_turn(uniform_of(words.y));
}
