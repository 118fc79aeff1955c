//! The GEMM tiles of the convolution kernels: which part of the product a workgroup computes, and how.

use crate::compute::cooperative::{Cooperative, Method};
use crate::compute::shader::Shader;
use std::fmt;

/// The tile of a convolution, chosen by the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConvTile {
    /// A tile of threads, in f32.
    Scalar(ScalarTile),
    /// A tile of cooperative matrices.
    Matrices(MatrixTile),
}

impl From<ScalarTile> for ConvTile {
    fn from(tile: ScalarTile) -> Self {
        Self::Scalar(tile)
    }
}

impl From<MatrixTile> for ConvTile {
    fn from(tile: MatrixTile) -> Self {
        Self::Matrices(tile)
    }
}

impl fmt::Display for ConvTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(tile) => tile.fmt(f),
            Self::Matrices(tile) => tile.fmt(f),
        }
    }
}

/// A tile in f32, 8 rows by 8 columns a thread.
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
    /// All tiles: those that the rule takes; wider ones, each of which some channels of a WideResNet (16, 32, 64, 160,
    /// 320, 640) fill; and for each tile that can load ahead, the variant that does. None takes more than WebGPU's 256
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
    pub(crate) const fn ahead(self) -> Self {
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
    pub(crate) fn gather(pixels: usize, channels: usize) -> Self {
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
    pub(crate) fn through_memory(rows: usize, columns: usize) -> Self {
        let n = least_padded([64, 80, 32, 16], columns);
        let m = [128, 64, 32].into_iter().find(|&m| rows >= 2 * m).unwrap_or(32);
        Self::staged(m, n).ahead()
    }

    /// Whether threads gather straight from storage, as those of the weight gradient never do.
    pub fn is_direct(self) -> bool {
        self.direct
    }

    /// Threads of a workgroup.
    pub const fn threads(self) -> usize {
        self.m / 8 * self.n / 8
    }

    /// `columns`, rounded up to whole tiles.
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

/// A tile of cooperative matrices: a grid of subgroups, each of which computes 4 by 2 matrices.
/// matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatrixTile {
    down: usize,
    across: usize,
}

impl MatrixTile {
    /// All tiles: the two that the rule takes, those of half as many subgroups, which leave room for more workgroups at
    /// a time, wider ones, and those of twice as many, which load each value less often.
    pub const ALL: [Self; 7] = [
        Self::of(2, 2),
        Self::of(4, 1),
        Self::of(2, 1),
        Self::of(1, 2),
        Self::of(1, 4),
        Self::of(2, 4),
        Self::of(4, 2),
    ];

    const fn of(down: usize, across: usize) -> Self {
        Self { down, across }
    }

    /// The rule's tile for `columns` columns: four subgroups two by two, or one above the other where that pads less:
    /// 128 x 64 or 256 x 32 of 16x16 matrices, 64 x 32 or 128 x 16 of 8x8 ones.
    pub fn rule(matrices: Cooperative, columns: usize) -> Self {
        let width = 2 * matrices.size;
        if least_padded([2 * width, width], columns) == width { Self::of(4, 1) } else { Self::of(2, 2) }
    }

    /// Rows and columns.
    pub fn size(self, matrices: Cooperative) -> [usize; 2] {
        [4 * matrices.size * self.down, 2 * matrices.size * self.across]
    }

    /// Threads of a workgroup.
    pub fn threads(self, matrices: Cooperative) -> usize {
        self.down * self.across * matrices.subgroup
    }

    /// Whether a workgroup keeps within the limits of the device with these matrices.
    pub fn fits(self, matrices: Cooperative) -> bool {
        let [m, n] = self.size(matrices);
        // The arrays of `shaders/common/conv_matrices.wgsl` and `conv_gather.wgsl`: both operands in f16, a row of
        // matrices of each subgroup in f32, and the positions of the tile's pixels.
        let operands = 2 * (m * (STEP_K + 8) + STEP_K * (n + 8));
        let sums = 4 * self.down * self.across * matrices.size * (2 * matrices.size + 4);
        let bytes = operands + sums + 16 * m;
        bytes <= matrices.memory as usize && self.threads(matrices) <= matrices.invocations as usize
    }
}

impl fmt::Display for MatrixTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "matrices {}x{}", self.down, self.across)
    }
}

