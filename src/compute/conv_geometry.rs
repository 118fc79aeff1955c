//! The shapes of convolutions.

use crate::compute::storage::Storages;
use std::fmt;

/// The shapes of a convolution: input `[n, h, w, c_in]`, weights `[kh, kw, c_in, c_out]`, output
/// `[n, out_h, out_w, c_out]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConvGeometry {
    /// Images.
    pub n: usize,
    /// Input rows.
    pub h: usize,
    /// Input columns.
    pub w: usize,
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Kernel rows.
    pub kh: usize,
    /// Kernel columns.
    pub kw: usize,
    /// Step of the output grid in input pixels, along both axes.
    pub stride: usize,
    /// Zeros around the input, on each side.
    pub padding: usize,
}

impl ConvGeometry {
    /// Output rows.
    pub fn out_h(&self) -> usize {
        (self.h + 2 * self.padding - self.kh) / self.stride + 1
    }

    /// Output columns.
    pub fn out_w(&self) -> usize {
        (self.w + 2 * self.padding - self.kw) / self.stride + 1
    }

    /// Input pixels of the whole batch.
    pub fn in_pixels(&self) -> usize {
        self.n * self.h * self.w
    }

    /// Output pixels of the whole batch.
    pub fn out_pixels(&self) -> usize {
        self.n * self.out_h() * self.out_w()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.in_pixels() * self.c_in
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.out_pixels() * self.c_out
    }

    /// Elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.kh * self.kw * self.c_in * self.c_out
    }

    /// Floating-point operations of each of the three convolution kernels.
    pub fn flops(&self) -> u64 {
        2 * (self.out_pixels() * self.weights_len()) as u64
    }

    /// Small shapes that between them take every path of the shaders, in both directions: few channels
    /// and many, multiples of 4 and of a step and neither, stride 1 and 2. The first two differ in all
    /// that the epilogues depend on.
    pub(crate) fn examples() -> [Self; 6] {
        let channels = [(16, 32, 2), (5, 7, 1), (3, 16, 1), (64, 64, 1), (20, 36, 1), (33, 35, 2)];
        channels.map(|(c_in, c_out, stride)| Self {
            n: 2,
            h: 6,
            w: 6,
            c_in,
            c_out,
            kh: 3,
            kw: 3,
            stride,
            padding: 1,
        })
    }

    /// A small shape for the permutations of tiles: whole steps, and rows for more than one of the largest tiles.
    pub(crate) fn tiled() -> Self {
        Self { n: 2, h: 17, w: 16, c_in: 16, c_out: 16, kh: 3, kw: 3, stride: 1, padding: 1 }
    }

    /// The pixels of an input gradient's largest class: those whose row and column are multiples of the stride.
    pub(crate) fn class_pixels(&self) -> usize {
        self.n * self.h.div_ceil(self.stride) * self.w.div_ceil(self.stride)
    }

    /// Rows of the weights seen as a matrix of `c_out` columns.
    pub(crate) fn weight_rows(&self) -> usize {
        self.kh * self.kw * self.c_in
    }

    /// The geometry's twelve words for a uniform block: `n, h, w, c_in, c_out, kh, kw, stride, padding,
    /// out_h, out_w`, output pixels.
    pub fn words(&self) -> Vec<u32> {
        [
            self.n,
            self.h,
            self.w,
            self.c_in,
            self.c_out,
            self.kh,
            self.kw,
            self.stride,
            self.padding,
            self.out_h(),
            self.out_w(),
            self.out_pixels(),
        ]
        .map(|v| v as u32)
        .to_vec()
    }
}

/// One of the three products of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The convolution itself.
    Forward,
    /// Its gradient with respect to the input.
    InputGradient,
    /// Its gradient with respect to the weights.
    WeightGradient,
}

/// A convolution in one direction, with its shapes and storage types: the key by which a policy chooses kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConvProblem {
    /// The product.
    pub direction: Direction,
    /// The shapes of the forward convolution, the batch among them.
    pub geometry: ConvGeometry,
    /// The storage types of its tensors.
    pub storage: Storages,
}

impl ConvProblem {
    /// A convolution in f32.
    pub fn new(direction: Direction, geometry: ConvGeometry) -> Self {
        Self { direction, geometry, storage: Storages::default() }
    }

    /// Whether any tensor is stored in f16.
    pub fn is_half(&self) -> bool {
        self.storage != Storages::default()
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::InputGradient => "input gradient",
            Self::WeightGradient => "weight gradient",
        })
    }
}

impl fmt::Display for ConvProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, .. } = self.geometry;
        write!(f, "{} {n}x{h}x{w}x{c_in} -> {c_out}, {kh}x{kw}", self.direction)?;
        if stride > 1 { write!(f, "/{stride}") } else { Ok(()) }
    }
}
