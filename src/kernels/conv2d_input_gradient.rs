//! The convolution's gradient with respect to its input, with a leaky ReLU's gradient and a residual
//! gradient fused behind it.
//!
//! `gradient_in[n, y, x, c] = mask(n, y, x, c) * Σ gradient[n, v, u, o] transposed[i, j, o, c] + residual[n, y, x, c]`
//! over all `(i, j, v, u, o)` with `v s + i - p = y` and `u s + j - p = x`, where `mask` is 1 where its bit is
//! set and `slope` elsewhere.

use super::candidate::{Direction, Shape};
use super::conv_tile::{ScalarTile, Tile};
use super::conv2d::ConvGeometry;
use super::cooperative::Method;
use super::mask::mask_words;
use super::{Access, Binding, Kernel, binding, cpu, grid, shader::Shader};
use crate::kernels::Argument;

/// The input gradient of a convolution of `geometry`.
///
/// Its weights are `transposed[kh, kw, c_out, c_in]`: the forward weights with the two channel axes
/// exchanged (taps are not rotated), made once per optimizer step, so that the loads run along `c_in`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2dInputGradient {
    /// Shapes of the forward convolution.
    pub geometry: ConvGeometry,
    /// Multiplies by a leaky ReLU's derivative: this slope where the mask of the input's tensor has a 0.
    pub mask: Option<f32>,
    /// Adds `residual`, shaped like the input, after the mask.
    pub residual: bool,
    /// How it multiplies.
    pub method: Method,
    /// The tile in f32; `None`: by rule.
    pub tile: Option<ScalarTile>,
}

impl Conv2dInputGradient {
    /// Every permutation, on small shapes.
    pub fn permutations() -> Vec<Self> {
        let mut all = Vec::new();
        for geometry in ConvGeometry::examples() {
            for mask in [None, Some(0.2)] {
                for residual in [false, true] {
                    all.push(Self { geometry, mask, residual, method: Method::Scalar, tile: None });
                }
            }
        }
        let (geometry, mask, method) = (ConvGeometry::tiled(), Some(0.2), Method::Scalar);
        all.extend(ScalarTile::ALL.map(|tile| {
            let tile = Some(tile);
            Self { geometry, mask, residual: true, method, tile }
        }));
        all
    }

    /// Sets the switches of the epilogue.
    pub(super) fn switches(&self, shader: Shader) -> Shader {
        shader.with_switch("MASK", self.mask.is_some()).with_switch("RESIDUAL", self.residual)
    }

    fn tile(&self) -> Tile {
        Tile::gather(self.method, self.geometry.class_pixels(), self.geometry.c_in, self.tile)
    }
}

impl Kernel for Conv2dInputGradient {
    fn name(&self) -> &'static str {
        "conv2d_input_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        let mut bindings = vec![
            binding("gradient", 1, Access::Read, g.output_len()),
            binding("transposed", 2, Access::Read, g.weights_len()),
        ];
        let mut add = |on: bool, b: Binding| bindings.extend(on.then_some(b));
        add(self.mask.is_some(), binding("mask", 3, Access::Read, mask_words(g.in_pixels(), g.c_in)));
        add(self.residual, binding("residual", 4, Access::Read, g.input_len()));
        add(true, binding("gradient_in", 5, Access::Write, g.input_len()));
        bindings
    }

    fn shader(&self) -> Shader {
        let text = include_str!("../../shaders/conv2d_input_gradient.wgsl");
        let shader = self.switches(Shader::new("conv2d_input_gradient", text));
        self.tile().specialize(shader, self.geometry.c_out, self.geometry.c_in)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = self.geometry.words();
        words.extend([self.mask.unwrap_or(1.0).to_bits(), 0, 0, 0]);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        let classes = self.geometry.stride * self.geometry.stride;
        grid(classes * self.tile().count(self.geometry.class_pixels(), self.geometry.c_in))
    }

    fn flops(&self) -> u64 {
        self.geometry.flops()
    }

    fn convolution(&self) -> Option<Shape> {
        Some(Shape { direction: Direction::InputGradient, geometry: self.geometry })
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        self.method.with_operands(arguments, |arguments| cpu::conv2d::input_gradient(self, arguments));
    }
}
