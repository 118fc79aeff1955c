//! Winograd's transform of the pixels that a 3x3 convolution reads.

use super::winograd_weights::THREADS;
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::winograd::{Quad, Tiling, Winograd};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `transformed[i, j, t, c] = (B^T d_t B)[i, j]` of `input [n, h, w, channels]`, where `d_t` are the pixels
/// under tile `t` of the output and around it, zeros outside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WinogradInput {
    /// Pixels and tiles.
    pub tiling: Tiling,
    /// Channels; a multiple of 4.
    pub channels: usize,
}

impl WinogradInput {
    /// Both sizes, with a last row of tiles that is whole and one that is not.
    pub fn permutations() -> Vec<Self> {
        let with = |size| [8, 7].map(|h| Self { tiling: Tiling { n: 2, h, w: 8, size }, channels: 20 });
        Winograd::ALL.into_iter().flat_map(with).collect()
    }
}

impl Kernel for WinogradInput {
    fn name(&self) -> &'static str {
        "winograd_input"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("input", 1, Access::Read, self.tiling.pixels() * self.channels),
            binding("transformed", 2, Access::Write, self.tiling.transformed_len(self.channels)),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("winograd_input").with_switch("F4", self.tiling.size == Winograd::F4)
    }

    fn uniforms(&self) -> Vec<u32> {
        self.tiling.words(self.channels, 0)
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.tiling.tiles() * self.channels / 4).div_ceil(THREADS))
    }

    fn flops(&self) -> u64 {
        (self.tiling.size.input_flops() * self.tiling.tiles() * self.channels) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [input, transformed] = arguments else { unreachable!("winograd_input binds two") };
        let Tiling { h, w, size, .. } = self.tiling;
        let (rows, columns, quads) = (self.tiling.rows(), self.tiling.columns(), self.channels / 4);
        let (input, _) = input.f32().as_chunks::<4>();
        let (transformed, _) = transformed.f32_mut().as_chunks_mut::<4>();
        // A task takes a row of tiles: its part of every point.
        let points = transformed.chunks_mut(self.tiling.tiles() * quads);
        let mut points: Vec<_> = points.map(|point| point.chunks_mut(columns * quads)).collect();
        let bands = self.tiling.n * rows;
        let tasks: Vec<Vec<&mut [Quad]>> =
            (0..bands).map(|_| points.iter_mut().filter_map(Iterator::next).collect()).collect();
        let t = size.inputs();
        tasks.into_par_iter().enumerate().for_each(|(band, mut points)| {
            let (image, y) = (band / rows, band % rows * size.outputs());
            let (mut d, mut tile) = (vec![Quad::default(); t * t], vec![Quad::default(); t * t]);
            for column in 0..columns {
                for quad in 0..quads {
                    for (at, value) in d.iter_mut().enumerate() {
                        // Both counted from one before the tile.
                        let (y, x) = (y + at / t, column * size.outputs() + at % t);
                        let inside = (1..=h).contains(&y) && (1..=w).contains(&x);
                        let pixel = || (image * h + y - 1) * w + x - 1;
                        *value = if inside { input[pixel() * quads + quad] } else { Quad::default() };
                    }
                    size.input(&d, &mut tile);
                    for (point, value) in points.iter_mut().zip(&tile) {
                        point[column * quads + quad] = *value;
                    }
                }
            }
        });
    }
}
