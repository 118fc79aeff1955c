//! The twin of `conv2d`.

use super::panels::{Panel, Panels};
use super::tile::{PIXELS, Source, Tap, accumulate, load, span, store};
use crate::device::cpu::Argument;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::cpu::lanes::{Isa, Job, LANES, Lanes};
use rayon::prelude::*;

/// Tiles of one task: enough to outweigh the hand-over to another thread, few enough that their taps'
/// pointers stay in the cache.
const TILES: usize = 16;

/// Runs `kernel` on its arguments.
pub fn forward(kernel: &Conv2d, arguments: &mut [Argument<'_>]) {
    forward_on(Isa::best(), kernel, arguments);
}

/// [`forward`] with a given instruction set.
pub fn forward_on(isa: Isa, kernel: &Conv2d, arguments: &mut [Argument<'_>]) {
    let g = &kernel.geometry;
    let mut arguments = arguments.iter_mut();
    let mut next = |bound: bool| bound.then(|| arguments.next().expect("an argument for every binding"));
    let (input, weights) = (next(true), next(true));
    let (bias, residual) = (next(kernel.bias), next(kernel.residual));
    let (raw, activated, mask) = (next(kernel.raw), next(kernel.activated.is_some()), next(kernel.mask));
    let (Some(input), Some(weights)) = (input, weights) else { unreachable!("always bound") };

    let panels = Panels::new(weights.f32(), g.c_in, g.c_out, isa.vectors());
    let zeros = vec![0.0; g.c_in];
    let common = Common {
        kernel,
        panels: &panels,
        source: Source { data: input.f32(), h: g.h, w: g.w, c: g.c_in, zeros: &zeros },
        bias: bias.as_ref().map(|a| a.f32()),
        residual: residual.as_ref().map(|a| a.f32()),
    };
    let (mut raw, mut activated) =
        (chunks(raw, TILES * PIXELS * g.c_out), chunks(activated, TILES * PIXELS * g.c_out));
    let mut mask = mask.map(|a| a.u32_mut().chunks_mut(TILES * g.c_out.div_ceil(4)));
    let task = |index: usize| Task {
        common: &common,
        first: index * TILES * PIXELS,
        raw: raw.as_mut().and_then(Iterator::next),
        activated: activated.as_mut().and_then(Iterator::next),
        mask: mask.as_mut().and_then(Iterator::next),
    };
    let tasks: Vec<_> = (0..g.out_pixels().div_ceil(TILES * PIXELS)).map(task).collect();
    tasks.into_par_iter().for_each(|task| isa.run(task));
}

fn chunks<'a>(argument: Option<&'a mut Argument<'_>>, len: usize) -> Option<std::slice::ChunksMut<'a, f32>> {
    argument.map(|a| a.f32_mut().chunks_mut(len))
}

/// What all tasks read.
struct Common<'a> {
    kernel: &'a Conv2d,
    panels: &'a Panels<'a>,
    source: Source<'a>,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
}

/// Up to [`TILES`] tiles of output pixels from `first` on, and the outputs' parts for them.
struct Task<'a> {
    common: &'a Common<'a>,
    first: usize,
    raw: Option<&'a mut [f32]>,
    activated: Option<&'a mut [f32]>,
    mask: Option<&'a mut [u32]>,
}

impl Job for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes, const P: usize, const V: usize>(mut self) {
        let g = &self.common.kernel.geometry;
        let pixels = (g.out_pixels() - self.first).min(TILES * PIXELS);
        let tiles = pixels.div_ceil(PIXELS);
        let mut taps = Vec::with_capacity(tiles * g.kh * g.kw);
        let mut ends = [0; TILES];
        for tile in 0..tiles {
            self.push_taps(tile, &mut taps);
            ends[tile] = taps.len();
        }
        for panel in self.common.panels.iter() {
            let mut start = 0;
            for (tile, &end) in ends[..tiles].iter().enumerate() {
                let valid = (pixels - tile * PIXELS).min(PIXELS);
                // SAFETY: the taps point into the source or at its zeros; the instruction set is there
                // by the caller's contract.
                unsafe {
                    if panel.vectors == V {
                        self.tile::<L, P, V>(&taps[start..end], tile, valid, panel);
                    } else {
                        self.tile::<L, P, 1>(&taps[start..end], tile, valid, panel);
                    }
                }
                start = end;
            }
        }
    }
}

