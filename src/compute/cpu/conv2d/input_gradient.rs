//! The twin of `conv2d_input_gradient`.
//!
//! With stride `s`, the input pixels of one row whose columns are equal modulo `s` see the same taps: each
//! such class is a convolution of its own, without the multiplications by zeros of a dilated gradient.

use crate::compute::argument::Argument;
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::cpu::conv2d::narrow;
use crate::compute::cpu::conv2d::panels::{Panel, Panels};
use crate::compute::cpu::conv2d::parameters::{InputGradient, InputGradientData};
use crate::compute::cpu::conv2d::tile::{PIXELS, Run, Source, Sums, Window, load, span, store};
use crate::compute::cpu::lanes::{Isa, Job, Lanes, sloped};
use crate::compute::epilogue::Residual;
use rayon::prelude::*;

/// Input pixels of one task, about.
const TASK_PIXELS: usize = 128;

/// Runs `kernel` on its arguments.
pub fn input_gradient(kernel: &InputGradient, arguments: &mut [Argument<'_>]) {
    input_gradient_on(Isa::best(), kernel, arguments);
}

/// [`input_gradient`] with a given instruction set.
pub fn input_gradient_on(isa: Isa, kernel: &InputGradient, arguments: &mut [Argument<'_>]) {
    let g = &kernel.geometry;
    let mut arguments = arguments.iter_mut();
    let mut next = |bound: bool| bound.then(|| arguments.next().expect("an argument for every binding"));
    let (gradient, transposed) = (next(true), next(true));
    let (mask, residual) = (next(kernel.mask.is_some()), next(kernel.residual != Residual::None));
    let gradient_in = next(true);
    let (Some(gradient), Some(transposed), Some(gradient_in)) = (gradient, transposed, gradient_in) else {
        unreachable!("always bound")
    };

    let is_narrow = narrow::fits(g);
    let lane_weights = is_narrow.then(|| narrow::lane_weights(g, transposed.f32()));
    let panels = match &lane_weights {
        Some(weights) => Panels::new(weights, None, g.kw * g.c_in, 1),
        None => Panels::new(transposed.f32(), Some(&tap_order(g)), g.c_in, isa.vectors()),
    };
    let zeros = vec![0.0; g.c_out];
    let common = InputGradientData {
        kernel,
        panels: &panels,
        source: Source { data: gradient.f32(), h: g.out_h(), w: g.out_w(), c: g.c_out, zeros: &zeros },
        mask: mask.as_ref().map(|a| a.u32()),
        residual: residual.as_ref().map(|a| a.f32()),
    };
    let rows = TASK_PIXELS.div_ceil(g.w);
    gradient_in.f32_mut().par_chunks_mut(rows * g.w * g.c_in).enumerate().for_each(|(index, gradient_in)| {
        let first = index * rows;
        if is_narrow {
            isa.run(narrow::Task { common: &common, first, gradient_in });
        } else {
            isa.run(Task { common: &common, first, gradient_in });
        }
    });
}

/// Some whole rows of the input gradient, from row `first` of the batch on.
struct Task<'a> {
    common: &'a InputGradientData<'a>,
    first: usize,
    gradient_in: &'a mut [f32],
}

/// Up to 8 input pixels of one row, `stride` apart.
struct Tile {
    /// The first pixel, counted from the task's first.
    pixel: usize,
    /// The number of pixels.
    pixels: usize,
    /// The end of its taps in the task's list; they begin where the last tile's ended.
    end: usize,
}

impl Job for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes, const P: usize, const V: usize>(mut self) {
        let (tiles, runs) = self.tiles();
        let channels = self.common.kernel.geometry.c_out;
        let mut sums = Sums::new();
        for panel in self.common.panels.iter() {
            let mut start = 0;
            for tile in &tiles {
                // SAFETY: the runs point into the source or at its zeros, and their taps are the kernel's; the
                // instruction set is there by the caller's contract.
                unsafe {
                    sums.fill::<L, P, V>(&runs[start..tile.end], panel, channels, tile.pixels);
                    self.write::<L>(&sums, tile, panel);
                }
                start = tile.end;
            }
        }
    }
}

