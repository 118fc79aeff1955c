//! The twin of `conv2d_weight_gradient`: for one tap, register tiles of input channels x output channels run
//! over the pixels of one part of the sum, a block of pixels at a time that stays in the cache for all tiles.

use crate::compute::argument::Argument;
use crate::compute::cpu::conv2d::parameters::WeightGradient;
use crate::compute::cpu::lanes::{Isa, Job, LANES, Lanes};
use rayon::prelude::*;
use std::ops::Range;

/// Tasks for each thread: with fewer, the last to end leaves the others idle.
const TASKS_PER_THREAD: usize = 6;
/// Rows (input channels) of a cut are a multiple of this.
const CUT_ROWS: usize = 8;
/// Bytes of input and gradient of a block of pixels: half of a second-level cache of 512 KiB.
const BLOCK_BYTES: usize = 256 << 10;
/// Pixels of the smallest block: below, reading and writing the sums costs more than the cache saves.
const BLOCK_PIXELS: usize = 64;

/// Runs `kernel` on its arguments.
pub fn weight_gradient(kernel: &WeightGradient, arguments: &mut [Argument<'_>]) {
    weight_gradient_on(Isa::best(), kernel, arguments);
}

/// [`weight_gradient`] with a given instruction set.
pub fn weight_gradient_on(isa: Isa, kernel: &WeightGradient, arguments: &mut [Argument<'_>]) {
    let g = &kernel.geometry;
    let [input, gradient, partials] = arguments else {
        unreachable!("conv2d_weight_gradient binds input, gradient and partials")
    };
    let (input, gradient) = (input.f32(), gradient.f32());
    let taps = g.kh * g.kw;
    // Where there are few (part, tap) pairs, their rows are cut. (No sum depends on how.)
    let cuts = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(kernel.parts * taps);
    let rows = g.c_in.div_ceil(cuts).next_multiple_of(CUT_ROWS);
    partials.f32_mut().par_chunks_mut(g.c_in * g.c_out).enumerate().for_each(|(index, block)| {
        block.par_chunks_mut(rows * g.c_out).enumerate().for_each(|(cut, partial)| {
            isa.run(Task {
                kernel,
                input,
                gradient,
                split: index / taps,
                i: index % taps / g.kw,
                j: index % g.kw,
                channel: cut * rows,
                partial,
            });
        });
    });
}

/// Rows `channel..` of the block `[c_in, c_out]` of one part and one tap.
struct Task<'a> {
    kernel: &'a WeightGradient,
    input: &'a [f32],
    gradient: &'a [f32],
    split: usize,
    i: usize,
    j: usize,
    channel: usize,
    partial: &'a mut [f32],
}

impl Job for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize, const V: usize>(mut self) {
        let g = &self.kernel.geometry;
        let per_split = self.kernel.pixels_per_part;
        let start = (self.split * per_split).min(g.out_pixels());
        let end = (start + per_split).min(g.out_pixels());
        let block = (BLOCK_BYTES / (size_of::<f32>() * (g.c_in + g.c_out))).max(BLOCK_PIXELS);
        self.partial.fill(0.0);
        for first in (start..end).step_by(block) {
            // SAFETY: the instruction set is there by the caller's contract.
            unsafe { self.block::<L, R, V>(first..end.min(first + block)) };
        }
    }
}