impl Task<'_> {
    /// Appends the taps of a tile, less those that lie outside the image for all of its pixels.
    #[inline(always)]
    fn push_taps(&self, tile: usize, taps: &mut Vec<Tap>) {
        let Common { kernel, source, .. } = self.common;
        let g = &kernel.geometry;
        let (out_h, out_w, stride, padding) = (g.out_h(), g.out_w(), g.stride, g.padding as isize);
        let first = self.first + tile * PIXELS;
        let (image, y, x) = (first / (out_w * out_h), first / out_w % out_h, first % out_w);
        for i in 0..g.kh {
            for j in 0..g.kw {
                let mut rows = [source.zeros.as_ptr(); PIXELS];
                let mut any = false;
                // A tile may go on in the next rows, or images.
                let (mut image, mut y, mut x, mut k) = (image, y, x, 0);
                while k < PIXELS && image < g.n {
                    let run = (out_w - x).min(PIXELS - k);
                    let at = |v: usize, tap: usize| (v * stride + tap) as isize - padding;
                    any |= source.point(&mut rows[k..k + run], image, at(y, i), at(x, j), stride);
                    k += run;
                    x = 0;
                    y += 1;
                    if y == out_h {
                        y = 0;
                        image += 1;
                    }
                }
                if any {
                    taps.push(Tap { number: i * g.kw + j, rows });
                }
            }
        }
    }

    /// Sums one tile and writes its outputs.
    ///
    /// # Safety
    /// As [`accumulate`].
    #[inline(always)]
    unsafe fn tile<L: Lanes, const P: usize, const V: usize>(
        &mut self,
        taps: &[Tap],
        tile: usize,
        valid: usize,
        panel: Panel<'_>,
    ) {
        let Common { kernel, panels, bias, residual, .. } = *self.common;
        let c_out = kernel.geometry.c_out;
        // The signs of pixel p's 16 channels.
        let mut signs = [[0u16; PIXELS]; V];
        for first in (0..PIXELS).step_by(P) {
            // SAFETY: the caller's contract.
            let sums = unsafe { accumulate::<L, P, V>(taps, first, panel, panels.channels()) };
            for p in 0..P.min(valid.saturating_sub(first)) {
                let pixel = tile * PIXELS + first + p;
                for v in 0..V {
                    let (channel, n) = span(panel, v);
                    let at = pixel * c_out + channel;
                    // SAFETY: the instruction set is there by the caller's contract.
                    unsafe {
                        let mut value = sums[p][v];
                        if let Some(bias) = bias {
                            value = value.add(load(bias, channel, n));
                        }
                        if let Some(residual) = residual {
                            value = value.add(load(residual, self.first * c_out + at, n));
                        }
                        if let Some(raw) = &mut self.raw {
                            store(value, raw, at, n);
                        }
                        let positive = value.positive();
                        if let (Some(activated), Some(slope)) = (&mut self.activated, kernel.activated) {
                            let negative = value.mul(L::splat(slope));
                            store(L::select(positive, value, negative), activated, at, n);
                        }
                        signs[v][first + p] = positive;
                    }
                }
            }
        }
        if let Some(mask) = &mut self.mask {
            for (v, signs) in signs.iter().enumerate() {
                let (channel, n) = span(panel, v);
                let words = &mut mask[tile * c_out.div_ceil(4) + channel / 4..][..n.div_ceil(4)];
                write_mask(words, signs, n);
            }
        }
    }
}

/// The mask words of 8 pixels from their channels' sign bits, of which `n` exist.
#[inline(always)]
fn write_mask(words: &mut [u32], signs: &[u16; PIXELS], n: usize) {
    let exist = (1u32 << n.min(LANES)) - 1;
    for (quad, word) in words.iter_mut().enumerate() {
        *word = (0..PIXELS)
            .fold(0, |word, p| word | (((u32::from(signs[p]) & exist) >> (4 * quad)) & 15) << (4 * p));
    }
}
