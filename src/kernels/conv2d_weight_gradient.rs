//! The convolution's gradient with respect to its weights, as split-K partial sums.
//!
//! `partials[k, i, j, c, o] = Σ_{(n, y, x) in part k} input[n, y s + i - p, x s + j - p, c] gradient[n, y, x, o]`
//!
//! The output pixels are cut into `parts` contiguous parts; [`super::reduce`] adds the parts in a fixed
//! order, so that runs repeat bit for bit. [`crate::policy::convolution::ConvolutionPolicy`] chooses how many.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::conv_tile::{ConvTile, ScalarTile, WorkgroupTile};
use crate::compute::cooperative::Method;
use crate::compute::cpu::conv2d::parameters::WeightGradient;
use crate::compute::cpu::conv2d::weight_gradient;
use crate::compute::half::{in_f32, scaled};
use crate::compute::parts::Parts;
use crate::compute::storage::{Storage, Storages};
use crate::compute::{Access, Binding, Kernel, binding, grid};

/// The weight gradient of a convolution of `geometry`, in `parts` partial sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2dWeightGradient {
    /// Shapes of the forward convolution.
    pub geometry: ConvGeometry,
    /// Parts of the sum over output pixels; 1 writes the gradient itself. A part without pixels is all zeros.
    pub parts: usize,
    /// The arithmetic: f32 or cooperative matrices.
    pub method: Method,
    /// The storage types of input and gradient; sums are f32. [`Storages::fit`] says where f16 is possible.
    pub storage: Storages,
    /// A power of two that multiplies the sums: the inverse of the factor in `gradient`.
    pub factor: f32,
    /// The tile, which is not a direct one; the rule's if this is `None` or not a tile of the method.
    pub tile: Option<ConvTile>,
}

impl Conv2dWeightGradient {
    /// The kernel in f32, with the CPU device's number of parts, which depends on the shapes alone.
    /// [`crate::policy::convolution::ConvolutionPolicy::weight_gradient`] sets the method, the tile and the parts of a
    /// device.
    pub fn new(geometry: ConvGeometry) -> Self {
        let (method, storage) = (Method::Scalar, Storages::default());
        let kernel = Self { geometry, parts: 1, method, storage, factor: 1.0, tile: None };
        Self { parts: Parts::Cpu.count(&geometry, kernel.tile()), ..kernel }
    }

    /// Small instances of every permutation.
    pub fn permutations() -> Vec<Self> {
        let mut all = Vec::new();
        for geometry in ConvGeometry::examples() {
            for parts in [1, 3] {
                all.push(Self { parts, ..Self::new(geometry) });
            }
            for a in [Storage::F16, Storage::F32] {
                let storage = Storages { a, b: Storage::F16, c: Storage::F32 };
                let kernel = Self { parts: 2, storage, factor: 0.125, ..Self::new(geometry) };
                all.extend(storage.fit(geometry.c_in, geometry.c_out).then_some(kernel));
            }
        }
        let kernel = Self { parts: 2, ..Self::new(ConvGeometry::tiled()) };
        let staged = ScalarTile::ALL.into_iter().filter(|tile| !tile.is_direct());
        all.extend(staged.map(|tile| Self { tile: Some(tile.into()), ..kernel }));
        let storage = Storages { c: Storage::F32, ..Storages::F16 };
        let ahead = ScalarTile::ALL.into_iter().filter(|tile| tile.is_ahead());
        all.extend(ahead.map(|tile| Self { tile: Some(tile.into()), storage, ..kernel }));
        all
    }

    /// The chosen tile, else the rule's.
    pub(crate) fn tile(&self) -> WorkgroupTile {
        WorkgroupTile::staged(self.method, self.geometry.weight_rows(), self.geometry.c_out, self.tile)
    }

    /// Output pixels of each part; the last ones may have fewer, or none.
    pub fn pixels_per_part(&self) -> usize {
        self.geometry.out_pixels().div_ceil(self.parts)
    }

    /// The settings that the twin depends on.
    pub(crate) fn twin(&self) -> WeightGradient {
        let (geometry, parts) = (self.geometry, self.parts);
        WeightGradient { geometry, parts, pixels_per_part: self.pixels_per_part() }
    }
}

impl Kernel for Conv2dWeightGradient {
    fn name(&self) -> &'static str {
        "conv2d_weight_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        vec![
            binding("input", 1, Access::Read, g.input_len()).stored(self.storage.a),
            binding("gradient", 2, Access::Read, g.output_len()).stored(self.storage.b),
            binding("partials", 3, Access::Write, self.parts * g.weights_len()),
        ]
    }

    fn shader(&self) -> Shader {
        let shader = Shader::new("conv2d_weight_gradient")
            .with_switch("A_TRANSPOSED", true)
            .with_switch("SCALED", self.factor != 1.0);
        let shader = self.storage.specialize(shader);
        self.tile().specialize(shader, self.geometry.c_in, self.geometry.c_out)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = self.geometry.words();
        words.extend([0, self.parts as u32, self.pixels_per_part() as u32, self.factor.to_bits()]);
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.parts * self.tile().count(self.geometry.weight_rows(), self.geometry.c_out))
    }

    fn flops(&self) -> u64 {
        self.geometry.flops()
    }

    fn convolution(&self) -> Option<ConvProblem> {
        Some(ConvProblem {
            direction: Direction::WeightGradient,
            geometry: self.geometry,
            storage: self.storage,
        })
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            self.method.with_operands(arguments, |arguments| {
                scaled(self.factor, 1, arguments, |arguments| weight_gradient(&self.twin(), arguments));
            });
        });
    }
}
