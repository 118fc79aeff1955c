//! Optimizers over the flat parameter buffer, as dispatches of an update program.

use super::parameters::{PARAMETERS, ParameterLayout};
use crate::device::{Key, ProgramBuilder, View};
use crate::kernels::adam::{Adam, CONTROL};
use crate::kernels::ascent::Ascent;
use crate::kernels::binary::{Binary, BinaryOp};
use crate::kernels::copy::StridedCopy;
use crate::kernels::momentum::Momentum;
use crate::kernels::moving_average::MovingAverage;
use crate::kernels::reduce::{Reduce, ReduceOp};
use serde::{Deserialize, Serialize};

/// The external slot of the gradients, laid out as the parameters.
pub const GRADIENTS: Key<f32> = Key::new("gradients");
/// The external slot of the control words, which the host writes before each step.
pub const CONTROL_WORDS: Key<f32> = Key::new("control");

/// The external slot of the parameters' moving averages.
pub const AVERAGES: Key<f32> = Key::new("averages");
/// The external slot of the parameters from before a perturbation.
pub const KEPT: Key<f32> = Key::new("weights before the perturbation");
/// The external slot of the parameters that are not trained, from before an iteration.
const UNTRAINED: Key<f32> = Key::new("statistics before the iteration");

/// The largest part of the flat buffer that one dispatch binds: half of WebGPU's default of 128 MiB.
const CHUNK: usize = 16 << 20;

/// An update rule with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Optimizer {
    /// Kingma & Ba 2015.
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// L2 decay, added to the gradient.
        weight_decay: f32,
        /// Decays the weights themselves instead (`AdamW`).
        #[serde(default)]
        decoupled: bool,
    },
    /// Stochastic gradient descent with (heavy-ball) momentum, in PyTorch's form.
    Momentum {
        /// Decay of the velocity.
        momentum: f32,
        /// L2 decay, added to the gradient.
        weight_decay: f32,
    },
}

impl Optimizer {
    /// Adam with Kingma & Ba's constants: β₁ = 0.9, β₂ = 0.999, ε = 1e-8, no weight decay.
    pub fn adam() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decoupled: false }
    }

    /// Stochastic gradient descent with `momentum`, without weight decay.
    pub fn sgd(momentum: f32) -> Self {
        Self::Momentum { momentum, weight_decay: 0.0 }
    }

    /// The external slots of its state, each of the parameters' size.
    pub fn state(&self) -> &'static [Key<f32>] {
        match self {
            Self::Adam { .. } => const { &[Key::new("adam.first"), Key::new("adam.second")] },
            Self::Momentum { .. } => const { &[Key::new("momentum.velocity")] },
        }
    }

    /// The control words of step `t` (from 1 on); `ema` is the decay of the moving average.
    pub fn control(&self, t: u64, learning_rate: f64, ema: f64) -> [f32; CONTROL] {
        let rate = MovingAverage::rate(ema, t);
        match *self {
            Self::Adam { beta1, beta2, .. } => {
                let correction = |beta: f64| 1.0 / (1.0 - beta.powi(t.min(i32::MAX as u64) as i32));
                [learning_rate as f32, correction(beta1) as f32, correction(beta2) as f32, rate]
            }
            Self::Momentum { .. } => [learning_rate as f32, 0.0, 0.0, rate],
        }
    }

    /// Appends the step over the trained parameters of `layout`; `norm` is the squared global norm of
    /// [`gradient_norm`].
    pub fn step(
        &self,
        builder: &mut ProgramBuilder,
        layout: &ParameterLayout,
        clip: Option<f32>,
        norm: View,
    ) {
        self.step_at(builder, layout, [0, layout.words()], clip, norm);
    }

    /// [`Optimizer::step`] of one of several networks. Its gradients and state begin at word `first` of buffers
    /// of `words` words.
    pub(super) fn step_at(
        &self,
        builder: &mut ProgramBuilder,
        layout: &ParameterLayout,
        [first, words]: [usize; 2],
        clip: Option<f32>,
        norm: View,
    ) {
        let mut part = |slot| builder.external(slot, words).part(first, layout.words());
        let mut slots = vec![part(GRADIENTS)];
        slots.extend(self.state().iter().map(|&slot| part(slot)));
        slots.insert(0, builder.external_named(layout.slot(), layout.words()));
        let control = builder.external(CONTROL_WORDS, CONTROL);
        for (first, n) in chunks(layout.trained_words()) {
            let mut views: Vec<View> = slots.iter().map(|slot| slot.part(first, n)).collect();
            views.push(control);
            views.extend(clip.map(|_| norm));
            match *self {
                Self::Adam { beta1, beta2, epsilon, weight_decay, decoupled } => {
                    let kernel = Adam { n, beta1, beta2, epsilon, weight_decay, decoupled, clip };
                    builder.dispatch("optimizer", kernel, &views);
                }
                Self::Momentum { momentum, weight_decay } => {
                    let kernel = Momentum { n, momentum, nesterov: false, weight_decay, clip };
                    builder.dispatch("optimizer", kernel, &views);
                }
            }
        }
    }
}

/// Appends the squared norm of all gradients, into `out` (one word).
pub fn gradient_norm(builder: &mut ProgramBuilder, words: usize, out: View) {
    let gradients = builder.external(GRADIENTS, words);
    squared_norm(builder, "gradient norm", gradients, words, out);
}

