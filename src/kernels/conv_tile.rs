//! The GEMM tiles of the convolution kernels: which part of the product a workgroup computes.

use super::shader::Shader;

/// The tile of one workgroup: `m` rows (pixels, or rows of the weight matrix) by `n` columns (channels).
/// Each thread takes 8 rows by 4 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows; a multiple of 8.
    pub m: usize,
    /// Columns; a multiple of 4.
    pub n: usize,
}

/// Terms of the sum between two barriers.
pub const STEP_K: usize = 16;

/// Column counts, best first: a wide tile loads less for each multiplication.
const COLUMNS: [usize; 4] = [64, 80, 32, 16];

impl Tile {
    /// The tile for `rows` x `columns`: the columns that pad least (80 for the 160 channels of a wide
    /// ResNet, of which a 64-wide tile would waste 17%), then as many rows as fit 256 threads and
    /// WebGPU's 16 KiB of workgroup memory, but not so many that a small problem pads to twice its size.
    pub fn choose(rows: usize, columns: usize) -> Self {
        let padded = |n: usize| columns.div_ceil(n) * n;
        let n = COLUMNS.into_iter().min_by_key(|&n| padded(n)).expect("there are tiles");
        let largest = if n > 32 { 64 } else { 128 };
        let m = [largest, 64, 32].into_iter().find(|&m| m <= largest && rows >= m).unwrap_or(32);
        Self { m, n }
    }

    /// Workgroups that cover `rows` x `columns`.
    pub fn count(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.m) * columns.div_ceil(self.n)
    }

    /// Sets the shader's constants and the switches for the channels of the tensor that it gathers from
    /// (`source`) and of the one it computes (`target`).
    pub fn specialize(self, shader: Shader, source: usize, target: usize) -> Shader {
        shader
            .with_u32("TILE_M", self.m as u32)
            .with_u32("TILE_N", self.n as u32)
            .with_u32("STEP_K", STEP_K as u32)
            .with_switch("SOURCE_VEC4", source.is_multiple_of(4))
            .with_switch("TARGET_VEC4", target.is_multiple_of(4))
            .with_switch("ALIGNED", source.is_multiple_of(STEP_K))
    }
}
