//! The weights and images of the fixtures that a `make.py` made, which computes them with the same formula.

#![allow(dead_code, reason = "each test takes what it needs")]

/// The values of a tensor as in `make.py`: in [-1, 1), each a multiple of 2^-23.
pub fn values(tensor: u32, count: usize) -> Vec<f32> {
    let one = |i: u32| {
        let mut x = i.wrapping_mul(2_654_435_761).wrapping_add(tensor * 40_503 + 12_345);
        x ^= x >> 16;
        x = x.wrapping_mul(0x045d_9f3b);
        x ^= x >> 16;
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count as u32).map(one).collect()
}

/// The parameter `name` as in `make.py`, with its number among the sorted names.
pub fn parameter(name: &str, shape: &[usize], number: u32) -> Vec<f32> {
    let u = values(number, shape.iter().product());
    let fan_in: usize = shape[1..].iter().product();
    let scale = (0..).map(|k| 0.5f32.powi(k)).find(|s| s * s * fan_in as f32 <= 6.0).expect("a scale");
    let value = |u: f32| match name {
        name if name.ends_with("running_var") => 1.25 + 0.75 * u,
        name if name.ends_with("running_mean") => 0.25 * u,
        name if name.ends_with("bias") => 0.125 * u,
        _ if shape.len() == 1 => 1.0 + 0.5 * u,
        _ => scale * u,
    };
    u.into_iter().map(value).collect()
}