/// Appends the sum of squares of the `words` floats of `x`, into `out` (one word).
pub fn squared_norm(builder: &mut ProgramBuilder, label: &str, x: View, words: usize, out: View) {
    let chunks = chunks(words);
    // One sum per chunk, each in a row of 64 words so that it is a view of its own; the last stage adds the
    // first words of the rows.
    let stages = |builder: &mut ProgramBuilder, x: View, n: usize, out: View| {
        let stages = Reduce::stages(1, n, 1, ReduceOp::SumOfSquares);
        let mut input = x;
        for (i, &stage) in stages.iter().enumerate() {
            let output = match i + 1 == stages.len() {
                true => out,
                false => builder.transient(format!("{label} partial sums"), stage.output_len()),
            };
            builder.dispatch(label, stage, &[input, output]);
            input = output;
        }
    };
    let [(_, n)] = chunks[..] else {
        let total = builder.transient(format!("{label} chunks"), chunks.len() * 64);
        for (row, &(first, n)) in chunks.iter().enumerate() {
            stages(builder, x.part(first, n), n, total.part(row * 64, 1));
        }
        let sum = StridedCopy { shape: [1, 1, 1, chunks.len()], strides: [0, 0, 0, 64], offset: 0 };
        let firsts = builder.transient(format!("{label} sums"), chunks.len());
        builder.dispatch(label, sum, &[total, firsts]);
        for stage in Reduce::stages(1, chunks.len(), 1, ReduceOp::Sum) {
            builder.dispatch(label, stage, &[firsts, out]);
        }
        return;
    };
    stages(builder, x, n, out);
}

/// Appends the perturbation of sharpness-aware minimisation of the first `trained` of `words` parameters, which it
/// keeps for [`unperturb`]: see [`Ascent`].
pub fn perturb(builder: &mut ProgramBuilder, words: usize, trained: usize, radius: f32, adaptive: bool) {
    let parameters = builder.external(PARAMETERS, words);
    let gradients = builder.external(GRADIENTS, words);
    let kept = builder.external(KEPT, trained);
    let norm = builder.transient("perturbation norm", 1);
    let measured = match adaptive {
        true => builder.transient("relative gradients", trained),
        false => gradients,
    };
    for (first, n) in chunks(trained) {
        let [parameters, gradients] = [parameters, gradients].map(|view| view.part(first, n));
        builder.dispatch("weights kept", plain_copy(n), &[parameters, kept.part(first, n)]);
        if adaptive {
            let strides = [0, 0, 0, 1];
            let product =
                Binary { op: BinaryOp::Mul, shape: [1, 1, 1, n], a_strides: strides, b_strides: strides };
            let out = measured.part(first, n);
            builder.dispatch("relative gradients", product, &[parameters, gradients, out]);
        }
    }
    squared_norm(builder, "perturbation norm", measured, trained, norm);
    for (first, n) in chunks(trained) {
        let views = [parameters.part(first, n), gradients.part(first, n), norm];
        builder.dispatch("perturb", Ascent { n, radius, adaptive }, &views);
    }
}

/// Appends the restoration of the parameters that [`perturb`] kept.
pub fn unperturb(builder: &mut ProgramBuilder, words: usize, trained: usize) {
    let parameters = builder.external(PARAMETERS, words);
    let kept = builder.external(KEPT, trained);
    for (first, n) in chunks(trained) {
        builder.dispatch("weights again", plain_copy(n), &[kept.part(first, n), parameters.part(first, n)]);
    }
}

/// Appends a copy of the parameters that are not trained, such as running statistics, for [`restore_untrained`].
pub fn keep_untrained(builder: &mut ProgramBuilder, layout: &ParameterLayout) {
    copy_untrained(builder, layout, |[parameters, kept]| [parameters, kept]);
}

/// Appends the copy back of the parameters that [`keep_untrained`] kept.
pub fn restore_untrained(builder: &mut ProgramBuilder, layout: &ParameterLayout) {
    copy_untrained(builder, layout, |[parameters, kept]| [kept, parameters]);
}

fn copy_untrained(
    builder: &mut ProgramBuilder,
    layout: &ParameterLayout,
    from_to: impl Fn([View; 2]) -> [View; 2],
) {
    let trained = layout.trained_words();
    let rest = layout.words() - trained;
    if rest == 0 {
        return;
    }
    let parameters = builder.external(PARAMETERS, layout.words()).part(trained, rest);
    let kept = builder.external(UNTRAINED, rest);
    for (first, n) in chunks(rest) {
        let views = from_to([parameters, kept].map(|view| view.part(first, n)));
        builder.dispatch("statistics kept", plain_copy(n), &views);
    }
}

/// Appends a step of the moving average of the trained parameters of `layout`; the others are copied from
/// [`PARAMETERS`].
pub fn average(builder: &mut ProgramBuilder, layout: &ParameterLayout) {
    let parameters = builder.external(PARAMETERS, layout.words());
    let averages = builder.external(AVERAGES, layout.words());
    let control = builder.external(CONTROL_WORDS, CONTROL);
    let trained = layout.trained_words();
    for (first, n) in chunks(trained) {
        let views = [parameters.part(first, n), averages.part(first, n), control];
        builder.dispatch("moving average", MovingAverage { n }, &views);
    }
    let rest = layout.words() - trained;
    if rest > 0 {
        let views = [parameters, averages].map(|view| view.part(trained, rest));
        builder.dispatch("statistics", plain_copy(rest), &views);
    }
}

fn plain_copy(n: usize) -> StridedCopy {
    StridedCopy { shape: [1, 1, 1, n], strides: [0, 0, 0, 1], offset: 0 }
}

/// (first word, words) of the parts of a flat buffer that fit a binding.
fn chunks(words: usize) -> Vec<(usize, usize)> {
    (0..words.div_ceil(CHUNK)).map(|i| (i * CHUNK, CHUNK.min(words - i * CHUNK))).collect()
}
