//! The settings of a convolution that its twin depends on.

use super::panels::Panels;
use super::tile::Source;
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::epilogue::Residual;

/// A convolution with its epilogue: the tensors that it reads and writes besides its input and weights.
#[derive(Debug, Clone, Copy)]
pub struct Forward {
    /// Shapes.
    pub geometry: ConvGeometry,
    /// Adds `bias[c_out]`.
    pub bias: bool,
    /// Adds a residual, shaped like the output.
    pub residual: bool,
    /// Writes the values before the activation.
    pub raw: bool,
    /// Writes the leaky ReLU of the values, with this slope.
    pub activated: Option<f32>,
    /// Writes the sign mask of the values.
    pub mask: bool,
}

/// An input gradient with its epilogue.
#[derive(Debug, Clone, Copy)]
pub struct InputGradient {
    /// Shapes of the forward convolution.
    pub geometry: ConvGeometry,
    /// Multiplies by the derivative of a leaky ReLU: this slope where the mask has a 0.
    pub mask: Option<f32>,
    /// Adds a residual gradient, shaped like the input.
    pub residual: Residual,
}

/// A weight gradient in parts.
#[derive(Debug, Clone, Copy)]
pub struct WeightGradient {
    /// Shapes of the forward convolution.
    pub geometry: ConvGeometry,
    /// Parts.
    pub parts: usize,
    /// Output pixels of each part; the last ones may have fewer, or none.
    pub pixels_per_part: usize,
}

/// The tensors that all tasks of an input gradient read.
pub struct InputGradientData<'a> {
    /// The settings.
    pub kernel: &'a InputGradient,
    /// Its weights.
    pub panels: &'a Panels<'a>,
    /// The output's gradient.
    pub source: Source<'a>,
    /// The input's sign mask.
    pub mask: Option<&'a [u32]>,
    /// The residual gradient.
    pub residual: Option<&'a [f32]>,
}
