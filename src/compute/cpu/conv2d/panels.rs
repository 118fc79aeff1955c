//! Weights in the order in which the micro-kernel reads them.

use crate::compute::cpu::lanes::LANES;
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights `[taps, channels, outputs]`, cut along the outputs into panels `[taps, channels, 16 vectors]`, with zeros
/// after the last output.
pub struct Panels<'a> {
    weights: Cow<'a, [f32]>,
    rows: usize,
    outputs: usize,
    vectors: usize,
}

/// One panel.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    /// `[taps, channels, 16 vectors]`.
    pub weights: &'a [f32],
    /// Width in vectors of 16.
    pub vectors: usize,
    /// The first output.
    pub first: usize,
    /// Outputs that exist, at most `16 vectors`.
    pub outputs: usize,
}

impl<'a> Panels<'a> {
    /// Panels of at most `vectors` vectors, with the taps in the given order, or as they stand. Copies the
    /// weights unless they are one panel already.
    pub fn new(weights: &'a [f32], order: Option<&[usize]>, outputs: usize, vectors: usize) -> Self {
        let rows = weights.len() / outputs;
        let width = vectors * LANES;
        let as_they_stand = order.is_none() && outputs.is_multiple_of(LANES) && outputs <= width;
        let weights = if as_they_stand {
            Cow::Borrowed(weights)
        } else {
            let mut packed = vec![0.0; rows * outputs.next_multiple_of(LANES)];
            packed.par_chunks_mut(rows * width).enumerate().for_each(|(index, panel)| {
                let (first, width) = (index * width, panel.len() / rows);
                let used = width.min(outputs - first);
                for (row, to) in panel.chunks_exact_mut(width).enumerate() {
                    let row = order.map_or(row, |order| {
                        let channels = rows / order.len();
                        order[row / channels] * channels + row % channels
                    });
                    let from = row * outputs + first;
                    to[..used].copy_from_slice(&weights[from..from + used]);
                }
            });
            Cow::Owned(packed)
        };
        Self { weights, rows, outputs, vectors }
    }

    /// The panels, in the order of their outputs.
    pub fn iter(&self) -> impl Iterator<Item = Panel<'_>> {
        let width = self.vectors * LANES;
        self.weights.chunks(self.rows * width).enumerate().map(move |(index, weights)| {
            let vectors = weights.len() / self.rows / LANES;
            let first = index * width;
            Panel { weights, vectors, first, outputs: (vectors * LANES).min(self.outputs - first) }
        })
    }
}
