//! The micro-kernel: a register tile of pixels x output channels, over a list of taps.

use super::panels::Panel;
use crate::kernels::cpu::lanes::{LANES, Lanes};

/// Output pixels of a tile: those of a mask word, so that whole words belong to one task.
pub const PIXELS: usize = 8;

/// One tap of the kernel for the pixels of one tile.
#[derive(Clone, Copy)]
pub struct Tap {
    /// Its number in the weights.
    pub number: usize,
    /// For each pixel, the channels of the input pixel that it reads, or zeros.
    pub rows: [*const f32; PIXELS],
}

/// An image batch `[n, h, w, c]` that taps point into.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The batch.
    pub data: &'a [f32],
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// `c` zeros: what lies outside the image.
    pub zeros: &'a [f32],
}

impl Source<'_> {
    /// Points `rows[k]` at pixel `(image, y, x + k step)`; returns whether any of them is in the image.
    #[inline(always)]
    pub fn point(&self, rows: &mut [*const f32], image: usize, y: isize, x: isize, step: usize) -> bool {
        if y < 0 || y >= self.h as isize {
            rows.fill(self.zeros.as_ptr());
            return false;
        }
        let line = (image * self.h + y as usize) * self.w;
        let last = x + ((rows.len() - 1) * step) as isize;
        if x >= 0 && last < self.w as isize {
            let first = self.data[(line + x as usize) * self.c..].as_ptr();
            for (k, row) in rows.iter_mut().enumerate() {
                *row = first.wrapping_add(k * step * self.c);
            }
            return true;
        }
        let mut any = false;
        for (k, row) in rows.iter_mut().enumerate() {
            let x = x + (k * step) as isize;
            let inside = x >= 0 && x < self.w as isize;
            *row =
                if inside { self.data[(line + x as usize) * self.c..].as_ptr() } else { self.zeros.as_ptr() };
            any |= inside;
        }
        any
    }
}

/// `Σ_taps Σ_c rows[tap][first + p][c] weights[tap][c][..]` for `P` pixels from `first` on.
///
/// # Safety
/// Every tap's rows point at `channels` floats, and its number is below the panel's taps; the CPU has
/// the instruction set of `L`; the panel is `V` vectors wide.
#[inline(always)]
pub unsafe fn accumulate<L: Lanes, const P: usize, const V: usize>(
    taps: &[Tap],
    first: usize,
    panel: Panel<'_>,
    channels: usize,
) -> [[L; V]; P] {
    debug_assert!(first + P <= PIXELS && panel.vectors == V);
    // SAFETY: the caller's contract; `weights` stays within the panel's `[taps, channels, 16 V]`.
    unsafe {
        let mut sums = [[L::zero(); V]; P];
        for tap in taps {
            let mut weights = panel.weights.as_ptr().add(tap.number * channels * V * LANES);
            let mut rows = [std::ptr::null(); P];
            rows.copy_from_slice(&tap.rows[first..first + P]);
            for c in 0..channels {
                let mut w = [L::zero(); V];
                for v in 0..V {
                    w[v] = L::load(weights.add(v * LANES));
                }
                for p in 0..P {
                    let x = L::splat(*rows[p].add(c));
                    for v in 0..V {
                        sums[p][v] = x.mul_add(w[v], sums[p][v]);
                    }
                }
                weights = weights.add(V * LANES);
            }
        }
        sums
    }
}

/// The part of an output row that vector `v` of a panel covers: its offset in channels, and how many of
/// its lanes exist.
#[inline(always)]
pub fn span(panel: Panel<'_>, v: usize) -> (usize, usize) {
    (panel.first + v * LANES, (panel.outputs - v * LANES).min(LANES))
}

/// Reads the lanes of `slice` from `at` on, `n` of them.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub unsafe fn load<L: Lanes>(slice: &[f32], at: usize, n: usize) -> L {
    let from = slice[at..at + n].as_ptr();
    // SAFETY: the range was checked above.
    unsafe { if n == LANES { L::load(from) } else { L::load_first(from, n) } }
}

/// Writes `n` lanes to `slice` from `at` on.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub unsafe fn store<L: Lanes>(value: L, slice: &mut [f32], at: usize, n: usize) {
    let to = slice[at..at + n].as_mut_ptr();
    // SAFETY: the range was checked above.
    unsafe { if n == LANES { value.store(to) } else { value.store_first(to, n) } }
}
