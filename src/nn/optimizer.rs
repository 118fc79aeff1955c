//! Optimizers over the flat parameter buffer, as dispatches of an update program.

use super::parameters::PARAMETERS;
use crate::device::{ProgramBuilder, View};
use crate::kernels::adam::{Adam, CONTROL};
use crate::kernels::momentum::Momentum;
use crate::kernels::reduce::{Reduce, ReduceOp};
use serde::{Deserialize, Serialize};

/// The external slot of the gradients, laid out as the parameters.
pub const GRADIENTS: &str = "gradients";
/// The external slot of the control words, which the host writes before each step.
pub const CONTROL_WORDS: &str = "control";

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
    /// The external slots of its state, each of the parameters' size.
    pub fn state(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } => &["adam.first", "adam.second"],
            Self::Momentum { .. } => &["momentum.velocity"],
        }
    }

    /// The control words of step `t` (from 1 on).
    pub fn control(&self, t: u64, learning_rate: f64) -> [f32; CONTROL] {
        match *self {
            Self::Adam { beta1, beta2, .. } => {
                let correction = |beta: f64| 1.0 / (1.0 - beta.powi(t.min(i32::MAX as u64) as i32));
                [learning_rate as f32, correction(beta1) as f32, correction(beta2) as f32, 0.0]
            }
            Self::Momentum { .. } => [learning_rate as f32, 0.0, 0.0, 0.0],
        }
    }

    /// Appends the step over `words` parameters; `norm` is the squared global norm of [`gradient_norm`].
    pub fn step(&self, builder: &mut ProgramBuilder, words: usize, clip: Option<f32>, norm: View) {
        let whole = |builder: &mut ProgramBuilder, slot: &str| builder.external(slot, words);
        let mut slots = vec![whole(builder, PARAMETERS), whole(builder, GRADIENTS)];
        slots.extend(self.state().iter().map(|slot| whole(builder, slot)));
        let control = builder.external(CONTROL_WORDS, CONTROL);
        for (first, n) in chunks(words) {
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
        let sum =
            crate::kernels::copy::StridedCopy { shape: [1, 1, 1, chunks.len()], strides: [0, 0, 0, 64] };
        let firsts = builder.transient(format!("{label} sums"), chunks.len());
        builder.dispatch(label, sum, &[total, firsts]);
        for stage in Reduce::stages(1, chunks.len(), 1, ReduceOp::Sum) {
            builder.dispatch(label, stage, &[firsts, out]);
        }
        return;
    };
    stages(builder, x, n, out);
}

/// (first word, words) of the parts of a flat buffer that fit a binding.
fn chunks(words: usize) -> Vec<(usize, usize)> {
    (0..words.div_ceil(CHUNK)).map(|i| (i * CHUNK, CHUNK.min(words - i * CHUNK))).collect()
}
