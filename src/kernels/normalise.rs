//! Normalised channels, and their leaky ReLU: batch norm (Ioffe & Szegedy 2015) and group norm (Wu & He, ECCV 2018), by
//! the statistics of the tensor itself.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::{items_per_task, leaky_relu};
use crate::compute::half::in_f32;
use crate::compute::mask::mask_words;
use crate::compute::norm_geometry::NormGeometry;
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// `raw = (x - mean) / sqrt(variance + epsilon) * weight + bias`, `activated = leaky_relu(raw)`, and the sign mask of
/// `raw` (layout: [`crate::compute::mask`]). Each of the three is written only if asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalise {
    /// The groups that share statistics.
    pub geometry: NormGeometry,
    /// Added to the variance.
    pub epsilon: f32,
    /// Writes the normalised values.
    pub raw: bool,
    /// Writes their leaky ReLU with this slope.
    pub activated: Option<f32>,
    /// Writes their sign mask.
    pub mask: bool,
    /// The storage type of `x`, `raw` and `activated`.
    pub storage: Storage,
}

impl Normalise {
    /// Every choice of results, with images that end in the middle of a band, in either storage type.
    pub fn permutations() -> Vec<Self> {
        let results = [
            (true, None, false),
            (false, Some(0.2), true),
            (true, Some(0.2), true),
            (false, Some(0.2), false),
        ];
        let with = |storage| {
            results.map(|(raw, activated, mask)| Self {
                geometry: NormGeometry { outer: 2, rows: 15, channels: 24, size: 3 },
                epsilon: 1e-5,
                raw,
                activated,
                mask,
                storage,
            })
        };
        [Storage::F32, Storage::F16].map(with).into_iter().flatten().collect()
    }
}

impl Kernel for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn bindings(&self) -> Vec<Binding> {
        let g = &self.geometry;
        let read = |name, index, words| binding(name, index, Access::Read, words);
        let write = |name, index| binding(name, index, Access::Write, g.elements()).stored(self.storage);
        let mut all = vec![
            read("x", 1, g.elements()).stored(self.storage),
            read("mean", 2, g.statistics_len()),
            read("variance", 3, g.statistics_len()),
            read("weight", 4, g.channels),
            read("bias", 5, g.channels),
        ];
        all.extend(self.raw.then(|| write("raw", 6)));
        all.extend(self.activated.map(|_| write("activated", 7)));
        let words = mask_words(g.outer * g.rows, g.channels);
        all.extend(self.mask.then(|| binding("mask", 8, Access::Write, words)));
        all
    }

    fn shader(&self) -> Shader {
        Shader::new("normalise")
            .with_switch("RAW", self.raw)
            .with_switch("ACTIVATED", self.activated.is_some())
            .with_switch("RELU", self.activated == Some(0.0))
            .with_switch("MASK", self.mask)
            .with_switch("HALF", self.storage == Storage::F16)
            .with_switch("HALF_C", self.storage == Storage::F16)
    }

    fn uniforms(&self) -> Vec<u32> {
        let floats = [self.epsilon, self.activated.unwrap_or(1.0)].map(f32::to_bits);
        self.geometry.words().into_iter().chain(floats).chain([0, 0]).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.geometry.bands() * self.geometry.quads())
    }

    fn flops(&self) -> u64 {
        3 * self.geometry.elements() as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| {
            let [x, mean, variance, weight, bias, results @ ..] = arguments else {
                unreachable!("normalise binds x, statistics and parameters")
            };
            let mut results = results.iter_mut();
            let g = self.geometry;
            // A task takes whole bands of 8 rows: no two write one word of the mask.
            let bands = items_per_task(8 * g.channels);
            let len = 8 * bands * g.channels;
            let tasks = (g.outer * g.rows).div_ceil(8 * bands);
            let raw = self.raw.then(|| results.next().expect("raw is bound").f32_mut());
            let activated = self.activated.map(|_| results.next().expect("activated is bound").f32_mut());
            let mask = self.mask.then(|| results.next().expect("mask is bound").u32_mut());
            let affine = Affine::new(&g, mean.f32(), variance.f32(), weight.f32(), bias.f32(), self.epsilon);
            let all = x.f32().par_chunks(len).zip(chunks(raw, len, tasks));
            let all = all.zip(chunks(activated, len, tasks)).zip(chunks(mask, bands * g.quads(), tasks));
            all.enumerate().for_each(|(task, (((x, mut raw), mut activated), mut mask))| {
                mask.iter_mut().for_each(|words| words.fill(0));
                let mut line = vec![0.0; g.channels];
                for (row, x) in x.chunks_exact(g.channels).enumerate() {
                    affine.apply((8 * task * bands + row) / g.rows, x, &mut line);
                    let at = row * g.channels..(row + 1) * g.channels;
                    if let Some(raw) = &mut raw {
                        raw[at.clone()].copy_from_slice(&line);
                    }
                    if let (Some(activated), Some(slope)) = (&mut activated, self.activated) {
                        let pairs = activated[at].iter_mut().zip(&line);
                        pairs.for_each(|(y, &v)| *y = leaky_relu(v, slope));
                    }
                    if let Some(mask) = &mut mask {
                        let words = &mut mask[row / 8 * g.quads()..][..g.quads()];
                        for (word, v) in words.iter_mut().zip(line.as_chunks::<4>().0) {
                            let bit = |channel: usize| u32::from(v[channel] > 0.0) << channel;
                            *word |= (bit(0) | bit(1) | bit(2) | bit(3)) << (4 * (row % 8));
                        }
                    }
                }
            });
        });
    }
}

/// Chunks of an output that may not be bound.
fn chunks<T: Send>(
    values: Option<&mut [T]>,
    len: usize,
    count: usize,
) -> impl IndexedParallelIterator<Item = Option<&mut [T]>> {
    let chunks: Vec<Option<&mut [T]>> = match values {
        Some(values) => values.chunks_mut(len).map(Some).collect(),
        None => std::iter::repeat_with(|| None).take(count).collect(),
    };
    chunks.into_par_iter()
}

/// For each channel of each of `outer`: the mean that is subtracted, the factor, and the addend.
struct Affine<'a> {
    channels: usize,
    mean: Vec<f32>,
    factor: Vec<f32>,
    bias: &'a [f32],
}

impl<'a> Affine<'a> {
    fn new(
        g: &NormGeometry,
        mean: &[f32],
        variance: &[f32],
        weight: &[f32],
        bias: &'a [f32],
        epsilon: f32,
    ) -> Self {
        let factor = |at: usize, channel: usize| weight[channel] / (variance[at] + epsilon).sqrt();
        Self {
            channels: g.channels,
            mean: g.per_channel(|at, _| mean[at]),
            factor: g.per_channel(factor),
            bias,
        }
    }

    fn apply(&self, outer: usize, x: &[f32], y: &mut [f32]) {
        let at = outer * self.channels..(outer + 1) * self.channels;
        let terms = x.iter().zip(&self.mean[at.clone()]).zip(&self.factor[at]).zip(self.bias);
        y.iter_mut().zip(terms).for_each(|(y, (((x, mean), factor), bias))| *y = (x - mean) * factor + bias);
    }
}
