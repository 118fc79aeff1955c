//! The losses of logits that joint energy-based models are made of, row by row: LogSumExp (minus the
//! energy, log p(x) up to a constant), cross-entropy (-log p(y|x)), the label's logit (log p(x, y) up to
//! a constant), the square of the logits (the energy's L2), and the other losses of labelled energies
//! ([`Functional`]).

use super::cpu::logits::LogitRow;
use super::functional::Functional;
use super::{Access, Binding, Kernel, binding, grid, shader::Shader};
use crate::kernels::Argument;
use rayon::prelude::*;

/// Parts that one batch may have.
pub const MAX_PARTS: usize = 4;
/// Statistics of a row: LogSumExp, cross-entropy, correct (1 or 0), Σ f², the functional (0 without).
pub const STATS: usize = 5;

/// A run of rows of the batch with its own loss, `a LSE(f) + b (LSE(f) - f[y]) + c f[y] + d Σ f² + e φ(f, y)`;
/// terms of weight 0 are not evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Part {
    /// Rows.
    pub count: usize,
    /// a, the weight of LogSumExp.
    pub log_p_x: f32,
    /// b, the weight of the cross-entropy.
    pub cross_entropy: f32,
    /// c, the weight of the label's logit.
    pub logit_y: f32,
    /// d, the weight of the sum of squares.
    pub l2: f32,
    /// e and φ.
    pub labelled: Option<LabelledLoss>,
}

/// A functional of the energies -f with its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledLoss {
    /// e.
    pub weight: f32,
    /// φ.
    pub functional: Functional,
}

/// loss `[n]` and stats `[n, 5]` (LogSumExp, cross-entropy, correct, Σ f², functional) of logits `[n, classes]`.
///
/// Correct is 1 where the largest logit, the first of equals, is the label's. With a label that is no
/// class the terms that need one are NaN; a functional is NaN with a logit that is NaN or infinity, too.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitLoss {
    /// Rows: the sum of the parts' counts.
    pub n: usize,
    /// Classes.
    pub classes: usize,
    /// The parts of the batch in order, 1 to [`MAX_PARTS`].
    pub parts: Vec<Part>,
}

impl LogitLoss {
    /// A batch as JEM has it: data, samples, labelled.
    pub fn permutations() -> Vec<Self> {
        [example_parts(), example_functionals()].map(|parts| Self { n: 9, classes: 10, parts }).into()
    }
}

/// Data, samples and labelled images: 9 rows.
pub(super) fn example_parts() -> Vec<Part> {
    vec![
        Part { count: 4, log_p_x: -1.0, l2: 0.1, ..Part::default() },
        Part { count: 3, log_p_x: 1.0, logit_y: 0.5, ..Part::default() },
        Part { count: 2, cross_entropy: 1.0, ..Part::default() },
    ]
}

/// [`example_parts`] with functionals of all three statistics.
pub(super) fn example_functionals() -> Vec<Part> {
    let functionals = [
        Functional::SquareSquare { margin: 1.0 },
        Functional::Hinge { margin: 1.0 },
        Functional::NegativeLogLikelihood { beta: 0.5 },
    ];
    let labelled = |functional| Some(LabelledLoss { weight: 0.5, functional });
    let with = |(part, functional)| Part { labelled: labelled(functional), ..part };
    example_parts().into_iter().zip(functionals).map(with).collect()
}

/// The part of each row.
///
/// # Panics
/// If the counts do not sum to `n` or there are too many parts: a bug in the caller.
pub(super) fn part_of_rows(n: usize, parts: &[Part]) -> Vec<&Part> {
    assert!(parts.len() <= MAX_PARTS, "{} parts of a batch", parts.len());
    let rows: Vec<_> = parts.iter().flat_map(|part| std::iter::repeat_n(part, part.count)).collect();
    assert_eq!(rows.len(), n, "the parts' rows");
    rows
}

/// Whether any of the parts has a functional: the switch `FUNCTIONAL` of shaders.
pub(super) fn any_functional(parts: &[Part]) -> bool {
    parts.iter().any(|part| part.labelled.is_some())
}

/// The words of the parts in a uniform block: the row after each part's last, 4; the weights, 16; with
/// [`any_functional`] 16 more, of each part the functional's number (0: none), its parameter, its weight, and 0.
pub(super) fn part_words(n: usize, parts: &[Part]) -> Vec<u32> {
    assert_eq!(parts.iter().map(|part| part.count).sum::<usize>(), n, "the parts' rows");
    assert!(parts.len() <= MAX_PARTS, "{} parts of a batch", parts.len());
    let mut ends = [n as u32; MAX_PARTS];
    let mut weights = [0; 4 * MAX_PARTS];
    let mut functionals = [0; 4 * MAX_PARTS];
    let mut end = 0;
    for (i, part) in parts.iter().enumerate() {
        end += part.count;
        ends[i] = end as u32;
        let four = [part.log_p_x, part.cross_entropy, part.logit_y, part.l2];
        weights[4 * i..][..4].copy_from_slice(&four.map(f32::to_bits));
        if let Some(LabelledLoss { weight, functional }) = part.labelled {
            let [number, parameter] = functional.words();
            functionals[4 * i..][..4].copy_from_slice(&[number, parameter, weight.to_bits(), 0]);
        }
    }
    let functionals = if any_functional(parts) { &functionals[..] } else { &[] };
    [&ends, &weights[..], functionals].concat()
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
        Shader::new("logit_loss", include_str!("../../shaders/logit_loss.wgsl"))
            .with_switch("FUNCTIONAL", any_functional(&self.parts))
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
