// Whether a is larger than b for a maximum, in which NaN counts as larger than any number, so that it stays visible. The
// test looks at the bits, because a compiler may assume that there is no NaN. Twin: src/compute/cpu/elementwise.rs.
fn exceeds(a: f32, b: f32) -> bool {
    let a_is_nan = (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u;
    let b_is_nan = (bitcast<u32>(b) & 0x7fffffffu) > 0x7f800000u;
    return (a > b || a_is_nan) && !b_is_nan;
}
