//! Maps over whole tensors, in parallel.

use rayon::prelude::*;

/// Elements per task: enough to outweigh the hand-over to another thread.
pub(crate) const CHUNK: usize = 16 * 1024;

/// `y = f(x)`.
pub(crate) fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    });
}

/// `y = f(a, b)`.
pub(crate) fn map2(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((y, a), b)| {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    });
}

/// Whether `a` is larger than `b` for a maximum, in which NaN counts as larger than any number. Twin:
/// `shaders/common/exceeds.wgsl`.
pub(crate) fn exceeds(a: f32, b: f32) -> bool {
    (a > b || a.is_nan()) && !b.is_nan()
}

/// `slope v`, the side of a leaky ReLU below 0, and of its gradient. With a slope of 0 an infinity gives 0, and a NaN
/// stays NaN. Twin: `shaders/common/sloped.wgsl`.
pub(crate) fn sloped(v: f32, slope: f32) -> f32 {
    if slope == 0.0 && !v.is_nan() { 0.0 } else { slope * v }
}

/// `v` if positive, else `slope v`.
pub(crate) fn leaky_relu(v: f32, slope: f32) -> f32 {
    if v > 0.0 { v } else { sloped(v, slope) }
}

/// `v` limited to `low..=high` by comparisons, as on a GPU: NaN stays NaN, and bounds in the wrong order do not panic.
pub(crate) fn limited(v: f32, low: f32, high: f32) -> f32 {
    if v < low {
        low
    } else if v > high {
        high
    } else {
        v
    }
}

/// The number of items of `len` elements that make a task of at least [`CHUNK`] elements.
pub(crate) fn items_per_task(len: usize) -> usize {
    CHUNK.div_ceil(len.max(1))
}
