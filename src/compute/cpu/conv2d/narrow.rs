//! The input gradient where all columns of a kernel row, times the input channels, fit in one vector: a
//! network's first layer, whose 3 channels would use 3 lanes of 16.
//!
//! One lane is one `(column j, channel c)`. For each pixel `u` of the gradient's rows, the micro-kernel
//! sums over kernel rows and output channels, `line[u][j, c] = Σ_{i, o} gradient[y + p - i, u, o]
//! transposed[i, j, o, c]`; then `gradient_in[y, x, c] = Σ_j line[x + p - j][j, c]`. With stride 1 only.

use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::cpu::conv2d::parameters::InputGradientData;
use crate::compute::cpu::conv2d::tile::{PIXELS, Sums, Window, load, store};
use crate::compute::cpu::elementwise::sloped;
use crate::compute::cpu::lanes::{Job, LANES, Lanes};
use crate::compute::epilogue::Residual;
use crate::compute::mask::mask_bit;

/// Whether this algorithm is faster for `g`.
pub fn fits(g: &ConvGeometry) -> bool {
    g.stride == 1 && g.kw > 1 && g.kw * g.c_in <= LANES
}

/// `[kh, c_out, kw, c_in]` of `transposed[kh, kw, c_out, c_in]`.
pub fn lane_weights(g: &ConvGeometry, transposed: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(transposed.len());
    for i in 0..g.kh {
        for o in 0..g.c_out {
            for j in 0..g.kw {
                let from = ((i * g.kw + j) * g.c_out + o) * g.c_in;
                out.extend_from_slice(&transposed[from..from + g.c_in]);
            }
        }
    }
    out
}

/// Some whole rows of the input gradient, from row `first` of the batch on.
pub struct Task<'a> {
    /// The tensors that all tasks read; the panels hold [`lane_weights`].
    pub common: &'a InputGradientData<'a>,
    /// The first row.
    pub first: usize,
    /// The rows.
    pub gradient_in: &'a mut [f32],
}

impl Job for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes, const P: usize, const V: usize>(self) {
        let InputGradientData { kernel, panels, source, .. } = self.common;
        let g = &kernel.geometry;
        let panel = panels.iter().next().expect("one panel holds all lanes");
        let mut sums = Sums::new();
        let mut runs = Vec::with_capacity(g.kh);
        // Zeros before and after the line, for taps outside the gradient, and room for a whole vector.
        let margin = g.kw - 1;
        let mut line = vec![0.0; (source.w + 2 * margin + 1) * LANES];
        for (row, out) in self.gradient_in.chunks_exact_mut(g.w * g.c_in).enumerate() {
            let (image, y) = ((self.first + row) / g.h, (self.first + row) % g.h);
            for u in (0..source.w).step_by(PIXELS) {
                let pixels = (source.w - u).min(PIXELS);
                runs.clear();
                for i in 0..g.kh {
                    let y = (y + g.padding) as isize - i as isize;
                    source.push(&mut runs, Window { image, y, x: u as isize, step: 1, pixels }, i, 1);
                }
                // SAFETY: the runs point into the source, and their taps are the panel's; the instruction
                // set is there by the caller's contract.
                unsafe {
                    sums.fill::<L, P, V>(&runs, panel, source.c, pixels);
                    for p in 0..pixels {
                        store(sums.get::<L>(p, 0, 1), &mut line, (margin + u + p) * LANES, LANES);
                    }
                }
            }
            // SAFETY: the instruction set is there by the caller's contract.
            unsafe { combine::<L>(g, &line, out) };
            self.common.finish_row(self.first + row, out);
        }
    }
}

/// `out[x, c] = Σ_j line[x + p - j][j, c]`, where `line` begins with `kw - 1` vectors of zeros and ends with as
/// many and one more.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn combine<L: Lanes>(g: &ConvGeometry, line: &[f32], out: &mut [f32]) {
    for x in 0..g.w {
        // SAFETY: the ranges are checked; the instruction set is there by the caller's contract.
        unsafe {
            let mut sum = L::zero();
            for j in 0..g.kw {
                let u = x + g.padding + g.kw - 1 - j;
                sum = sum.add(load(line, u * LANES + j * g.c_in, LANES));
            }
            store(sum, out, x * g.c_in, g.c_in);
        }
    }
}

impl InputGradientData<'_> {
    /// Applies mask and residual to one row, `row` of the batch.
    #[inline(always)]
    fn finish_row(&self, row: usize, out: &mut [f32]) {
        let g = &self.kernel.geometry;
        let first = row * g.w;
        let add_residual = |out: &mut [f32], when: Residual| {
            if let (Some(residual), true) = (self.residual, self.kernel.residual == when) {
                for (value, residual) in out.iter_mut().zip(&residual[first * g.c_in..]) {
                    *value += residual;
                }
            }
        };
        add_residual(out, Residual::BeforeMask);
        if let (Some(mask), Some(slope)) = (self.mask, self.kernel.mask) {
            for (at, value) in out.iter_mut().enumerate() {
                let (word, bit) = mask_bit(first + at / g.c_in, at % g.c_in, g.c_in);
                if mask[word] >> bit & 1 == 0 {
                    *value = sloped(*value, slope);
                }
            }
        }
        add_residual(out, Residual::AfterMask);
    }
}
