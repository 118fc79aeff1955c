//! The geometry of a normalisation: which elements share statistics, and how sums over rows are divided.

use crate::compute::contract::grid;
use crate::compute::cpu::elementwise::items_per_task;
use rayon::prelude::*;

/// The groups of a tensor, seen as `[outer, rows, channels]`, whose elements share a mean and a variance: `size`
/// neighbouring channels of one of `outer`, over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NormGeometry {
    /// Images that have statistics of their own; 1 for batch norm.
    pub outer: usize,
    /// Pixels, or pixels of all images for batch norm.
    pub rows: usize,
    /// Channels: a multiple of 4.
    pub channels: usize,
    /// Channels that share statistics; divides `channels`. 1 for batch norm.
    pub size: usize,
}

impl NormGeometry {
    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        self.outer * self.rows * self.channels
    }

    /// Groups of each of `outer`, with a mean and a variance each.
    pub fn groups(&self) -> usize {
        self.channels / self.size
    }

    /// The number of means, and of variances.
    pub fn statistics_len(&self) -> usize {
        self.outer * self.groups()
    }

    /// Elements that share a mean.
    pub fn population(&self) -> usize {
        self.rows * self.size
    }

    /// Four channels, as the kernels take them.
    pub(crate) fn quads(&self) -> usize {
        self.channels / 4
    }

    /// Whether the kernels support it.
    pub fn is_supported(&self) -> bool {
        self.channels.is_multiple_of(4) && self.elements() > 0
    }

    /// Bands of 8 rows, as a thread takes them of each quad: those of the sign mask.
    pub(crate) fn bands(&self) -> usize {
        (self.outer * self.rows).div_ceil(8)
    }

    /// The sizes, as the shaders' parameter blocks begin.
    pub(crate) fn words(&self) -> [u32; 4] {
        [self.outer, self.rows, self.channels, self.size].map(|v| v as u32)
    }

    /// A tensor `[outer, channels]` of `value(statistic, channel)`, where `statistic` is the number of the channel's
    /// mean.
    pub(crate) fn per_channel(&self, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let places =
            (0..self.outer).flat_map(|outer| (0..self.channels).map(move |channel| (outer, channel)));
        places.map(|(outer, channel)| value(self.statistic(outer, channel), channel)).collect()
    }

    /// The number of the mean of a channel.
    pub(crate) fn statistic(&self, outer: usize, channel: usize) -> usize {
        outer * self.groups() + channel / self.size
    }
}

/// The division of sums over the rows of a tensor: a workgroup sums a part of the rows, of some neighbouring quads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowParts {
    /// Rows of a part; the last one of each of `outer` may have fewer.
    pub part: usize,
    /// Parts of each of `outer`.
    pub parts: usize,
}

/// The rows that a thread sums, if there are that many.
const ROWS_PER_THREAD: usize = 16;
/// The most parts: with more, adding them up would dominate the time.
const MOST_PARTS: usize = 64;

impl RowParts {
    /// Enough parts to fill a device.
    pub fn new(geometry: &NormGeometry) -> Self {
        let threads = 256 / Self::lanes(geometry);
        let parts = geometry.rows.div_ceil(threads * ROWS_PER_THREAD).min(MOST_PARTS);
        let part = geometry.rows.div_ceil(parts);
        Self { part, parts: geometry.rows.div_ceil(part) }
    }

    /// Neighbouring quads of channels that a workgroup sums. Their loads coalesce, and every thread has a quad.
    pub(crate) fn lanes(geometry: &NormGeometry) -> usize {
        1 << geometry.quads().trailing_zeros().min(5)
    }

    /// The shaders' parameter block.
    pub(crate) fn words(&self, geometry: &NormGeometry) -> Vec<u32> {
        let all_parts = geometry.outer * self.parts;
        let words = [geometry.rows, geometry.quads(), self.part, self.parts, all_parts, 0, 0, 0];
        words.map(|v| v as u32).to_vec()
    }

    /// Two partial sums for each channel.
    pub fn partial_len(&self, geometry: &NormGeometry) -> usize {
        2 * geometry.outer * self.parts * geometry.channels
    }

    /// A workgroup for some quads of a part.
    pub(crate) fn workgroups(&self, geometry: &NormGeometry) -> [u32; 3] {
        grid(geometry.outer * self.parts * (geometry.quads() / Self::lanes(geometry)))
    }

    /// Calls `sum(outer, rows, results)` for every part, in parallel: `results` are its two times `channels` sums.
    pub(crate) fn for_each(
        &self,
        geometry: &NormGeometry,
        partial: &mut [f32],
        sum: impl Fn(usize, std::ops::Range<usize>, &mut [f32]) + Sync,
    ) {
        let parts = partial.par_chunks_mut(2 * geometry.channels).enumerate();
        parts.with_min_len(items_per_task(self.part * geometry.channels)).for_each(|(index, results)| {
            let (outer, first) = (index / self.parts, index % self.parts * self.part);
            sum(outer, first..geometry.rows.min(first + self.part), results);
        });
    }
}

/// Rows that the twins sum in f32 before they continue in f64.
const SHORT: usize = 16;

/// For each channel, the sums over `rows` of the two terms that `add` adds to its arguments. A few terms at a time are
/// summed in f32, in vectors, and these sums are added in f64.
pub(crate) fn channel_sums<R>(
    channels: usize,
    mut rows: impl Iterator<Item = R>,
    add: impl Fn(R, &mut [f32], &mut [f32]),
) -> [Vec<f64>; 2] {
    let mut sums = [(); 2].map(|()| vec![0.0f64; channels]);
    let mut short = [(); 2].map(|()| vec![0.0f32; channels]);
    loop {
        short.iter_mut().for_each(|short| short.fill(0.0));
        let [first, second] = &mut short;
        let mut any = false;
        for row in rows.by_ref().take(SHORT) {
            add(row, first, second);
            any = true;
        }
        if !any {
            return sums;
        }
        for (sums, short) in sums.iter_mut().zip(&short) {
            sums.iter_mut().zip(short).for_each(|(sum, &short)| *sum += f64::from(short));
        }
    }
}

/// The threads of a workgroup that adds parts up: one a channel, and whole groups of channels.
pub(crate) const COMBINE_THREADS: usize = 64;

/// The workgroups that add parts up.
pub(crate) fn combine_workgroups(geometry: &NormGeometry) -> [u32; 3] {
    grid(geometry.statistics_len().div_ceil((COMBINE_THREADS / geometry.size).max(1)))
}
