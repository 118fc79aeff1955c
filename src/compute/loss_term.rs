//! The terms of a loss of logits, and the rows of the batch that each belongs to.

use crate::compute::functional::Functional;

/// The most parts that a batch may have.
pub const MAX_PARTS: usize = 4;
/// Statistics of a row: LogSumExp, cross-entropy, correct (1 or 0), Σ f², the functional (0 without).
pub const STATS: usize = 5;

/// A run of rows of the batch with its own loss, `a LSE(f) + b (LSE(f) - f[y]) + c f[y] + d Σ f² + e φ(f, y)`;
/// terms of weight 0 are not evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossTerm {
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

/// Data, samples and labelled images: 9 rows.
pub(crate) fn example_parts() -> Vec<LossTerm> {
    vec![
        LossTerm { count: 4, log_p_x: -1.0, l2: 0.1, ..LossTerm::default() },
        LossTerm { count: 3, log_p_x: 1.0, logit_y: 0.5, ..LossTerm::default() },
        LossTerm { count: 2, cross_entropy: 1.0, ..LossTerm::default() },
    ]
}

/// [`example_parts`] with functionals of all three statistics.
pub(crate) fn example_functionals() -> Vec<LossTerm> {
    let functionals = [
        Functional::SquareSquare { margin: 1.0 },
        Functional::Hinge { margin: 1.0 },
        Functional::NegativeLogLikelihood { beta: 0.5 },
    ];
    let labelled = |functional| Some(LabelledLoss { weight: 0.5, functional });
    let with = |(part, functional)| LossTerm { labelled: labelled(functional), ..part };
    example_parts().into_iter().zip(functionals).map(with).collect()
}

/// The part of each row.
///
/// # Panics
/// If the counts do not sum to `n` or there are too many parts: a bug in the caller.
pub(crate) fn part_of_rows(n: usize, parts: &[LossTerm]) -> Vec<&LossTerm> {
    assert!(parts.len() <= MAX_PARTS, "{} parts of a batch", parts.len());
    let rows: Vec<_> = parts.iter().flat_map(|part| std::iter::repeat_n(part, part.count)).collect();
    assert_eq!(rows.len(), n, "the parts' rows");
    rows
}

/// Whether any of the parts has a functional: the switch `FUNCTIONAL` of shaders.
pub(crate) fn any_functional(parts: &[LossTerm]) -> bool {
    parts.iter().any(|part| part.labelled.is_some())
}

/// The words of the parts in a uniform block: 4 with the row after each part's last; 16 with the weights; and, if
/// [`any_functional`], 16 more with the functional's number (0: none), its parameter, its weight and 0 for each part.
pub(crate) fn part_words(n: usize, parts: &[LossTerm]) -> Vec<u32> {
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
