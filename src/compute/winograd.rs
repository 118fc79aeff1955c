//! Winograd's minimal filtering of 3x3 convolutions of stride 1 and padding 1 (Lavin & Gray, "Fast algorithms
//! for convolutional neural networks", CVPR 2016): what its four kernels share.
//!
//! A tile of `m x m` outputs reads `t x t` inputs, `t = m + 2`, and is `A^T [(G g G^T) ⊙ (B^T d B)] A`, the
//! products summed over input channels: `t²` matrix products instead of `9 m²` multiplications a tile, 2.25
//! times fewer for F(2x2, 3x3) and 4 times for F(4x4, 3x3).
//!
//! The matrices are Toom's and Cook's for points `a_j` and ∞: row `j` of `G` is `[1, a_j, a_j²] / f_j` with
//! `f_j = Π_{k≠j} (a_j - a_k)`, row `j` of `B^T` the coefficients of `Π_{k≠j} (x - a_k)`, row `i` of `A^T` the
//! powers `a_j^i`. F(4x4) takes 0, ±√2/2, ±√2: they keep the matrices' entries near 1 in size, and so the
//! error below that of 0, ±1, ±2.

use crate::compute::conv_geometry::ConvGeometry;

/// The size of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Winograd {
    /// F(2x2, 3x3).
    F2,
    /// F(4x4, 3x3).
    F4,
}

/// Four channels, which one step of the twins computes.
pub(crate) type Quad = [f32; 4];

const NEAR: f32 = std::f32::consts::FRAC_1_SQRT_2;
const FAR: f32 = std::f32::consts::SQRT_2;

impl Winograd {
    /// Both sizes.
    pub const ALL: [Self; 2] = [Self::F2, Self::F4];

    /// Rows and columns of outputs of a tile.
    pub fn outputs(self) -> usize {
        match self {
            Self::F2 => 2,
            Self::F4 => 4,
        }
    }

    /// Rows and columns of inputs of a tile.
    pub fn inputs(self) -> usize {
        self.outputs() + 2
    }

    /// Products of a tile: the matrix products of the batch.
    pub fn points(self) -> usize {
        self.inputs() * self.inputs()
    }

    /// Floating-point operations that transform one channel of a tile's inputs, as the shaders' `input_line` does:
    /// first the rows, then the columns.
    pub fn input_flops(self) -> usize {
        let line = match self {
            Self::F2 => 4,
            Self::F4 => 20,
        };
        2 * self.inputs() * line
    }

    /// Floating-point operations that transform one 3x3 kernel: first its three columns, then the rows.
    pub fn weights_flops(self) -> usize {
        let line = match self {
            Self::F2 => 6,
            Self::F4 => 14,
        };
        (3 + self.inputs()) * line
    }

    /// Floating-point operations that transform one channel of a tile's products to outputs: first the rows, then the
    /// columns.
    pub fn output_flops(self) -> usize {
        let line = match self {
            Self::F2 => 4,
            Self::F4 => 16,
        };
        (self.inputs() + self.outputs()) * line
    }

    /// Whether the kernels take a convolution of `g`, in either direction: 3x3, stride 1, padding 1, at least
    /// 16 channels on both sides, in fours, and rows in whole words of the sign mask.
    pub fn takes(g: &ConvGeometry) -> bool {
        let channels = |c: usize| c >= 16 && c.is_multiple_of(4);
        (g.kh, g.kw, g.stride, g.padding) == (3, 3, 1, 1)
            && channels(g.c_in)
            && channels(g.c_out)
            && g.w.is_multiple_of(8)
    }

    /// `B^T d B`.
    pub(crate) fn input(self, d: &[Quad], to: &mut [Quad]) {
        match self {
            Self::F2 => sandwich(&INPUT_2, d, to),
            Self::F4 => sandwich(&INPUT_4, d, to),
        }
    }

    /// `G g G^T`.
    pub(crate) fn weights(self, g: &[Quad], to: &mut [Quad]) {
        match self {
            Self::F2 => sandwich(&WEIGHTS_2, g, to),
            Self::F4 => sandwich(&WEIGHTS_4, g, to),
        }
    }

