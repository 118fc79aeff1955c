//! Winograd's output transform, with the epilogue of the convolution.

use super::conv2d::Conv2d;
use super::conv2d_input_gradient::Conv2dInputGradient;
use super::winograd_weights::THREADS;
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::conv_geometry::{ConvGeometry, Direction};
use crate::compute::cpu::elementwise::{leaky_relu, sloped};
use crate::compute::epilogue::Residual;
use crate::compute::mask::mask_bit;
use crate::compute::storage::Storages;
use crate::compute::winograd::{Quad, Tiling, Winograd};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `v = A^T product[., ., t, .] A` for each tile `t`, then the epilogue of `convolution`, whose other operands
/// it binds under the same names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WinogradOutput {
    /// The convolution whose output is tiled.
    pub convolution: Convolution,
    /// The size of a tile.
    pub size: Winograd,
}

/// A convolution that Winograd's kernels compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Convolution {
    /// Forward.
    Forward(Conv2d),
    /// Its input gradient.
    InputGradient(Conv2dInputGradient),
}

impl Convolution {
    /// The shapes of the forward convolution.
    pub fn geometry(&self) -> &ConvGeometry {
        match self {
            Self::Forward(kernel) => &kernel.geometry,
            Self::InputGradient(kernel) => &kernel.geometry,
        }
    }

    /// The storage types of its tensors.
    pub fn storage(&self) -> Storages {
        match self {
            Self::Forward(kernel) => kernel.storage,
            Self::InputGradient(kernel) => kernel.storage,
        }
    }

    /// Its direction.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Forward(_) => Direction::Forward,
            Self::InputGradient(_) => Direction::InputGradient,
        }
    }

    /// Pixels and tiles.
    pub fn tiling(&self, size: Winograd) -> Tiling {
        Tiling::new(self.geometry(), size)
    }

    /// Channels of the tensor that it reads and of the one that it computes.
    pub fn channels(&self) -> [usize; 2] {
        let g = self.geometry();
        match self {
            Self::Forward(_) => [g.c_in, g.c_out],
            Self::InputGradient(_) => [g.c_out, g.c_in],
        }
    }

    /// Its kernel.
    fn kernel(&self) -> &dyn Kernel {
        match self {
            Self::Forward(kernel) => kernel,
            Self::InputGradient(kernel) => kernel,
        }
    }

    fn slope(&self) -> f32 {
        match self {
            Self::Forward(kernel) => kernel.activated,
            Self::InputGradient(kernel) => kernel.mask,
        }
        .unwrap_or(1.0)
    }
}

impl WinogradOutput {
    /// Both directions and sizes, with every epilogue that the engine makes for the larger.
    pub fn permutations() -> Vec<Self> {
        let wide = |g: &mut ConvGeometry| {
            (g.n, g.h, g.w, g.c_in, g.c_out, g.stride) = (2, 6, 8, 20, 20, 1);
        };
        let mut all: Vec<Convolution> = Vec::new();
        let in_f32 = |kernel: &Conv2d| kernel.storage == Storages::default();
        for mut kernel in Conv2d::permutations().into_iter().filter(in_f32) {
            wide(&mut kernel.geometry);
            kernel.tile = None;
            all.push(Convolution::Forward(kernel));
        }
        // The update is for images, which have too few channels for Winograd's kernels.
        let fits = |kernel: &Conv2dInputGradient| {
            kernel.update.is_none() && kernel.storage == Storages::default() && kernel.factor == 1.0
        };
        for mut kernel in Conv2dInputGradient::permutations().into_iter().filter(fits) {
            wide(&mut kernel.geometry);
            kernel.tile = None;
            all.push(Convolution::InputGradient(kernel));
        }
        let mut distinct: Vec<Self> = Vec::new();
        for size in Winograd::ALL {
            for &convolution in &all {
                let kernel = Self { convolution, size };
                // The rest of the epilogue's switches do not meet the tile's size.
                let telling = match convolution {
                    Convolution::Forward(kernel) => kernel.bias && kernel.residual && kernel.raw,
                    Convolution::InputGradient(kernel) => kernel.residual != Residual::None,
                };
                if (telling || size == Winograd::F4) && !distinct.contains(&kernel) {
                    distinct.push(kernel);
                }
            }
        }
        distinct
    }

    fn tiling(&self) -> Tiling {
        self.convolution.tiling(self.size)
    }

    fn channels(&self) -> usize {
        self.convolution.channels()[1]
    }

