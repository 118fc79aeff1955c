//! The twin of `conv2d_input_gradient`.
//!
//! With stride `s`, the input pixels of one row whose columns are equal modulo `s` see the same taps: each
//! such class is a convolution of its own, without the multiplications by zeros of a dilated gradient.

use super::panels::{Panel, Panels};
use super::tile::{PIXELS, Source, Tap, accumulate, load, span, store};
use crate::device::cpu::Argument;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::cpu::lanes::{Isa, Job, Lanes};
use rayon::prelude::*;

/// Input pixels of one task, about.
const TASK_PIXELS: usize = 128;

/// Runs `kernel` on its arguments.
pub fn input_gradient(kernel: &Conv2dInputGradient, arguments: &mut [Argument<'_>]) {
    input_gradient_on(Isa::best(), kernel, arguments);
}

/// [`input_gradient`] with a given instruction set.
pub fn input_gradient_on(isa: Isa, kernel: &Conv2dInputGradient, arguments: &mut [Argument<'_>]) {
    let g = &kernel.geometry;
    let mut arguments = arguments.iter_mut();
    let mut next = |bound: bool| bound.then(|| arguments.next().expect("an argument for every binding"));
    let (gradient, transposed) = (next(true), next(true));
    let (mask, residual, gradient_in) = (next(kernel.mask.is_some()), next(kernel.residual), next(true));
    let (Some(gradient), Some(transposed), Some(gradient_in)) = (gradient, transposed, gradient_in) else {
        unreachable!("always bound")
    };

    let panels = Panels::new(transposed.f32(), g.c_out, g.c_in, isa.vectors());
    let zeros = vec![0.0; g.c_out];
    let common = Common {
        kernel,
        panels: &panels,
        source: Source { data: gradient.f32(), h: g.out_h(), w: g.out_w(), c: g.c_out, zeros: &zeros },
        mask: mask.as_ref().map(|a| a.u32()),
        residual: residual.as_ref().map(|a| a.f32()),
    };
    let rows = TASK_PIXELS.div_ceil(g.w);
    gradient_in.f32_mut().par_chunks_mut(rows * g.w * g.c_in).enumerate().for_each(|(index, gradient_in)| {
        isa.run(Task { common: &common, first: index * rows, gradient_in });
    });
}

/// What all tasks read.
struct Common<'a> {
    kernel: &'a Conv2dInputGradient,
    panels: &'a Panels<'a>,
    source: Source<'a>,
    mask: Option<&'a [u32]>,
    residual: Option<&'a [f32]>,
}

/// Some whole rows of the input gradient, from row `first` of the batch on.
struct Task<'a> {
    common: &'a Common<'a>,
    first: usize,
    gradient_in: &'a mut [f32],
}

/// Up to 8 input pixels of one row, `stride` apart.
struct Tile {
    /// The first pixel, counted from the task's first.
    pixel: usize,
    /// How many there are.
    valid: usize,
    /// The end of its taps in the task's list; they begin where the last tile's end.
    end: usize,
}

impl Job for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes, const P: usize, const V: usize>(mut self) {
        let (tiles, taps) = self.tiles();
        for panel in self.common.panels.iter() {
            let mut start = 0;
            for tile in &tiles {
                // SAFETY: the taps point into the source or at its zeros; the instruction set is there
                // by the caller's contract.
                unsafe {
                    if panel.vectors == V {
                        self.tile::<L, P, V>(&taps[start..tile.end], tile, panel);
                    } else {
                        self.tile::<L, P, 1>(&taps[start..tile.end], tile, panel);
                    }
                }
                start = tile.end;
            }
        }
    }
}

impl Task<'_> {
    /// The task's tiles and their taps, less those that lie outside the gradient for a whole tile.
    #[inline(always)]
    fn tiles(&self) -> (Vec<Tile>, Vec<Tap>) {
        let Common { kernel, source, .. } = self.common;
        let g = &kernel.geometry;
        let (stride, padding) = (g.stride, g.padding);
        let rows = self.gradient_in.len() / (g.w * g.c_in);
        let mut tiles = Vec::with_capacity(rows * (g.w.div_ceil(PIXELS) + stride));
        let mut taps = Vec::with_capacity(rows * g.w.div_ceil(PIXELS) * g.kh * g.kw);
        for row in 0..rows {
            let (image, y) = ((self.first + row) / g.h, (self.first + row) % g.h);
            for class in 0..stride.min(g.w) {
                let step = stride * PIXELS;
                for x in (class..g.w).step_by(step) {
                    let valid = (g.w - x).div_ceil(stride).min(PIXELS);
                    for i in ((y + padding) % stride..g.kh).step_by(stride) {
                        for j in ((x + padding) % stride..g.kw).step_by(stride) {
                            // Exact divisions: i and j were chosen so.
                            let from = |at: usize, tap: usize| {
                                ((at + padding) as isize - tap as isize) / stride as isize
                            };
                            let mut rows = [source.zeros.as_ptr(); PIXELS];
                            if source.point(&mut rows[..valid], image, from(y, i), from(x, j), 1) {
                                taps.push(Tap { number: i * g.kw + j, rows });
                            }
                        }
                    }
                    tiles.push(Tile { pixel: row * g.w + x, valid, end: taps.len() });
                }
            }
        }
        (tiles, taps)
    }

    /// Sums one tile and writes its outputs.
    ///
    /// # Safety
    /// As [`accumulate`].
    #[inline(always)]
    unsafe fn tile<L: Lanes, const P: usize, const V: usize>(
        &mut self,
        taps: &[Tap],
        tile: &Tile,
        panel: Panel<'_>,
    ) {
        let Common { kernel, panels, mask, residual, .. } = *self.common;
        let g = &kernel.geometry;
        for first in (0..tile.valid).step_by(P) {
            // SAFETY: the caller's contract.
            let sums = unsafe { accumulate::<L, P, V>(taps, first, panel, panels.channels()) };
            for p in 0..P.min(tile.valid - first) {
                let pixel = tile.pixel + (first + p) * g.stride;
                let in_batch = self.first * g.w + pixel;
                for v in 0..V {
                    let (channel, n) = span(panel, v);
                    // SAFETY: the instruction set is there by the caller's contract.
                    unsafe {
                        let mut value = sums[p][v];
                        if let (Some(mask), Some(slope)) = (mask, kernel.mask) {
                            let bits = read_mask(mask, in_batch, channel, n, g.c_in);
                            value = L::select(bits, value, value.mul(L::splat(slope)));
                        }
                        if let Some(residual) = residual {
                            value = value.add(load(residual, in_batch * g.c_in + channel, n));
                        }
                        store(value, self.gradient_in, pixel * g.c_in + channel, n);
                    }
                }
            }
        }
    }
}

/// The sign bits of `n` channels of a pixel from `channel` on, a multiple of 4.
#[inline(always)]
fn read_mask(mask: &[u32], pixel: usize, channel: usize, n: usize, channels: usize) -> u16 {
    let first = pixel / PIXELS * channels.div_ceil(4) + channel / 4;
    let shift = 4 * (pixel % PIXELS);
    let words = &mask[first..first + n.div_ceil(4)];
    words.iter().enumerate().fold(0, |bits, (quad, word)| bits | ((word >> shift & 15) << (4 * quad)) as u16)
}