    /// `A^T m A`.
    pub(crate) fn output(self, m: &[Quad], to: &mut [Quad]) {
        match self {
            Self::F2 => sandwich(&OUTPUT_2, m, to),
            Self::F4 => sandwich(&OUTPUT_4, m, to),
        }
    }
}

/// The tiles of a convolution's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Images.
    pub n: usize,
    /// Rows of pixels.
    pub h: usize,
    /// Columns of pixels; a multiple of 8.
    pub w: usize,
    /// The size of a tile.
    pub size: Winograd,
}

impl Tiling {
    /// The tiles of the convolution of `g`: its input and output have the same pixels.
    pub fn new(g: &ConvGeometry, size: Winograd) -> Self {
        Self { n: g.n, h: g.h, w: g.w, size }
    }

    /// Rows of tiles of an image.
    pub fn rows(&self) -> usize {
        self.h.div_ceil(self.size.outputs())
    }

    /// Columns of tiles of an image.
    pub fn columns(&self) -> usize {
        self.w.div_ceil(self.size.outputs())
    }

    /// Tiles of the batch.
    pub fn tiles(&self) -> usize {
        self.n * self.rows() * self.columns()
    }

    /// Pixels of the batch.
    pub fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }

    /// Elements of transformed `channels` channels.
    pub fn transformed_len(&self, channels: usize) -> usize {
        self.size.points() * self.tiles() * channels
    }

    /// Seven words for a uniform block: `h, w`, quads of `channels`, rows and columns of tiles, tiles, and `last`.
    pub(crate) fn words(&self, channels: usize, last: u32) -> Vec<u32> {
        let sizes = [self.h, self.w, channels / 4, self.rows(), self.columns(), self.tiles()];
        sizes.map(|size| size as u32).into_iter().chain([last, 0]).collect()
    }
}

/// `matrix x matrix^T` of a row-major N x N `x`.
fn sandwich<const R: usize, const N: usize>(matrix: &[[f32; N]; R], x: &[Quad], to: &mut [Quad]) {
    let mut half = [[[0.0; 4]; N]; R];
    for (half, row) in half.iter_mut().zip(matrix) {
        for (j, half) in half.iter_mut().enumerate() {
            for (i, &factor) in row.iter().enumerate() {
                add(half, factor, &x[i * N + j]);
            }
        }
    }
    for (to, half) in to.chunks_exact_mut(R).zip(&half) {
        for (to, row) in to.iter_mut().zip(matrix) {
            *to = [0.0; 4];
            for (half, &factor) in half.iter().zip(row) {
                add(to, factor, half);
            }
        }
    }
}

#[inline(always)]
fn add(sum: &mut Quad, factor: f32, x: &Quad) {
    // A zero of the matrix must not turn an infinity into a NaN.
    if factor != 0.0 {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
    }
}

const INPUT_2: [[f32; 4]; 4] =
    [[-1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]];
const WEIGHTS_2: [[f32; 3]; 4] = [[-1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
const OUTPUT_2: [[f32; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, 1.0]];

const INPUT_4: [[f32; 6]; 6] = [
    [1.0, 0.0, -2.5, 0.0, 1.0, 0.0],
    [0.0, -FAR, -2.0, NEAR, 1.0, 0.0],
    [0.0, FAR, -2.0, -NEAR, 1.0, 0.0],
    [0.0, -NEAR, -0.5, FAR, 1.0, 0.0],
    [0.0, NEAR, -0.5, -FAR, 1.0, 0.0],
    [0.0, 1.0, 0.0, -2.5, 0.0, 1.0],
];
const WEIGHTS_4: [[f32; 3]; 6] = [
    [1.0, 0.0, 0.0],
    [-1.0 / 1.5, -NEAR / 1.5, -0.5 / 1.5],
    [-1.0 / 1.5, NEAR / 1.5, -0.5 / 1.5],
    [1.0 / 6.0, FAR / 6.0, 2.0 / 6.0],
    [1.0 / 6.0, -FAR / 6.0, 2.0 / 6.0],
    [0.0, 0.0, 1.0],
];
const OUTPUT_4: [[f32; 6]; 4] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, NEAR, -NEAR, FAR, -FAR, 0.0],
    [0.0, 0.5, 0.5, 2.0, 2.0, 0.0],
    [0.0, 0.5 * NEAR, -0.5 * NEAR, 2.0 * FAR, -2.0 * FAR, 1.0],
];
