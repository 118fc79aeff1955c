//! The gradient of [`super::logit_loss`] with respect to the logits.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::logits::LogitRow;
use crate::compute::loss_term::{
    LossTerm, any_functional, example_functionals, example_parts, part_of_rows, part_words,
};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `gradient[i, k] = upstream[i] ((a + b) softmax(f_i)[k] + (c - b) [k = y_i] + 2 d f_i[k] + e ∂φ/∂f_i[k])`,
/// `[n, classes]`.
///
/// The gradient of a row whose label is not a class is NaN if a term of its part that needs the label has a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitLossGradient {
    /// Rows: the sum of the parts' counts.
    pub n: usize,
    /// Classes.
    pub classes: usize,
    /// The parts of the batch in order, at most [`crate::compute::loss_term::MAX_PARTS`].
    pub parts: Vec<LossTerm>,
}

impl LogitLossGradient {
    /// A batch of JEM: data, samples, labelled images.
    pub fn permutations() -> Vec<Self> {
        [example_parts(), example_functionals()].map(|parts| Self { n: 9, classes: 10, parts }).into()
    }
}

impl Kernel for LogitLossGradient {
    fn name(&self) -> &'static str {
        "logit_loss_gradient"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("logits", 1, Access::Read, self.n * self.classes),
            binding("labels", 2, Access::Read, self.n),
            binding("upstream", 3, Access::Read, self.n),
            binding("gradient", 4, Access::Write, self.n * self.classes),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("logit_loss_gradient").with_switch("FUNCTIONAL", any_functional(&self.parts))
    }

    fn uniforms(&self) -> Vec<u32> {
        let mut words = vec![self.n as u32, self.classes as u32, 0, 0];
        words.extend(part_words(self.n, &self.parts));
        words
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n)
    }

    fn flops(&self) -> u64 {
        10 * (self.n * self.classes) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [logits, labels, upstream, gradient] = arguments else {
            unreachable!("logit_loss_gradient binds four")
        };
        let rows = part_of_rows(self.n, &self.parts);
        gradient
            .f32_mut()
            .par_chunks_mut(self.classes)
            .zip(logits.f32().par_chunks(self.classes))
            .zip(labels.u32())
            .zip(upstream.f32())
            .zip(rows)
            .with_min_len(16)
            .for_each(|((((gradient, logits), &label), &upstream), part)| {
                LogitRow::new(logits, label).gradient(part, upstream, gradient);
            });
    }
}
