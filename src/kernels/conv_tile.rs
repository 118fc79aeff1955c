//! The GEMM tiles of the convolution kernels: which part of the product a workgroup computes, and how.

use super::cooperative::{Cooperative, Method};
use super::shader::Shader;

/// The tile of one workgroup: `m` rows (pixels, or rows of the weight matrix) by `n` columns (channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows; a multiple of 8.
    m: usize,
    /// Columns; a multiple of 8.
    n: usize,
    way: Way,
}

/// How the tile is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Threads take 8 rows by 8 columns each and gather straight from storage, without workgroup memory.
    Direct,
    /// Threads take 8 rows by 8 columns each out of workgroup memory.
    Staged,
    /// Subgroups take 4 by 2 matrices each out of workgroup memory (`shaders/common/conv_matrices.wgsl`).
    Cooperative(Cooperative),
}

/// Terms of the sum between two barriers.
const STEP_K: usize = 16;

/// Subgroups that share a tile of cooperative matrices.
const SUBGROUPS: usize = 4;

impl Tile {
    /// The tile for a gather of `pixels` x `channels`: straight from storage up to 32 channels, of which
    /// few threads would share a gathered value, else as [`Tile::staged`].
    pub fn gather(method: Method, pixels: usize, channels: usize) -> Self {
        let direct = |m, n| Self { m, n, way: Way::Direct };
        match (method, channels) {
            // 64 threads each.
            (Method::Scalar, 0..=8) => direct(512, 8),
            (Method::Scalar, 9..=16) => direct(256, 16),
            (Method::Scalar, 17..=32) => direct(128, 32),
            _ => Self::staged(method, pixels, channels),
        }
    }

    /// The tile through workgroup memory for `rows` x `columns`: the columns that pad least (80 for the
    /// 160 channels of a WideResNet, of which a 64-wide tile would waste 17%), and 128 rows, which fill
    /// WebGPU's 16 KiB of workgroup memory, or fewer where the problem is small.
    pub fn staged(method: Method, rows: usize, columns: usize) -> Self {
        if let Method::Cooperative(matrices) = method {
            return Self::cooperative(matrices, columns);
        }
        let n = least_padded([64, 80, 32, 16], columns);
        let m = [128, 64, 32].into_iter().find(|&m| rows >= 2 * m).unwrap_or(32);
        Self { m, n, way: Way::Staged }
    }

    /// Four subgroups two by two, or one above the other where that pads less: 128 x 64 or 256 x 32 of 16x16
    /// matrices, 64 x 32 or 128 x 16 of 8x8 ones.
    fn cooperative(matrices: Cooperative, columns: usize) -> Self {
        let (height, width) = (4 * matrices.size, 2 * matrices.size);
        let n = least_padded([2 * width, width], columns);
        Self { m: height * SUBGROUPS * width / n, n, way: Way::Cooperative(matrices) }
    }

    /// Workgroups that cover `rows` x `columns`.
    pub fn count(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.m) * columns.div_ceil(self.n)
    }

    /// Sets the shader's constants and the switches for the channels of the tensor that it gathers from
    /// (`source`) and of the one it computes (`target`).
    pub fn specialize(self, shader: Shader, source: usize, target: usize) -> Shader {
        let threads = match self.way {
            Way::Direct | Way::Staged => self.m / 8 * self.n / 8,
            Way::Cooperative(matrices) => SUBGROUPS * matrices.subgroup,
        };
        let shader = shader
            .with_u32("TILE_M", self.m as u32)
            .with_u32("TILE_N", self.n as u32)
            .with_u32("STEP_K", STEP_K as u32)
            .with_u32("THREADS", threads as u32)
            .with_switch("SOURCE_VEC4", source.is_multiple_of(4))
            .with_switch("TARGET_VEC4", target.is_multiple_of(4))
            .with_switch("ALIGNED", source.is_multiple_of(STEP_K))
            .with_switch("DIRECT", self.way == Way::Direct);
        let Way::Cooperative(matrices) = self.way else { return shader };
        shader
            .with_extension("f16")
            .with_extension("wgpu_cooperative_matrix")
            .with_u32("MATRIX", matrices.size as u32)
            .with_u32("SUBGROUPS", SUBGROUPS as u32)
            .with_u32("SUBGROUPS_N", (self.n / (2 * matrices.size)) as u32)
            .with_switch("COOPERATIVE", true)
            .with_switch("MATRIX_16", matrices.size == 16)
            .with_switch("HALF_QUADS", matrices.quads)
    }
}

/// Of these widths the first that pads `columns` least.
fn least_padded<const N: usize>(widths: [usize; N], columns: usize) -> usize {
    let padded = |n: usize| columns.div_ceil(n) * n;
    widths.into_iter().min_by_key(|&n| padded(n)).expect("there are widths")
}
