//! The micro-kernel: a register tile of pixels x output channels, over a list of taps.

use crate::compute::cpu::conv2d::panels::Panel;
use crate::compute::cpu::lanes::{LANES, Lanes};

/// Output pixels of a tile: those of a mask word, so that whole words belong to one task.
pub const PIXELS: usize = 8;

/// Consecutive taps of one kernel row, for the pixels of one tile.
#[derive(Clone, Copy)]
pub struct Run {
    /// The number of the first tap in the panels.
    pub tap: usize,
    /// Numbers of each row: the taps' channels, one tap after the other.
    pub length: usize,
    /// For each pixel, the numbers that the taps read: channels of neighbouring pixels, or zeros.
    pub rows: [*const f32; PIXELS],
}

/// An image batch `[n, h, w, c]` that runs point into.
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
    /// `c` zeros, which stand for pixels outside the image.
    pub zeros: &'a [f32],
}

/// The positions that the pixels of a tile read: tap `t` of pixel `k` reads `(y, x + k step + t)` of `image`.
#[derive(Clone, Copy)]
pub struct Window {
    /// The image in the batch.
    pub image: usize,
    /// Its row.
    pub y: isize,
    /// The column of the first tap of the first pixel.
    pub x: isize,
    /// Columns between two pixels.
    pub step: usize,
    /// Pixels, at most [`PIXELS`].
    pub pixels: usize,
}

impl Source<'_> {
    /// Appends the taps `tap..tap + taps`, as few runs: where a tap lies inside the image for all pixels, its
    /// neighbour's channels follow its own in memory. Taps that lie outside for all pixels are left out.
    #[inline(always)]
    pub fn push(&self, runs: &mut Vec<Run>, window: Window, tap: usize, taps: usize) {
        let Window { image, y, x, step, pixels } = window;
        if y < 0 || y >= self.h as isize {
            return;
        }
        let last = x + ((pixels - 1) * step) as isize;
        let from = (-x).clamp(0, taps as isize);
        let to = (self.w as isize - last).clamp(from, taps as isize);
        for t in 0..from {
            self.push_edge(runs, Window { x: x + t, ..window }, tap + t as usize);
        }
        if from < to {
            let line = (image * self.h + y as usize) * self.w;
            let first = self.data[(line + (x + from) as usize) * self.c..].as_ptr();
            let mut rows = [first; PIXELS];
            for (k, row) in rows[..pixels].iter_mut().enumerate() {
                *row = first.wrapping_add(k * step * self.c);
            }
            runs.push(Run { tap: tap + from as usize, length: (to - from) as usize * self.c, rows });
        }
        for t in to..taps as isize {
            self.push_edge(runs, Window { x: x + t, ..window }, tap + t as usize);
        }
    }

    /// Appends one tap, unless it lies outside the image for all pixels.
    #[inline(always)]
    fn push_edge(&self, runs: &mut Vec<Run>, window: Window, tap: usize) {
        let mut rows = [self.zeros.as_ptr(); PIXELS];
        if self.point(&mut rows[..window.pixels], window) {
            runs.push(Run { tap, length: self.c, rows });
        }
    }

    /// Points the rows of the window's pixels at their first tap, for those pixels whose first tap is inside the image;
    /// returns whether there are any.
    #[inline(always)]
    pub fn point(&self, rows: &mut [*const f32], window: Window) -> bool {
        let Window { image, y, x, step, .. } = window;
        let mut any = false;
        if y >= 0 && y < self.h as isize {
            let line = (image * self.h + y as usize) * self.w;
            for (k, row) in rows.iter_mut().enumerate() {
                let x = x + (k * step) as isize;
                if x >= 0 && x < self.w as isize {
                    *row = self.data[(line + x as usize) * self.c..].as_ptr();
                    any = true;
                }
            }
        }
        any
    }
}

/// The sums of a tile: [`PIXELS`] rows of `16 vectors` columns.
///
/// The micro-kernel leaves its registers here for the epilogue, whose running indices would otherwise keep
/// all sums in memory, to be stored in every round of the inner loop.
pub struct Sums([f32; PIXELS * MOST_VECTORS * LANES]);

/// No panel is wider.
const MOST_VECTORS: usize = 2;

impl Sums {
    /// Room for a tile.
    #[inline(always)]
    pub fn new() -> Self {
        Self([0.0; PIXELS * MOST_VECTORS * LANES])
    }

    /// Vector `v` of pixel `p` of a tile `vectors` wide.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    pub unsafe fn get<L: Lanes>(&self, p: usize, v: usize, vectors: usize) -> L {
        // SAFETY: the range is checked.
        unsafe { load(&self.0, (p * vectors + v) * LANES, LANES) }
    }

    /// `Σ_runs Σ_c rows[run][p][c] weights[run][c][..]` for the first `valid` pixels (and perhaps more); a
    /// tap has `channels`.
    ///
    /// # Safety
    /// Every run's rows point at `length` floats, and its taps are taps of the panel; the CPU has the
    /// instruction set of `L`.
    #[inline(always)]
    pub unsafe fn fill<L: Lanes, const P: usize, const V: usize>(
        &mut self,
        runs: &[Run],
        panel: Panel<'_>,
        channels: usize,
        valid: usize,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            if panel.vectors == V {
                self.fill_wide::<L, P, V>(runs, panel, channels, valid);
            } else {
                self.fill_wide::<L, P, 1>(runs, panel, channels, valid);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "constant bounds keep the sums in registers")]
    unsafe fn fill_wide<L: Lanes, const P: usize, const V: usize>(
        &mut self,
        runs: &[Run],
        panel: Panel<'_>,
        channels: usize,
        valid: usize,
    ) {
        assert!(panel.vectors == V && V <= MOST_VECTORS && PIXELS.is_multiple_of(P));
        for first in (0..valid).step_by(P) {
            // SAFETY: the caller's contract; `weights` stays within the panel's `[taps, channels, 16 V]`,
            // and `first + P <= PIXELS`.
            unsafe {
                let mut sums = [[L::zero(); V]; P];
                for run in runs {
                    let mut weights = panel.weights.as_ptr().add(run.tap * channels * V * LANES);
                    let mut rows = [std::ptr::null(); P];
                    rows.copy_from_slice(&run.rows[first..first + P]);
                    for c in 0..run.length {
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
                let out = self.0.as_mut_ptr().add(first * V * LANES);
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v].store(out.add((p * V + v) * LANES));
                    }
                }
            }
        }
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
