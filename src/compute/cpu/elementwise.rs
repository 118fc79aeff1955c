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

/// The number of items of `len` elements that make a task of at least [`CHUNK`] elements.
pub(crate) fn items_per_task(len: usize) -> usize {
    CHUNK.div_ceil(len.max(1))
}
