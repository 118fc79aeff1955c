//! Weights in the order in which the micro-kernel reads them.

use crate::kernels::cpu::lanes::LANES;
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights `[taps, channels, outputs]`, cut along the outputs into panels `[taps, channels, 16 vectors]`,
/// with zeros behind the last output.
pub struct Panels<'a> {
    weights: Cow<'a, [f32]>,
    rows: usize,
    channels: usize,
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
    /// Panels of at most `vectors` vectors. Copies the weights unless they are one panel as they stand.
    pub fn new(weights: &'a [f32], channels: usize, outputs: usize, vectors: usize) -> Self {
        let rows = weights.len() / outputs;
        let width = vectors * LANES;
        let as_they_stand = outputs.is_multiple_of(LANES) && outputs <= width;
        let weights = if as_they_stand {
            Cow::Borrowed(weights)
        } else {
            let mut packed = vec![0.0; rows * outputs.next_multiple_of(LANES)];
            packed.par_chunks_mut(rows * width).enumerate().for_each(|(index, panel)| {
                let (first, width) = (index * width, panel.len() / rows);
                let used = width.min(outputs - first);
                for (to, from) in panel.chunks_exact_mut(width).zip(weights.chunks_exact(outputs)) {
                    to[..used].copy_from_slice(&from[first..first + used]);
                }
            });
            Cow::Owned(packed)
        };
        Self { weights, rows, channels, outputs, vectors }
    }

    /// Length of the sums over channels.
    pub fn channels(&self) -> usize {
        self.channels
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
