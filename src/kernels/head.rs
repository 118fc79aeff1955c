//! The end of a residual network and the start of its backward pass in one dispatch: global average
//! pool, linear layer, [`super::logit_loss`], and the gradient back to the pool's input.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::sloped;
use crate::compute::cpu::logits::LogitRow;
use crate::compute::half::in_f32;
use crate::compute::loss_term::{
    LossTerm, STATS, any_functional, example_functionals, example_parts, part_of_rows, part_words,
};
use crate::compute::mask::{mask_bit, mask_words};
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// pooled = mean of activated `[n, pixels, features]` over pixels; logits = pooled · weights
/// `[features, classes]` + bias; stats `[n, 5]` and the loss's gradient as in [`super::logit_loss`], the
/// upstream gradient of each image's loss being 1 (the loss is the sum over images).
///
/// Bindings: activated 1, weights 2, bias 3, labels 4, mask 5 (with `slope`), logits 6 (with `logits`), stats 7,
/// gradient 8 (with `gradient`), saved 9 (with `saved`). WebGPU grants 8 storage buffers, so mask, logits, gradient and
/// saved cannot all be bound at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Images: the sum of the parts' counts.
    pub n: usize,
    /// Pixels of an image's feature map.
    pub pixels: usize,
    /// Features of a pixel, at most [`Head::MAX_FEATURES`].
    pub features: usize,
    /// Classes, at most [`Head::MAX_CLASSES`].
    pub classes: usize,
    /// The parts of the batch in order, at most [`crate::compute::loss_term::MAX_PARTS`].
    pub parts: Vec<LossTerm>,
    /// The slope of the leaky ReLU that made `activated`: its gradient is applied through the mask of its
    /// input (layout: [`crate::compute::mask`], pixels counted over the whole batch).
    pub slope: Option<f32>,
    /// Writes the logits `[n, classes]`.
    pub logits: bool,
    /// Writes the gradient `[n, pixels, features]` at `activated`, or before the leaky ReLU with `slope`.
    pub gradient: bool,
    /// Writes what the linear layer's weight gradient needs into one buffer of [`Head::saved_words`]:
    /// pooled `[n, features]`, zeros up to word [`Head::logit_gradient_offset`], the loss's gradient at
    /// the logits `[n, classes]`.
    pub saved: bool,
    /// The storage type of `activated` and `gradient`; with f16 the features are a multiple of 4.
    pub storage: Storage,
    /// A power of two that multiplies `gradient` alone, to keep small ones within f16.
    pub factor: f32,
}

impl Head {
    /// The largest number of features: what fits into WebGPU's 16 KiB of workgroup memory.
    pub const MAX_FEATURES: usize = 1024;
    /// The largest number of classes.
    pub const MAX_CLASSES: usize = 1024;

    /// The word of `saved` where the loss's gradient at the logits begins: an aligned view.
    pub fn logit_gradient_offset(&self) -> usize {
        (self.n * self.features).next_multiple_of(crate::compute::VIEW_ALIGNMENT as usize / 4)
    }

    /// The words of `saved`.
    pub fn saved_words(&self) -> usize {
        self.logit_gradient_offset() + self.n * self.classes
    }

    /// The permutations that the engine uses: scores, an SGLD step, an update, and everything except the mask.
    pub fn permutations() -> Vec<Self> {
        let scores = Self {
            n: 9,
            pixels: 16,
            features: 24,
            classes: 10,
            parts: example_parts(),
            slope: None,
            logits: true,
            gradient: false,
            saved: false,
            storage: Storage::F32,
            factor: 1.0,
        };
        let step = Self { logits: false, gradient: true, slope: Some(0.2), ..scores.clone() };
        let update = Self { saved: true, ..step.clone() };
        let unmasked = Self { slope: None, logits: true, ..update.clone() };
        let half = |kernel: &Self| Self { storage: Storage::F16, factor: 8.0, ..kernel.clone() };
        let halves = [half(&scores), half(&step), half(&update)];
        let functionals = [&scores, &update].map(|k| Self { parts: example_functionals(), ..k.clone() });
        [scores, step, update, unmasked].into_iter().chain(halves).chain(functionals).collect()
    }

