//! The convolution's gradient with respect to its input, with a leaky ReLU's gradient, a residual gradient and the SGLD
//! update of that input fused to it.
//!
//! `gradient_in[n, y, x, c] = mask(n, y, x, c) * Σ gradient[n, v, u, o] transposed[i, j, o, c] + residual[n, y, x, c]`
//! over all `(i, j, v, u, o)` with `v s + i - p = y` and `u s + j - p = x`, where `mask` is 1 where its bit is
//! set and `slope` elsewhere. With [`Residual::BeforeMask`] it multiplies the sum of both.

use super::sgld::Sgld;
use super::tick::COUNTERS;
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::conv_tile::{ConvTile, ScalarTile, WorkgroupTile};
use crate::compute::cooperative::Method;
use crate::compute::cpu::conv2d::input_gradient;
use crate::compute::cpu::conv2d::parameters::InputGradient;
use crate::compute::epilogue::Residual;
use crate::compute::half::{in_f32, scaled};
use crate::compute::mask::mask_words;
use crate::compute::storage::{Storage, Storages};
use crate::compute::{Access, Binding, Kernel, binding, grid};

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
    /// Adds `residual`, shaped like the input.
    pub residual: Residual,
    /// Also moves the input `x` along the gradient by this update. The gradient is still written, in f32.
    pub update: Option<Sgld>,
    /// The arithmetic: f32 or cooperative matrices.
    pub method: Method,
    /// The storage types of gradient, weights, and residual and result. [`Storages::fit`] says where f16 is possible.
    pub storage: Storages,
    /// A power of two that multiplies the sums before all else: the inverse of the factor in `gradient`.
    pub factor: f32,
    /// The tile; the rule's if this is `None` or not a tile of the method.
    pub tile: Option<ConvTile>,
}

impl Conv2dInputGradient {
    /// The gradient alone, in f32.
    pub fn new(geometry: ConvGeometry) -> Self {
        Self {
            geometry,
            mask: None,
            residual: Residual::None,
            update: None,
            method: Method::Scalar,
            storage: Storages::default(),
            factor: 1.0,
            tile: None,
        }
    }

    /// Every permutation of mask and residual on small shapes, and every one of the update.
    pub fn permutations() -> Vec<Self> {
        let mut all = Vec::new();
        for (i, geometry) in ConvGeometry::examples().into_iter().enumerate() {
            let plain = Self::new(geometry);
            for mask in [None, Some(0.2)] {
                for residual in [Residual::None, Residual::AfterMask] {
                    all.push(Self { mask, residual, ..plain });
                }
            }
            all.push(Self { mask: Some(0.2), residual: Residual::BeforeMask, ..plain });
            // Each costs a pipeline: the shapes differ in whether the update's elements come one by one or four at a
            // time.
            for update in Sgld::permutations() {
                let update = Some(Sgld { n: geometry.input_len(), ..update });
                all.extend((i < 2).then_some(Self { update, ..plain }));
            }
            let update = Some(Sgld { n: geometry.input_len(), ..Sgld::everything() });
            let masked = Self { mask: Some(0.2), residual: Residual::AfterMask, ..plain };
            all.push(Self { update, ..masked });
            // The update's shader is the same on both sides of f16.
            for storage in Storages::examples() {
                let fits = storage.fit(geometry.c_out, geometry.c_in);
                all.extend(fits.then_some(Self { storage, ..masked }));
            }
            // The end of a backward pass in f16: images are f32.
            let storage = Storages { a: Storage::F16, ..Storages::default() };
            let fits = storage.fit(geometry.c_out, geometry.c_in);
            all.extend(fits.then_some(Self { storage, factor: 0.125, update, ..plain }));
        }
        let tiled = Self::new(ConvGeometry::tiled());
        let kernel = Self { mask: Some(0.2), residual: Residual::AfterMask, ..tiled };
        all.extend(ScalarTile::ALL.map(|tile| Self { tile: Some(tile.into()), ..kernel }));
        let ahead = ScalarTile::ALL.into_iter().filter(|tile| tile.is_ahead());
        all.extend(ahead.map(|tile| Self { tile: Some(tile.into()), storage: Storages::F16, ..kernel }));
        all
    }

