//! The twin of `conv2d`.

use crate::compute::argument::Argument;
use crate::compute::cpu::conv2d::panels::{Panel, Panels};
use crate::compute::cpu::conv2d::parameters::Forward;
use crate::compute::cpu::conv2d::tile::{PIXELS, Run, Source, Sums, Window, load, span, store};
use crate::compute::cpu::lanes::{Isa, Job, LANES, Lanes, sloped};
use rayon::prelude::*;

/// Tiles of one task: enough to outweigh the hand-over to another thread, few enough that their taps'
/// pointers stay in the cache.
const TILES: usize = 16;

/// Runs `kernel` on its arguments.
pub fn forward(kernel: &Forward, arguments: &mut [Argument<'_>]) {
    forward_on(Isa::best(), kernel, arguments);
}

/// [`forward`] with a given instruction set.
pub fn forward_on(isa: Isa, kernel: &Forward, arguments: &mut [Argument<'_>]) {
    let g = &kernel.geometry;
    let mut arguments = arguments.iter_mut();
    let mut next = |bound: bool| bound.then(|| arguments.next().expect("an argument for every binding"));
    let (input, weights) = (next(true), next(true));
    let (bias, residual) = (next(kernel.bias), next(kernel.residual));
    let (raw, activated, mask) = (next(kernel.raw), next(kernel.activated.is_some()), next(kernel.mask));
    let (Some(input), Some(weights)) = (input, weights) else { unreachable!("always bound") };

    let panels = Panels::new(weights.f32(), None, g.c_out, isa.vectors());
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

/// The tensors and settings that all tasks read.
struct Common<'a> {
    kernel: &'a Forward,
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
        let mut runs = Vec::with_capacity(tiles * g.kh * g.kw);
        let mut ends = [0; TILES];
        for (tile, end) in ends[..tiles].iter_mut().enumerate() {
            self.push_runs(tile, &mut runs);
            *end = runs.len();
        }
        let mut sums = Sums::new();
        for panel in self.common.panels.iter() {
            let mut start = 0;
            for (tile, &end) in ends[..tiles].iter().enumerate() {
                let valid = (pixels - tile * PIXELS).min(PIXELS);
                // SAFETY: the runs point into the source or at its zeros, and their taps are the kernel's; the
                // instruction set is there by the caller's contract.
                unsafe {
                    sums.fill::<L, P, V>(&runs[start..end], panel, g.c_in, valid);
                    self.write::<L>(&sums, tile, valid, panel);
                }
                start = end;
            }
        }
    }
}

impl Task<'_> {
    /// Appends the taps of a tile.
    #[inline(always)]
    fn push_runs(&self, tile: usize, runs: &mut Vec<Run>) {
        let Common { kernel, source, .. } = self.common;
        let g = &kernel.geometry;
        let (out_h, out_w) = (g.out_h(), g.out_w());
        let first = self.first + tile * PIXELS;
        let (image, y, x) = (first / out_w / out_h, first / out_w % out_h, first % out_w);
        let window = |image: usize, y: usize, x: usize, pixels: usize, i: usize, j: usize| {
            let at = |v: usize, tap: usize| (v * g.stride + tap) as isize - g.padding as isize;
            Window { image, y: at(y, i), x: at(x, j), step: g.stride, pixels }
        };
        let pixels = (g.out_pixels() - first).min(PIXELS);
        if x + pixels <= out_w {
            for i in 0..g.kh {
                source.push(runs, window(image, y, x, pixels, i, 0), i * g.kw, g.kw);
            }
            return;
        }
        // The tile continues in the next rows, or images.
        for tap in 0..g.kh * g.kw {
            let mut rows = [source.zeros.as_ptr(); PIXELS];
            let mut any = false;
            let (mut image, mut y, mut x, mut k) = (image, y, x, 0);
            while k < pixels {
                let part = (out_w - x).min(pixels - k);
                any |=
                    source.point(&mut rows[k..k + part], window(image, y, x, part, tap / g.kw, tap % g.kw));
                k += part;
                x = 0;
                y += 1;
                if y == out_h {
                    y = 0;
                    image += 1;
                }
            }
            if any {
                runs.push(Run { tap, length: source.c, rows });
            }
        }
    }

    /// Writes the outputs of one tile.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    unsafe fn write<L: Lanes>(&mut self, sums: &Sums, tile: usize, valid: usize, panel: Panel<'_>) {
        let Common { kernel, bias, residual, .. } = *self.common;
        let c_out = kernel.geometry.c_out;
        for v in 0..panel.vectors {
            let (channel, n) = span(panel, v);
            // SAFETY: the instruction set is there by the caller's contract; all ranges are checked.
            unsafe {
                let bias = bias.map_or(L::zero(), |bias| load(bias, channel, n));
                // The signs of each pixel's 16 channels.
                let mut signs = [0u16; PIXELS];
                for (p, signs) in signs[..valid].iter_mut().enumerate() {
                    let at = (tile * PIXELS + p) * c_out + channel;
                    let mut value = sums.get::<L>(p, v, panel.vectors).add(bias);
                    if let Some(residual) = residual {
                        value = value.add(load(residual, self.first * c_out + at, n));
                    }
                    if let Some(raw) = &mut self.raw {
                        store(value, raw, at, n);
                    }
                    let positive = value.positive();
                    if let (Some(activated), Some(slope)) = (&mut self.activated, kernel.activated) {
                        let negative = sloped(value, slope);
                        store(L::select(positive, value, negative), activated, at, n);
                    }
                    *signs = positive;
                }
                if let Some(mask) = &mut self.mask {
                    let first = tile * c_out.div_ceil(4) + channel / 4;
                    write_mask(&mut mask[first..first + n.div_ceil(4)], &signs, n);
                }
            }
        }
    }
}

/// The mask words of 8 pixels from their channels' sign bits, of which `n` exist.
#[inline(always)]
fn write_mask(words: &mut [u32], signs: &[u16; PIXELS], n: usize) {
    let exist = (1u64 << n.min(LANES)) - 1;
    // Four pixels' 16 bits each in one number, then nibble `quad` of each, brought together: the product
    // has nibble k at bit 48 + 4 k, and no two of its parts below overlap.
    let four = |p: usize| (0..4).fold(0, |all, k| all | (u64::from(signs[p + k]) & exist) << (16 * k));
    let gather =
        |nibbles: u64| ((nibbles & 0x000f_000f_000f_000f).wrapping_mul(0x0001_0010_0100_1000) >> 48) as u32;
    let (low, high) = (four(0), four(4));
    for (quad, word) in words.iter_mut().enumerate() {
        *word = gather(low >> (4 * quad)) | gather(high >> (4 * quad)) << 16;
    }
}
