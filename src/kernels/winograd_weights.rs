//! Winograd's transform of 3x3 weights.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::winograd::{Quad, Winograd};
use crate::compute::{Access, Binding, Kernel, binding, grid};

/// `transformed[i, j, r, c] = (G weights[., ., r, c] G^T)[i, j]` of weights `[3, 3, rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WinogradWeights {
    /// Channels of the tensor that the convolution reads.
    pub rows: usize,
    /// Channels of the tensor that it makes; a multiple of 4.
    pub columns: usize,
    /// The size of a tile.
    pub size: Winograd,
    /// Turns the taps by 180 degrees first, as an input gradient reads its (transposed) weights.
    pub flipped: bool,
}

/// Threads of a workgroup.
pub(super) const THREADS: usize = 64;

impl WinogradWeights {
    /// Both sizes, flipped and not.
    pub fn permutations() -> Vec<Self> {
        let with = |size| [false, true].map(|flipped| Self { rows: 18, columns: 20, size, flipped });
        Winograd::ALL.into_iter().flat_map(with).collect()
    }

    fn matrix(&self) -> usize {
        self.rows * self.columns
    }
}

impl Kernel for WinogradWeights {
    fn name(&self) -> &'static str {
        "winograd_weights"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("weights", 1, Access::Read, 9 * self.matrix()),
            binding("transformed", 2, Access::Write, self.size.points() * self.matrix()),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("winograd_weights")
            .with_switch("F4", self.size == Winograd::F4)
            .with_switch("FLIPPED", self.flipped)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![(self.matrix() / 4) as u32, 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.matrix() / 4).div_ceil(THREADS))
    }

    fn flops(&self) -> u64 {
        (self.size.weights_flops() * self.matrix()) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [weights, transformed] = arguments else { unreachable!("winograd_weights binds two") };
        let (weights, _) = weights.f32().as_chunks::<4>();
        let (transformed, _) = transformed.f32_mut().as_chunks_mut::<4>();
        let quads = self.matrix() / 4;
        let mut taps: [Quad; 9] = Default::default();
        let mut tile = vec![Quad::default(); self.size.points()];
        for quad in 0..quads {
            for (tap, value) in taps.iter_mut().enumerate() {
                *value = weights[if self.flipped { 8 - tap } else { tap } * quads + quad];
            }
            self.size.weights(&taps, &mut tile);
            for (point, value) in tile.iter().enumerate() {
                transformed[point * quads + quad] = *value;
            }
        }
    }
}