    /// Writes one image's outputs.
    fn image(&self, image: usize, inputs: &Inputs<'_>, part: &LossTerm, outputs: Outputs<'_>) {
        let (pixels, features, classes) = (self.pixels, self.features, self.classes);
        let mut pooled = vec![0.0f32; features];
        for pixel in inputs.activated[image * pixels * features..][..pixels * features].chunks(features) {
            pooled.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += v);
        }
        pooled.iter_mut().for_each(|sum| *sum /= pixels as f32);
        let mut logits = inputs.bias.to_vec();
        for (&value, weights) in pooled.iter().zip(inputs.weights.chunks(classes)) {
            logits.iter_mut().zip(weights).for_each(|(logit, weight)| *logit += value * weight);
        }
        let row = LogitRow::new(&logits, inputs.labels[image]);
        outputs.stats.copy_from_slice(&row.stats(part));
        if let Some(out) = outputs.logits {
            out.copy_from_slice(&logits);
        }
        if !self.gradient && !self.saved {
            return;
        }
        let mut logit_gradient = vec![0.0; classes];
        row.gradient(part, 1.0, &mut logit_gradient);
        if let Some((saved_pooled, saved_gradient)) = outputs.saved {
            saved_pooled.copy_from_slice(&pooled);
            saved_gradient.copy_from_slice(&logit_gradient);
        }
        let Some(gradient) = outputs.gradient else { return };
        for (pooled, weights) in pooled.iter_mut().zip(inputs.weights.chunks(classes)) {
            *pooled = logit_gradient.iter().zip(weights).map(|(g, w)| g * w).sum::<f32>() / pixels as f32;
            *pooled *= self.factor;
        }
        for (pixel, gradient) in gradient.chunks_mut(features).enumerate() {
            for (feature, (gradient, &pooled)) in gradient.iter_mut().zip(&pooled).enumerate() {
                let active = inputs.mask.is_none_or(|mask| {
                    let (word, bit) = mask_bit(image * pixels + pixel, feature, features);
                    mask[word] >> bit & 1 == 1
                });
                *gradient = if active { pooled } else { sloped(pooled, self.slope.unwrap_or(1.0)) };
            }
        }
    }
}

struct Inputs<'a> {
    activated: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
    labels: &'a [u32],
    mask: Option<&'a [u32]>,
}

struct Outputs<'a> {
    stats: &'a mut [f32],
    logits: Option<&'a mut [f32]>,
    gradient: Option<&'a mut [f32]>,
    saved: Option<(&'a mut [f32], &'a mut [f32])>,
}

