//! The GEMM tiles of the convolution kernels: which part of the product a workgroup computes, and how.

use super::cooperative::{Cooperative, Method};
use super::shader::Shader;
use std::fmt;

/// A tile in f32, 8 rows by 8 columns a thread: what [`super::choice::Choices`] may choose. Tiles of cooperative
/// matrices follow from the matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScalarTile {
    /// Rows.
    m: usize,
    /// Columns.
    n: usize,
    /// Threads gather straight from storage, without workgroup memory.
    direct: bool,
    /// The next step's loads are under way while a step is multiplied (`shaders/common/conv_ahead.wgsl`).
    ahead: bool,
}

impl ScalarTile {
    /// All that there are: those that the rule takes, and wider ones, of which some channels of a WideResNet
    /// (16, 32, 64, 160, 320, 640) fill each; and each again that can load ahead. None takes more than WebGPU's 256
    /// threads or 16 KiB of workgroup memory.
    pub const ALL: [Self; 25] = [
        Self::direct(512, 8),
        Self::direct(256, 16),
        Self::direct(128, 32),
        Self::direct(64, 64),
        Self::direct(64, 80),
        Self::staged(128, 16),
        Self::staged(64, 16),
        Self::staged(32, 16),
        Self::staged(128, 32),
        Self::staged(64, 32),
        Self::staged(32, 32),
        Self::staged(128, 64),
        Self::staged(64, 64),
        Self::staged(32, 64),
        Self::staged(128, 80),
        Self::staged(64, 80),
        Self::staged(32, 80),
        Self::staged(64, 128),
        Self::staged(64, 160),
        Self::staged(128, 64).ahead(),
        Self::staged(64, 64).ahead(),
        Self::staged(128, 80).ahead(),
        Self::staged(64, 80).ahead(),
        Self::staged(64, 128).ahead(),
        Self::staged(64, 160).ahead(),
    ];

    const fn direct(m: usize, n: usize) -> Self {
        Self { m, n, direct: true, ahead: false }
    }

    const fn staged(m: usize, n: usize) -> Self {
        Self { m, n, direct: false, ahead: false }
    }

    /// This tile loading ahead, if it goes through workgroup memory and few enough registers hold a step.
    pub(super) const fn ahead(self) -> Self {
        let ahead = !self.direct && few_loads(self.m, self.n, self.threads());
        Self { ahead, ..self }
    }

    /// This tile not loading ahead.
    pub const fn plain(self) -> Self {
        Self { ahead: false, ..self }
    }

    /// Whether it loads ahead.
    pub fn is_ahead(self) -> bool {
        self.ahead
    }

    /// The rule for a gather of `pixels` x `channels`: straight from storage up to 32 channels, of which few
    /// threads would share a gathered value, else as [`ScalarTile::through_memory`].
    pub(super) fn gather(pixels: usize, channels: usize) -> Self {
        match channels {
            // 64 threads each.
            0..=8 => Self::direct(512, 8),
            9..=16 => Self::direct(256, 16),
            17..=32 => Self::direct(128, 32),
            _ => Self::through_memory(pixels, channels),
        }
    }

    /// The rule through workgroup memory for `rows` x `columns`: the columns that pad least (80 for the
    /// 160 channels of a WideResNet, of which a 64-wide tile would waste 17%), and 128 rows, which fill
    /// WebGPU's 16 KiB of workgroup memory, or fewer where the problem is small; loading ahead.
    pub(super) fn through_memory(rows: usize, columns: usize) -> Self {
        let n = least_padded([64, 80, 32, 16], columns);
        let m = [128, 64, 32].into_iter().find(|&m| rows >= 2 * m).unwrap_or(32);
        Self::staged(m, n).ahead()
    }

    /// Whether threads gather straight from storage, which the weight gradient does not.
    pub fn is_direct(self) -> bool {
        self.direct
    }

    /// Threads of a workgroup.
    pub const fn threads(self) -> usize {
        self.m / 8 * self.n / 8
    }

    /// `columns` with what fills the last tile.
    pub fn padded(self, columns: usize) -> usize {
        columns.next_multiple_of(self.n)
    }

    /// Rows and columns.
    pub fn size(self) -> [usize; 2] {
        [self.m, self.n]
    }
}

impl fmt::Display for ScalarTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, direct, ahead } = self;
        write!(f, "{}{m}x{n}", if *direct { "direct " } else { "" })?;
        if *ahead { f.write_str(" ahead") } else { Ok(()) }
    }
}

/// The tile of one workgroup: `m` rows (pixels, or rows of the weight matrix) by `n` columns (channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows; a multiple of 8.
    m: usize,
    /// Columns; a multiple of 8.
    n: usize,
    way: Way,
    /// Whether the next step's loads are under way while a step is multiplied. Gathers do so where each step lies
    /// within one tap.
    ahead: bool,
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
pub(super) const STEP_K: usize = 16;

/// Subgroups that share a tile of cooperative matrices.
const SUBGROUPS: usize = 4;

impl Tile {
    /// The tile for a gather of `pixels` x `channels`: in f32 `chosen`, or by rule.
    pub fn gather(method: Method, pixels: usize, channels: usize, chosen: Option<ScalarTile>) -> Self {
        match method {
            Method::Scalar => chosen.unwrap_or_else(|| ScalarTile::gather(pixels, channels)).into(),
            Method::Cooperative(matrices) => Self::cooperative(matrices, channels),
        }
    }

    /// The tile through workgroup memory for `rows` x `columns`: in f32 `chosen`, or by rule.
    pub fn staged(method: Method, rows: usize, columns: usize, chosen: Option<ScalarTile>) -> Self {
        match method {
            Method::Scalar => chosen.unwrap_or_else(|| ScalarTile::through_memory(rows, columns)).into(),
            Method::Cooperative(matrices) => Self::cooperative(matrices, columns),
        }
    }

    /// Four subgroups two by two, or one above the other where that pads less: 128 x 64 or 256 x 32 of 16x16
    /// matrices, 64 x 32 or 128 x 16 of 8x8 ones.
    fn cooperative(matrices: Cooperative, columns: usize) -> Self {
        let (height, width) = (4 * matrices.size, 2 * matrices.size);
        let n = least_padded([2 * width, width], columns);
        let m = height * SUBGROUPS * width / n;
        let ahead = few_loads(m, n, SUBGROUPS * matrices.subgroup);
        Self { m, n, way: Way::Cooperative(matrices), ahead }
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
            .with_switch("DIRECT", self.way == Way::Direct)
            .with_switch("AHEAD", self.ahead);
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

impl From<ScalarTile> for Tile {
    fn from(ScalarTile { m, n, direct, ahead }: ScalarTile) -> Self {
        Self { m, n, way: if direct { Way::Direct } else { Way::Staged }, ahead }
    }
}

/// Whether each of `threads` loads at most four quads of either operand in a step of an `m` x `n` tile: more would
/// take the registers that hold its sums.
const fn few_loads(m: usize, n: usize, threads: usize) -> bool {
    let most = 4 * 4 * threads;
    m * STEP_K <= most && n * STEP_K <= most
}

/// Of these widths the first that pads `columns` least.
fn least_padded<const N: usize>(widths: [usize; N], columns: usize) -> usize {
    let padded = |n: usize| columns.div_ceil(n) * n;
    widths.into_iter().min_by_key(|&n| padded(n)).expect("there are widths")
}
