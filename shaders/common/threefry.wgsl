// Threefry2x32, 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
// a counter-based generator of add, rotate and xor. Key: (seed, stream); counter: (step, element).
// Twin: src/compute/random.rs.

fn rotate_left(v: u32, by: u32) -> u32 {
    return (v << by) | (v >> (32u - by));
}

fn threefry_round(x: vec2<u32>, by: u32) -> vec2<u32> {
    let sum = x.x + x.y;
    return vec2(sum, rotate_left(x.y, by) ^ sum);
}

fn threefry_even_rounds(x: vec2<u32>) -> vec2<u32> {
    return threefry_round(threefry_round(threefry_round(threefry_round(x, 13u), 15u), 26u), 6u);
}

fn threefry_odd_rounds(x: vec2<u32>) -> vec2<u32> {
    return threefry_round(threefry_round(threefry_round(threefry_round(x, 17u), 29u), 16u), 24u);
}

fn threefry2x32(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let parity = 0x1bd11bdau ^ key.x ^ key.y;
    var x = counter + key;
    x = threefry_even_rounds(x) + vec2(key.y, parity + 1u);
    x = threefry_odd_rounds(x) + vec2(parity, key.x + 2u);
    x = threefry_even_rounds(x) + vec2(key.x, key.y + 3u);
    x = threefry_odd_rounds(x) + vec2(key.y, parity + 4u);
    return threefry_even_rounds(x) + vec2(parity, key.x + 5u);
}

// Uniform in [0, 1): the upper 24 bits, exactly.
fn uniform_of(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}
