//! The GEMM tiles of the convolution kernels: which part of the product a workgroup computes.

use super::shader::Shader;

/// The tile of one workgroup: `m` rows (pixels, or rows of the weight matrix) by `n` columns (channels).
/// Each thread takes 8 rows by 8 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows; a multiple of 8.
    m: usize,
    /// Columns; a multiple of 8.
    n: usize,
    /// Threads gather straight from storage, without workgroup memory.
    direct: bool,
}

/// Terms of the sum between two barriers.
const STEP_K: usize = 16;

impl Tile {
    /// The tile for a gather of `pixels` x `channels`: straight from storage up to 32 channels, of which
    /// few threads would share a gathered value, else as [`Tile::staged`].
    pub fn gather(pixels: usize, channels: usize) -> Self {
        let direct = |m, n| Self { m, n, direct: true };
        match channels {
            // 64 threads each.
            0..=8 => direct(512, 8),
            9..=16 => direct(256, 16),
            17..=32 => direct(128, 32),
            _ => Self::staged(pixels, channels),
        }
    }

    /// The tile through workgroup memory for `rows` x `columns`: the columns that pad least (80 for the
    /// 160 channels of a WideResNet, of which a 64-wide tile would waste 17%), and 128 rows, which fill
    /// WebGPU's 16 KiB of workgroup memory, or fewer where the problem is small.
    pub fn staged(rows: usize, columns: usize) -> Self {
        let padded = |n: usize| columns.div_ceil(n) * n;
        let n = [64, 80, 32, 16].into_iter().min_by_key(|&n| padded(n)).expect("there are tiles");
        let m = [128, 64, 32].into_iter().find(|&m| rows >= 2 * m).unwrap_or(32);
        Self { m, n, direct: false }
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
            .with_switch("DIRECT", self.direct)
    }
}