/// The tile of one workgroup: `m` rows (pixels, or rows of the weight matrix) by `n` columns (channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkgroupTile {
    /// Rows; a multiple of 8.
    m: usize,
    /// Columns; a multiple of 8.
    n: usize,
    way: Way,
    /// Whether the next step's loads are under way while a step is multiplied. Gathers do so where each step lies
    /// within one tap.
    ahead: bool,
}

/// The implementation of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Threads take 8 rows by 8 columns each and gather straight from storage, without workgroup memory.
    Direct,
    /// Threads take 8 rows by 8 columns each out of workgroup memory.
    Staged,
    /// Subgroups take 4 by 2 matrices each out of workgroup memory (`shaders/common/conv_matrices.wgsl`).
    Cooperative(Cooperative, MatrixTile),
}

/// Terms of the sum between two barriers.
pub(crate) const STEP_K: usize = 16;

impl WorkgroupTile {
    /// The tile for a gather of `pixels` x `channels`: `chosen` if it is a tile of the method, else the rule's.
    pub fn gather(method: Method, pixels: usize, channels: usize, chosen: Option<ConvTile>) -> Self {
        Self::new(method, channels, chosen, || ScalarTile::gather(pixels, channels))
    }

    /// The tile through workgroup memory for `rows` x `columns`: `chosen` if it is a tile of the method, else the
    /// rule's.
    pub fn staged(method: Method, rows: usize, columns: usize, chosen: Option<ConvTile>) -> Self {
        Self::new(method, columns, chosen, || ScalarTile::through_memory(rows, columns))
    }

    fn new(
        method: Method,
        columns: usize,
        chosen: Option<ConvTile>,
        rule: impl FnOnce() -> ScalarTile,
    ) -> Self {
        match (method, chosen) {
            (Method::Scalar, Some(ConvTile::Scalar(tile))) => tile.into(),
            (Method::Scalar, _) => rule().into(),
            (Method::Cooperative(matrices), Some(ConvTile::Matrices(tile))) => {
                Self::cooperative(matrices, tile)
            }
            (Method::Cooperative(matrices), _) => {
                Self::cooperative(matrices, MatrixTile::rule(matrices, columns))
            }
        }
    }

    fn cooperative(matrices: Cooperative, tile: MatrixTile) -> Self {
        let [m, n] = tile.size(matrices);
        let ahead = few_loads(m, n, tile.threads(matrices));
        Self { m, n, way: Way::Cooperative(matrices, tile), ahead }
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
            Way::Cooperative(matrices, tile) => tile.threads(matrices),
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
            .with_switch("AHEAD", self.ahead && can_load_ahead(source, target));
        let Way::Cooperative(matrices, tile) = self.way else { return shader };
        matrices
            .specialize(shader)
            .with_u32("SUBGROUPS", (tile.down * tile.across) as u32)
            .with_u32("SUBGROUPS_N", tile.across as u32)
            .with_switch("COOPERATIVE", true)
            .with_switch("HALF_QUADS", matrices.quads)
    }
}

impl From<ScalarTile> for WorkgroupTile {
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

/// Whether a kernel that reads `source` and `target` channels reads both four at a time. To load ahead, the shader text
/// has each load of a thread twice, one by one; SwiftShader takes minutes and gigabytes to compile that many loads of
/// single elements.
pub(crate) fn can_load_ahead(source: usize, target: usize) -> bool {
    source.is_multiple_of(4) && target.is_multiple_of(4)
}

/// The first of `widths` that pads `columns` least.
fn least_padded<const N: usize>(widths: [usize; N], columns: usize) -> usize {
    let padded = |n: usize| columns.div_ceil(n) * n;
    widths.into_iter().min_by_key(|&n| padded(n)).expect("there are widths")
}
