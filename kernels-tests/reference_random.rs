//! Random numbers in float64 from the host's Threefry words.

use jem::compute::random::threefry2x32;

/// Element `i` of a stream of uniform numbers in [0, 1): one call makes elements 2i and 2i + 1.
pub fn uniform(key: [u32; 2], step: u32, i: usize) -> f64 {
    f64::from(threefry2x32(key, [step, (i / 2) as u32])[i % 2] >> 8) / f64::from(1 << 24)
}

/// Element `i` of a stream of standard normal numbers, by Box and Muller's formula.
pub fn normal(key: [u32; 2], step: u32, i: usize) -> f64 {
    let [a, b] = threefry2x32(key, [step, (i / 2) as u32]).map(|word| f64::from(word >> 8));
    let radius = (-2.0 * ((a + 1.0) / f64::from(1 << 24)).ln()).sqrt();
    let angle = std::f64::consts::TAU * b / f64::from(1 << 24);
    radius * if i.is_multiple_of(2) { angle.cos() } else { angle.sin() }
}