impl Task<'_> {
    /// Adds the contribution of `pixels` to all sums.
    ///
    /// # Safety
    /// The same as for [`Self::tile`].
    #[inline(always)]
    unsafe fn block<L: Lanes, const R: usize, const V: usize>(&mut self, pixels: Range<usize>) {
        let c_out = self.kernel.geometry.c_out;
        let rows = self.partial.len() / c_out;
        let mut first = 0;
        while first < c_out {
            let width = (c_out - first).min(V * LANES);
            let mut row = 0;
            while row < rows {
                let height = match rows - row {
                    left if left >= 8 && R >= 8 => 8,
                    left if left >= 4 && R >= 4 => 4,
                    left if left >= 3 && R >= 4 => 3,
                    left => left.min(2),
                };
                let pixels = pixels.clone();
                // SAFETY: the caller's contract.
                unsafe {
                    match height {
                        8 => self.columns::<L, 8, V>(row, first, width, pixels),
                        4 => self.columns::<L, 4, V>(row, first, width, pixels),
                        3 => self.columns::<L, 3, V>(row, first, width, pixels),
                        2 => self.columns::<L, 2, V>(row, first, width, pixels),
                        _ => self.columns::<L, 1, V>(row, first, width, pixels),
                    }
                }
                row += height;
            }
            first += width;
        }
    }

    /// The narrowest tile that holds `width` columns, with or without missing lanes.
    ///
    /// # Safety
    /// The same as for [`Self::tile`].
    #[inline(always)]
    unsafe fn columns<L: Lanes, const R: usize, const V: usize>(
        &mut self,
        row: usize,
        first: usize,
        width: usize,
        pixels: Range<usize>,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            match (width > LANES, width.is_multiple_of(LANES)) {
                (true, true) => self.tile::<L, R, V, true>(row, first, width, pixels),
                (true, false) => self.tile::<L, R, V, false>(row, first, width, pixels),
                (false, true) => self.tile::<L, R, 1, true>(row, first, width, pixels),
                (false, false) => self.tile::<L, R, 1, false>(row, first, width, pixels),
            }
        }
    }

    /// Adds the contribution of `pixels` to `R` rows from `row` on, of `width` columns from `first` on, pixel by pixel.
    /// `FULL`: no lane is missing.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "constant bounds keep the sums in registers")]
    unsafe fn tile<L: Lanes, const R: usize, const V: usize, const FULL: bool>(
        &mut self,
        row: usize,
        first: usize,
        width: usize,
        pixels: Range<usize>,
    ) {
        let g = &self.kernel.geometry;
        let (out_h, out_w, stride, padding) = (g.out_h(), g.out_w(), g.stride, g.padding);
        // Output columns whose tap lies inside the image.
        let inside_from = padding.saturating_sub(self.j).div_ceil(stride);
        let inside_to = (g.w + padding).saturating_sub(self.j).div_ceil(stride).min(out_w);
        let Range { start, end } = pixels;
        // SAFETY: rows of pixels are cut out of the slices with checked ranges, and the loop stays
        // within them: R channels and `width` columns of each pixel; `FULL` says that all V * 16 lanes
        // are columns. The instruction set is there by the caller's contract.
        unsafe {
            let mut sums = [[L::zero(); V]; R];
            for r in 0..R {
                for v in 0..V {
                    let at = (row + r) * g.c_out + first + v * LANES;
                    let n = (width - v * LANES).min(LANES);
                    sums[r][v] = crate::compute::cpu::conv2d::tile::load(self.partial, at, n);
                }
            }
            let mut pixel = start;
            let (mut line, mut x) = (start / out_w, start % out_w);
            let (mut image, mut y) = (line / out_h, line % out_h);
            while pixel < end {
                let run = (out_w - x).min(end - pixel);
                let from = x.max(inside_from);
                let to = (x + run).min(inside_to);
                let in_y = y * stride + self.i;
                if from < to && in_y >= padding && in_y < g.h + padding {
                    let in_x = from * stride + self.j - padding;
                    let at = ((image * g.h + in_y - padding) * g.w + in_x) * g.c_in + self.channel + row;
                    let count = to - from;
                    let input = &self.input[at..at + (count - 1) * stride * g.c_in + R];
                    let at = (line * out_w + from) * g.c_out + first;
                    let gradient = &self.gradient[at..at + (count - 1) * g.c_out + width];
                    let (mut a, mut b) = (input.as_ptr(), gradient.as_ptr());
                    for _ in 0..count {
                        let mut w = [L::zero(); V];
                        for v in 0..V {
                            let at = b.wrapping_add(v * LANES);
                            w[v] = if FULL || v + 1 < V {
                                L::load(at)
                            } else {
                                L::load_first(at, width - v * LANES)
                            };
                        }
                        for r in 0..R {
                            let a = L::splat(*a.add(r));
                            for v in 0..V {
                                sums[r][v] = a.mul_add(w[v], sums[r][v]);
                            }
                        }
                        a = a.wrapping_add(stride * g.c_in);
                        b = b.wrapping_add(g.c_out);
                    }
                }
                pixel += run;
                x = 0;
                line += 1;
                y += 1;
                if y == out_h {
                    y = 0;
                    image += 1;
                }
            }
            for r in 0..R {
                for v in 0..V {
                    let at = (row + r) * g.c_out + first + v * LANES;
                    let n = (width - v * LANES).min(LANES);
                    crate::compute::cpu::conv2d::tile::store(sums[r][v], self.partial, at, n);
                }
            }
        }
    }
}
