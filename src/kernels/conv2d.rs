//! Convolution (cross-correlation, as in every network library), with bias, residual, leaky ReLU and its sign mask
//! fused to it.
//!
//! `v[n, y, x, o] = Σ_{i, j, c} input[n, y s + i - p, x s + j - p, c] weights[i, j, c, o]`
//! `+ bias[o] + residual[n, y, x, o]`

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::conv_tile::{ConvTile, ScalarTile, WorkgroupTile};
use crate::compute::cooperative::Method;
use crate::compute::cpu::conv2d::forward;
use crate::compute::cpu::conv2d::parameters::Forward;
use crate::compute::half::in_f32;
use crate::compute::mask::mask_words;
use crate::compute::storage::{Storage, Storages};
use crate::compute::{Access, Binding, Kernel, binding, grid};

/// The convolution with its epilogue. At least one of `raw` and `activated` is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2d {
    /// Shapes.
    pub geometry: ConvGeometry,
    /// Adds `bias[c_out]`.
    pub bias: bool,
    /// Adds `residual`, shaped like the output.
    pub residual: bool,
    /// Writes `v` itself.
    pub raw: bool,
    /// Writes `leaky_relu(v)` with this slope.
    pub activated: Option<f32>,
    /// Writes the sign mask of `v` (layout: [`crate::compute::mask`]).
    pub mask: bool,
    /// The arithmetic: f32 or cooperative matrices.
    pub method: Method,
    /// The storage types of input, weights, and residual and results. [`Storages::fit`] says where f16 is possible.
    pub storage: Storages,
    /// The tile; the rule's if this is `None` or not a tile of the method.
    pub tile: Option<ConvTile>,
}

impl Conv2d {
    /// Writes the sums alone, all in f32.
    pub fn new(geometry: ConvGeometry) -> Self {
        Self {
            geometry,
            bias: false,
            residual: false,
            raw: true,
            activated: None,
            mask: false,
            method: Method::Scalar,
            storage: Storages::default(),
            tile: None,
        }
    }

    /// Every permutation of the epilogue that the engine makes, on small shapes.
    pub fn permutations() -> Vec<Self> {
        let mut all = Vec::new();
        for (i, geometry) in ConvGeometry::examples().into_iter().enumerate() {
            for bias in [false, true] {
                for residual in [false, true] {
                    for (raw, activated, mask) in [
                        (true, None, false),
                        (true, None, true),
                        (false, Some(0.2), true),
                        (false, Some(0.2), false),
                        (true, Some(0.2), true),
                        (true, Some(0.2), false),
                    ] {
                        // Each costs a pipeline: the other shapes differ in their loops, not in this.
                        if i < 2 || (bias && residual && mask) {
                            let plain = Self::new(geometry);
                            all.push(Self { bias, residual, raw, activated, mask, ..plain });
                        }
                    }
                }
            }
            // The epilogue's texts in f16 differ in nothing else.
            let kernel =
                Self { bias: true, residual: true, activated: Some(0.2), mask: true, ..Self::new(geometry) };
            for storage in Storages::examples() {
                let fits = storage.fit(geometry.c_in, geometry.c_out);
                all.extend(fits.then_some(Self { storage, ..kernel }));
            }
        }
        let geometry = ConvGeometry::tiled();
        let kernel = Self { raw: false, activated: Some(0.2), mask: true, ..Self::new(geometry) };
        let kernel = Self { bias: true, residual: true, ..kernel };
        all.extend(ScalarTile::ALL.map(|tile| Self { tile: Some(tile.into()), ..kernel }));
        let ahead = ScalarTile::ALL.into_iter().filter(|tile| tile.is_ahead());
        all.extend(ahead.map(|tile| Self { tile: Some(tile.into()), storage: Storages::F16, ..kernel }));
        all
    }

    /// Sets the switches of the epilogue.
    pub(super) fn switches(&self, shader: Shader) -> Shader {
        shader
            .with_switch("BIAS", self.bias)
            .with_switch("RESIDUAL", self.residual)
            .with_switch("RAW", self.raw)
            .with_switch("ACTIVATED", self.activated.is_some())
            .with_switch("RELU", self.activated == Some(0.0))
            .with_switch("MASK", self.mask)
            .with_switch("HALF_C", self.storage.c == Storage::F16)
    }

    fn tile(&self) -> WorkgroupTile {
        WorkgroupTile::gather(self.method, self.geometry.out_pixels(), self.geometry.c_out, self.tile)
    }

    /// The settings that the twin depends on.
    pub(crate) fn twin(&self) -> Forward {
        let Self { geometry, bias, residual, raw, activated, mask, .. } = *self;
        Forward { geometry, bias, residual, raw, activated, mask }
    }
}

impl Kernel for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        let mut bindings = vec![
            binding("input", 1, Access::Read, g.input_len()).stored(self.storage.a),
            binding("weights", 2, Access::Read, g.weights_len()).stored(self.storage.b),
        ];
        let mut add = |on: bool, b: Binding| bindings.extend(on.then_some(b));
        add(self.bias, binding("bias", 3, Access::Read, g.c_out));
        let c = |binding: Binding| binding.stored(self.storage.c);
        add(self.residual, c(binding("residual", 4, Access::Read, g.output_len())));
        add(self.raw, c(binding("raw", 5, Access::Write, g.output_len())));
        add(self.activated.is_some(), c(binding("activated", 6, Access::Write, g.output_len())));
        add(self.mask, binding("mask", 7, Access::Write, mask_words(g.out_pixels(), g.c_out)));
        bindings
    }

    fn shader(&self) -> Shader {
        let shader = self.switches(Shader::new("conv2d"));
        let shader = self.storage.specialize(shader);
        self.tile().specialize(shader, self.geometry.c_in, self.geometry.c_out)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = self.geometry.words();
        words.extend([self.activated.unwrap_or(1.0).to_bits(), 0, 0, 0]);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.tile().count(self.geometry.out_pixels(), self.geometry.c_out))
    }

    fn flops(&self) -> u64 {
        self.geometry.flops()
    }

    fn convolution(&self) -> Option<ConvProblem> {
        Some(ConvProblem { direction: Direction::Forward, geometry: self.geometry, storage: self.storage })
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            self.method.with_operands(arguments, |arguments| forward(&self.twin(), arguments));
        });
    }
}