    /// The tiles' outputs as an image `[n, h, w, channels]`: what the epilogue reads.
    fn untransformed(&self, product: &[f32]) -> Vec<f32> {
        let Tiling { h, w, size, .. } = self.tiling();
        let (rows, columns, quads) = (self.tiling().rows(), self.tiling().columns(), self.channels() / 4);
        let (product, _) = product.as_chunks::<4>();
        let pitch = self.tiling().tiles() * quads;
        let m = size.outputs();
        let mut values = vec![0.0; self.tiling().pixels() * self.channels()];
        values.par_chunks_mut(h * w * self.channels()).enumerate().for_each(|(image, values)| {
            let (values, _) = values.as_chunks_mut::<4>();
            let (mut points, mut tile) = (vec![Quad::default(); size.points()], vec![Quad::default(); m * m]);
            for index in 0..rows * columns * quads {
                let at = image * rows * columns * quads + index;
                for (point, value) in points.iter_mut().enumerate() {
                    *value = product[point * pitch + at];
                }
                size.output(&points, &mut tile);
                let (tile_y, tile_x) = (index / quads / columns * m, index / quads % columns * m);
                for (i, row) in tile.chunks_exact(m).enumerate().take(h - tile_y) {
                    for (j, value) in row.iter().enumerate() {
                        values[((tile_y + i) * w + tile_x + j) * quads + index % quads] = *value;
                    }
                }
            }
        });
        values
    }
}

impl Kernel for WinogradOutput {
    fn name(&self) -> &'static str {
        "winograd_output"
    }

    fn bindings(&self) -> Vec<Binding> {
        let product = self.tiling().transformed_len(self.channels());
        // The bindings after the convolution's input and weights.
        let epilogue = self.convolution.kernel().bindings().into_iter().skip(2);
        std::iter::once(binding("product", 1, Access::Read, product)).chain(epilogue).collect()
    }

    fn shader(&self) -> Shader {
        let shader = Shader::new("winograd_output").with_switch("F4", self.size == Winograd::F4);
        match &self.convolution {
            Convolution::Forward(kernel) => kernel.switches(shader),
            Convolution::InputGradient(kernel) => kernel.switches(shader).with_switch("GRADIENT", true),
        }
    }

    fn uniforms(&self) -> Vec<u32> {
        self.tiling().words(self.channels(), self.convolution.slope().to_bits())
    }

    fn workgroups(&self) -> [u32; 3] {
        let tiling = self.tiling();
        grid((tiling.n * tiling.rows() * tiling.w / 8 * self.channels() / 4).div_ceil(THREADS))
    }

    fn flops(&self) -> u64 {
        (self.size.output_flops() * self.tiling().tiles() * self.channels()) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [product, operands @ ..] = arguments else { unreachable!("winograd_output binds its product") };
        let values = self.untransformed(product.f32());
        match &self.convolution {
            Convolution::Forward(kernel) => forward(kernel, &values, operands),
            Convolution::InputGradient(kernel) => input_gradient(kernel, &values, operands),
        }
    }
}

/// The epilogue of `conv2d`.
fn forward(kernel: &Conv2d, values: &[f32], operands: &mut [Argument<'_>]) {
    let channels = kernel.geometry.c_out;
    let mut operands = operands.iter_mut();
    let mut next = |bound: bool| bound.then(|| operands.next().expect("an argument for every binding"));
    let (bias, residual) = (next(kernel.bias), next(kernel.residual));
    let (mut raw, mut activated) = (next(kernel.raw), next(kernel.activated.is_some()));
    let mut mask = next(kernel.mask);
    if let Some(mask) = &mut mask {
        mask.u32_mut().fill(0);
    }
    for (at, &sum) in values.iter().enumerate() {
        let mut v = sum;
        v += bias.as_ref().map_or(0.0, |bias| bias.f32()[at % channels]);
        v += residual.as_ref().map_or(0.0, |residual| residual.f32()[at]);
        if let Some(raw) = &mut raw {
            raw.f32_mut()[at] = v;
        }
        if let (Some(activated), Some(slope)) = (&mut activated, kernel.activated) {
            activated.f32_mut()[at] = leaky_relu(v, slope);
        }
        if let Some(mask) = mask.as_mut().filter(|_| v > 0.0) {
            let (word, bit) = mask_bit(at / channels, at % channels, channels);
            mask.u32_mut()[word] |= 1 << bit;
        }
    }
}

/// The epilogue of `conv2d_input_gradient`.
fn input_gradient(kernel: &Conv2dInputGradient, values: &[f32], operands: &mut [Argument<'_>]) {
    let channels = kernel.geometry.c_in;
    let Some((gradient_in, operands)) = operands.split_last_mut() else {
        unreachable!("it writes its result")
    };
    let mut operands = operands.iter();
    let mask = kernel.mask.and_then(|slope| Some((operands.next()?.u32(), slope)));
    let added = kernel.residual != Residual::None;
    let residual = added.then(|| operands.next().expect("an argument for every binding").f32());
    for (at, (v, &sum)) in gradient_in.f32_mut().iter_mut().zip(values).enumerate() {
        let masked = |v: f32| match mask {
            Some((mask, slope)) => {
                let (word, bit) = mask_bit(at / channels, at % channels, channels);
                if mask[word] >> bit & 1 == 1 { v } else { sloped(v, slope) }
            }
            None => v,
        };
        let residual = residual.map_or(0.0, |residual| residual[at]);
        *v = match kernel.residual {
            Residual::BeforeMask => masked(sum + residual),
            _ => masked(sum) + residual,
        };
    }
}