impl Task<'_> {
    /// The task's tiles and their taps.
    #[inline(always)]
    fn tiles(&self) -> (Vec<Tile>, Vec<Run>) {
        let InputGradientData { kernel, source, .. } = self.common;
        let g = &kernel.geometry;
        let (stride, padding) = (g.stride, g.padding);
        let rows = self.gradient_in.len() / (g.w * g.c_in);
        let mut tiles = Vec::with_capacity(rows * (g.w.div_ceil(PIXELS) + stride));
        let mut runs = Vec::with_capacity(rows * g.w.div_ceil(PIXELS) * g.kh * g.kw);
        for row in 0..rows {
            let (image, y) = ((self.first + row) / g.h, (self.first + row) % g.h);
            for class in 0..stride.min(g.w) {
                let (first, taps) = class_taps(g, (class + padding) % stride);
                for x in (class..g.w).step_by(stride * PIXELS) {
                    let pixels = (g.w - x).div_ceil(stride).min(PIXELS);
                    // Exact divisions: these taps were chosen so.
                    let from =
                        |at: usize, tap: usize| ((at + padding) as isize - tap as isize) / stride as isize;
                    for i in ((y + padding) % stride..g.kh).step_by(stride) {
                        if taps > 0 {
                            let last = (class + padding) % stride + (taps - 1) * stride;
                            let window = Window { image, y: from(y, i), x: from(x, last), step: 1, pixels };
                            source.push(&mut runs, window, i * g.kw + first, taps);
                        }
                    }
                    tiles.push(Tile { pixel: row * g.w + x, pixels, end: runs.len() });
                }
            }
        }
        (tiles, runs)
    }

    /// Writes the outputs of one tile.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    unsafe fn write<L: Lanes>(&mut self, sums: &Sums, tile: &Tile, panel: Panel<'_>) {
        let InputGradientData { kernel, mask, residual, .. } = *self.common;
        let g = &kernel.geometry;
        for v in 0..panel.vectors {
            let (channel, n) = span(panel, v);
            for p in 0..tile.pixels {
                let pixel = tile.pixel + p * g.stride;
                let in_batch = self.first * g.w + pixel;
                // SAFETY: the instruction set is there by the caller's contract; all ranges are checked.
                unsafe {
                    let mut value = sums.get::<L>(p, v, panel.vectors);
                    let residual =
                        residual.map(|residual| load::<L>(residual, in_batch * g.c_in + channel, n));
                    if let (Some(residual), Residual::BeforeMask) = (residual, kernel.residual) {
                        value = value.add(residual);
                    }
                    if let (Some(mask), Some(slope)) = (mask, kernel.mask) {
                        let bits = read_mask(mask, in_batch, channel, n, g.c_in);
                        value = L::select(bits, value, sloped(value, slope));
                    }
                    if let (Some(residual), Residual::AfterMask) = (residual, kernel.residual) {
                        value = value.add(residual);
                    }
                    store(value, self.gradient_in, pixel * g.c_in + channel, n);
                }
            }
        }
    }
}

/// The order in which the panels hold the taps: in each kernel row class by class (columns equal modulo the
/// stride), the last column first, as the gradient's columns that they read then ascend.
fn tap_order(g: &ConvGeometry) -> Vec<usize> {
    let columns: Vec<_> = (0..g.stride)
        .flat_map(|class| (class..g.kw).step_by(g.stride).collect::<Vec<_>>().into_iter().rev())
        .collect();
    (0..g.kh).flat_map(|i| columns.iter().map(move |j| i * g.kw + j)).collect()
}

/// The place of a class's first tap in a kernel row of [`tap_order`], and how many it has.
fn class_taps(g: &ConvGeometry, class: usize) -> (usize, usize) {
    let taps = |class: usize| g.kw.saturating_sub(class).div_ceil(g.stride);
    ((0..class).map(taps).sum(), taps(class))
}

/// The sign bits of `n` channels of a pixel from `channel` on, a multiple of 4.
#[inline(always)]
fn read_mask(mask: &[u32], pixel: usize, channel: usize, n: usize, channels: usize) -> u16 {
    let first = pixel / PIXELS * channels.div_ceil(4) + channel / 4;
    let shift = 4 * (pixel % PIXELS);
    let words = &mask[first..first + n.div_ceil(4)];
    words.iter().enumerate().fold(0, |bits, (quad, word)| bits | ((word >> shift & 15) << (4 * quad)) as u16)
}
