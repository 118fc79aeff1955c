//! The matrix products between Winograd's transforms.

use super::matmul::Matmul;
use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::conv_tile::WorkgroupTile;
use crate::compute::cooperative::Method;
use crate::compute::{Access, Binding, Kernel, binding, grid};

/// `product[p, m, n] = Σ_k transformed[p, m, k] weights[p, k, n]` for each point `p` of the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WinogradProduct {
    /// Matrices: [`crate::compute::winograd::Winograd::points`].
    pub points: usize,
    /// Rows: tiles.
    pub m: usize,
    /// Columns: channels of the tensor that the convolution makes; a multiple of 4.
    pub n: usize,
    /// The summed length: channels of the tensor that it reads; a multiple of 4.
    pub k: usize,
}

impl WinogradProduct {
    /// Whole steps and not, whole tiles and not.
    pub fn permutations() -> Vec<Self> {
        [(70, 80, 32), (33, 20, 20)].map(|(m, n, k)| Self { points: 3, m, n, k }).into()
    }

    fn tile(&self) -> WorkgroupTile {
        WorkgroupTile::staged(Method::Scalar, self.m, self.n, None)
    }
}

impl Kernel for WinogradProduct {
    fn name(&self) -> &'static str {
        "winograd_product"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("transformed", 1, Access::Read, self.points * self.m * self.k),
            binding("weights", 2, Access::Read, self.points * self.k * self.n),
            binding("product", 3, Access::Write, self.points * self.m * self.n),
        ]
    }

    fn shader(&self) -> Shader {
        self.tile().specialize(Shader::new("winograd_product"), self.k, self.n)
    }

    fn uniforms(&self) -> Vec<u32> {
        [self.m, self.n / 4, self.k / 4, self.points].map(|size| size as u32).into()
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.points * self.tile().count(self.m, self.n))
    }

    fn flops(&self) -> u64 {
        2 * (self.points * self.m * self.n * self.k) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [transformed, weights, product] = arguments else { unreachable!("winograd_product binds three") };
        let &Self { m, n, k, .. } = self;
        let matmul = Matmul { m, n, k, transpose_a: false, transpose_b: false, bias: false };
        let rows = transformed.f32().chunks_exact(m * k).zip(weights.f32().chunks_exact(k * n));
        for ((a, b), y) in rows.zip(product.f32_mut().chunks_exact_mut(m * n)) {
            matmul.multiply(a, b, None, y);
        }
    }
}