    /// Sets the switches of the epilogue.
    pub(super) fn switches(&self, shader: Shader) -> Shader {
        let shader = shader
            .with_switch("MASK", self.mask.is_some())
            .with_switch("RELU", self.mask == Some(0.0))
            .with_switch("RESIDUAL_BEFORE", self.residual == Residual::BeforeMask)
            .with_switch("RESIDUAL_AFTER", self.residual == Residual::AfterMask)
            .with_switch("UPDATE", self.update.is_some())
            .with_switch("SCALED", self.factor != 1.0)
            .with_switch("HALF_C", self.storage.c == Storage::F16);
        match &self.update {
            Some(update) => update.switches(shader),
            None => shader,
        }
    }

    fn tile(&self) -> WorkgroupTile {
        WorkgroupTile::gather(self.method, self.geometry.class_pixels(), self.geometry.c_in, self.tile)
    }

    /// The settings that the twin depends on.
    pub(crate) fn twin(&self) -> InputGradient {
        let Self { geometry, mask, residual, .. } = *self;
        InputGradient { geometry, mask, residual }
    }
}

impl Kernel for Conv2dInputGradient {
    fn name(&self) -> &'static str {
        "conv2d_input_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        let mut bindings = vec![
            binding("gradient", 1, Access::Read, g.output_len()).stored(self.storage.a),
            binding("transposed", 2, Access::Read, g.weights_len()).stored(self.storage.b),
        ];
        let mut add = |on: bool, b: Binding| bindings.extend(on.then_some(b));
        add(self.mask.is_some(), binding("mask", 3, Access::Read, mask_words(g.in_pixels(), g.c_in)));
        let c = |binding: Binding| binding.stored(self.storage.c);
        add(self.residual != Residual::None, c(binding("residual", 4, Access::Read, g.input_len())));
        add(true, c(binding("gradient_in", 5, Access::Write, g.input_len())));
        add(self.update.is_some(), binding("x", 6, Access::Update, g.input_len()));
        add(self.update.is_some(), binding("counters", 7, Access::Read, COUNTERS));
        let moving = self.update.is_some_and(|update| update.masked);
        add(moving, binding("moving", 8, Access::Read, g.input_len()));
        bindings
    }

    fn shader(&self) -> Shader {
        assert!(self.update.is_none() || self.storage.c == Storage::F32, "{self:?}: an update follows f32");
        let shader = self.storage.specialize(self.switches(Shader::new("conv2d_input_gradient")));
        self.tile().specialize(shader, self.geometry.c_out, self.geometry.c_in)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = self.geometry.words();
        words.extend([self.mask.unwrap_or(1.0).to_bits(), 0, 0, self.factor.to_bits()]);
        words.extend(self.update.iter().flat_map(|update| update.settings()));
        words.resize(words.len().next_multiple_of(4), 0);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        let classes = self.geometry.stride * self.geometry.stride;
        grid(classes * self.tile().count(self.geometry.class_pixels(), self.geometry.c_in))
    }

    fn flops(&self) -> u64 {
        self.geometry.flops() + self.update.map_or(0, |update| update.flops())
    }

    fn convolution(&self) -> Option<ConvProblem> {
        Some(ConvProblem {
            direction: Direction::InputGradient,
            geometry: self.geometry,
            storage: self.storage,
        })
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let own = self.bindings().len() - self.update.map_or(0, |update| update.bindings().len() - 1);
        let (arguments, moved) = arguments.split_at_mut(own);
        in_f32(&self.bindings()[..own], arguments, |arguments| {
            self.method.with_operands(arguments, |arguments| {
                scaled(self.factor, 0, arguments, |arguments| input_gradient(&self.twin(), arguments));
            });
        });
        if let (Some(update), [x, others @ ..]) = (&self.update, moved) {
            let gradient = arguments.last().expect("it writes its result").u32();
            let mut arguments = vec![Argument::Write(x.u32_mut()), Argument::Read(gradient)];
            arguments.extend(others.iter().map(|other| Argument::Read(other.u32())));
            update.run(&mut arguments);
        }
    }
}
