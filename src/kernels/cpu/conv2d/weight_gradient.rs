//! The twin of `conv2d_weight_gradient`: for one tap, a register tile of input channels x output
//! channels runs over the pixels of one part of the sum.

use crate::kernels::Argument;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::cpu::lanes::{Isa, Job, LANES, Lanes};
use rayon::prelude::*;

/// From this number of (part, tap) pairs on, each is one task; below, its rows are cut further.
const ENOUGH_TASKS: usize = 64;
/// Rows (input channels) of a cut.
const CUT_ROWS: usize = 8;

/// Runs `kernel` on its arguments.
pub fn weight_gradient(kernel: &Conv2dWeightGradient, arguments: &mut [Argument<'_>]) {
    weight_gradient_on(Isa::best(), kernel, arguments);
}

/// [`weight_gradient`] with a given instruction set.
pub fn weight_gradient_on(isa: Isa, kernel: &Conv2dWeightGradient, arguments: &mut [Argument<'_>]) {
    let g = &kernel.geometry;
    let [input, gradient, partials] = arguments else {
        unreachable!("conv2d_weight_gradient binds input, gradient and partials")
    };
    let (input, gradient) = (input.f32(), gradient.f32());
    let taps = g.kh * g.kw;
    let rows = if kernel.splits * taps < ENOUGH_TASKS { CUT_ROWS } else { g.c_in };
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
    kernel: &'a Conv2dWeightGradient,
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
        let c_out = self.kernel.geometry.c_out;
        let rows = self.partial.len() / c_out;
        let mut row = 0;
        while row < rows {
            let height = match rows - row {
                left if left >= 8 && R >= 8 => 8,
                left if left >= 4 && R >= 4 => 4,
                left if left >= 3 && R >= 4 => 3,
                left => left.min(2),
            };
            let mut first = 0;
            while first < c_out {
                let width = (c_out - first).min(V * LANES);
                // SAFETY: the instruction set is there by the caller's contract.
                unsafe {
                    match height {
                        8 => self.columns::<L, 8, V>(row, first, width),
                        4 => self.columns::<L, 4, V>(row, first, width),
                        3 => self.columns::<L, 3, V>(row, first, width),
                        2 => self.columns::<L, 2, V>(row, first, width),
                        _ => self.columns::<L, 1, V>(row, first, width),
                    }
                }
                first += width;
            }
            row += height;
        }
    }
}

impl Task<'_> {
    /// The narrowest tile that holds `width` columns, with or without missing lanes.
    ///
    /// # Safety
    /// As [`Self::tile`].
    #[inline(always)]
    unsafe fn columns<L: Lanes, const R: usize, const V: usize>(
        &mut self,
        row: usize,
        first: usize,
        width: usize,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            match (width > LANES, width.is_multiple_of(LANES)) {
                (true, true) => self.tile::<L, R, V, true>(row, first, width),
                (true, false) => self.tile::<L, R, V, false>(row, first, width),
                (false, true) => self.tile::<L, R, 1, true>(row, first, width),
                (false, false) => self.tile::<L, R, 1, false>(row, first, width),
            }
        }
    }

    /// Sums and writes `R` rows from `row` on, of `width` columns from `first` on. `FULL`: no lane is
    /// missing.
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
    ) {
        let g = &self.kernel.geometry;
        let (out_h, out_w, stride, padding) = (g.out_h(), g.out_w(), g.stride, g.padding);
        // Output columns whose tap lies inside the image.
        let inside_from = padding.saturating_sub(self.j).div_ceil(stride);
        let inside_to = (g.w + padding).saturating_sub(self.j).div_ceil(stride).min(out_w);
        let per_split = self.kernel.pixels_per_split();
        let start = (self.split * per_split).min(g.out_pixels());
        let end = (start + per_split).min(g.out_pixels());
        // SAFETY: rows of pixels are cut out of the slices with checked ranges, and the loop stays
        // within them: R channels and `width` columns of each pixel; `FULL` says that all V * 16 lanes
        // are columns. The instruction set is there by the caller's contract.
        unsafe {
            let mut sums = [[L::zero(); V]; R];
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
                    super::tile::store(sums[r][v], self.partial, at, n);
                }
            }
        }
    }
}
