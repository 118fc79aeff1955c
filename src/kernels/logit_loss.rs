//! The losses of logits that joint energy-based models are made of, row by row: LogSumExp (minus the
//! energy, log p(x) up to a constant), cross-entropy (-log p(y|x)), the label's logit (log p(x, y) up to
//! a constant), the square of the logits (the energy's L2), and the other losses of labelled energies
//! ([`functional`](crate::compute::functional)).

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::logits::LogitRow;
use crate::compute::loss_term::{
    LossTerm, STATS, any_functional, example_functionals, example_parts, part_of_rows, part_words,
};
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// loss `[n]` and stats `[n, 5]` (LogSumExp, cross-entropy, correct, Σ f², functional) of logits `[n, classes]`.
///
/// Correct is 1 where the largest logit, the first of equals, is the label's. If the label is not a class, the terms
/// that need it are NaN. A functional is also NaN if a logit is NaN or infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitLoss {
    /// Rows: the sum of the parts' counts.
    pub n: usize,
    /// Classes.
    pub classes: usize,
    /// The parts of the batch in order, 1 to [`MAX_PARTS`](crate::compute::loss_term::MAX_PARTS).
    pub parts: Vec<LossTerm>,
}

impl LogitLoss {
    /// A batch of JEM: data, samples, labelled images.
    pub fn permutations() -> Vec<Self> {
        [example_parts(), example_functionals()].map(|parts| Self { n: 9, classes: 10, parts }).into()
    }
}

impl Kernel for LogitLoss {
    fn name(&self) -> &'static str {
        "logit_loss"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![
            binding("logits", 1, Access::Read, self.n * self.classes),
            binding("labels", 2, Access::Read, self.n),
            binding("loss", 3, Access::Write, self.n),
            binding("stats", 4, Access::Write, self.n * STATS),
        ]
    }

    fn shader(&self) -> Shader {
        Shader::new("logit_loss").with_switch("FUNCTIONAL", any_functional(&self.parts))
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
        6 * (self.n * self.classes) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [logits, labels, loss, stats] = arguments else { unreachable!("logit_loss binds four") };
        let rows = part_of_rows(self.n, &self.parts);
        loss.f32_mut()
            .par_iter_mut()
            .zip(stats.f32_mut().par_chunks_mut(STATS))
            .zip(logits.f32().par_chunks(self.classes))
            .zip(labels.u32())
            .zip(rows)
            .with_min_len(16)
            .for_each(|((((loss, stats), logits), &label), part)| {
                let row = LogitRow::new(logits, label);
                *loss = row.loss(part);
                stats.copy_from_slice(&row.stats(part));
            });
    }
}