impl Kernel for Head {
    fn name(&self) -> &'static str {
        "head"
    }

    fn bindings(&self) -> Vec<Binding> {
        let &Self { n, pixels, features, classes, .. } = self;
        let masked = self.slope.is_some();
        assert!(
            !(masked && self.logits && self.gradient && self.saved),
            "head: mask, logits, gradient and saved together exceed 8 storage buffers"
        );
        assert!(features <= Self::MAX_FEATURES && classes <= Self::MAX_CLASSES, "head: {self:?}");
        let mut bindings = vec![
            binding("activated", 1, Access::Read, n * pixels * features).stored(self.storage),
            binding("weights", 2, Access::Read, features * classes),
            binding("bias", 3, Access::Read, classes),
            binding("labels", 4, Access::Read, n),
        ];
        let mut add = |on: bool, b: Binding| bindings.extend(on.then_some(b));
        add(masked, binding("mask", 5, Access::Read, mask_words(n * pixels, features)));
        add(self.logits, binding("logits", 6, Access::Write, n * classes));
        add(true, binding("stats", 7, Access::Write, n * STATS));
        let gradient = binding("gradient", 8, Access::Write, n * pixels * features).stored(self.storage);
        add(self.gradient, gradient);
        add(self.saved, binding("saved", 9, Access::Write, self.saved_words()));
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("head")
            .with_u32("PIXELS", self.pixels as u32)
            .with_u32("FEATURES", self.features as u32)
            .with_u32("CLASSES", self.classes as u32)
            .with_switch("MASK", self.slope.is_some())
            .with_switch("RELU", self.slope == Some(0.0))
            .with_switch("LOGITS", self.logits)
            .with_switch("GRADIENT", self.gradient)
            .with_switch("HALF", self.storage == Storage::F16)
            .with_switch("SAVED", self.saved)
            .with_switch("FUNCTIONAL", any_functional(&self.parts))
            .with_switch("BACKWARD", self.gradient || self.saved)
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words =
            vec![self.n as u32, self.logit_gradient_offset() as u32, self.slope.unwrap_or(1.0).to_bits()];
        words.push(self.factor.to_bits());
        words.extend(part_words(self.n, &self.parts));
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n)
    }

    fn flops(&self) -> u64 {
        let linear = 2 * self.features * self.classes;
        let pool = self.pixels * self.features;
        let passes = if self.gradient { 2 } else { 1 };
        (self.n * passes * (linear + pool)) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        in_f32(&self.bindings(), arguments, |arguments| self.run_in_f32(arguments));
    }
}

impl Head {
    fn run_in_f32(&self, arguments: &mut [Argument<'_>]) {
        let mut arguments = arguments.iter_mut();
        let mut next = |on: bool| on.then(|| arguments.next().expect("head's bindings"));
        let [activated, weights, bias, labels] = [0; 4].map(|_| &*next(true).expect("bound"));
        let mask = next(self.slope.is_some()).map(|mask| &*mask);
        let [logits, stats, gradient, saved] =
            [self.logits, true, self.gradient, self.saved].map(|on| next(on).map(Argument::f32_mut));
        let inputs = Inputs {
            activated: activated.f32(),
            weights: weights.f32(),
            bias: bias.f32(),
            labels: labels.u32(),
            mask: mask.map(Argument::u32),
        };
        let saved = saved.map(|saved| {
            let (pooled, logit_gradient) = saved.split_at_mut(self.logit_gradient_offset());
            let (pooled, padding) = pooled.split_at_mut(self.n * self.features);
            padding.fill(0.0);
            (pooled, logit_gradient)
        });
        let (saved_pooled, saved_gradient) = saved.unzip();
        let logits = rows(logits, self.classes, self.n);
        let gradient = rows(gradient, self.pixels * self.features, self.n);
        let saved_pooled = rows(saved_pooled, self.features, self.n);
        let saved_gradient = rows(saved_gradient, self.classes, self.n);
        let mut images: Vec<_> = stats
            .expect("bound")
            .chunks_mut(STATS)
            .zip(logits)
            .zip(gradient)
            .zip(saved_pooled.into_iter().zip(saved_gradient))
            .map(|(((stats, logits), gradient), (pooled, logit_gradient))| Outputs {
                stats,
                logits,
                gradient,
                saved: pooled.zip(logit_gradient),
            })
            .collect();
        let parts = part_of_rows(self.n, &self.parts);
        images.par_drain(..).zip(parts).enumerate().for_each(|(image, (outputs, part))| {
            self.image(image, &inputs, part, outputs);
        });
    }
}

/// The `n` rows of an output, or `n` times nothing.
fn rows(output: Option<&mut [f32]>, width: usize, n: usize) -> Vec<Option<&mut [f32]>> {
    match output {
        Some(output) => output.chunks_mut(width).map(Some).collect(),
        None => (0..n).map(|_| None).collect(),
    }
}
