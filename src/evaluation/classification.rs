//! Classification: accuracy, cross-entropy, Brier score, confusion matrix.

use super::bootstrap::{Estimate, Resamples};
use super::predictions::{Predictions, Top};

/// With more classes than this, there is a top-5 accuracy.
const TOP_5_ABOVE: usize = 10;

/// The figures of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The share of images whose greatest logit is that of their class.
    pub accuracy: Estimate,
    /// The share of images with fewer than five logits above that of their class; for more than ten classes. Among equal
    /// logits, those of earlier classes come first.
    pub top_5: Option<Estimate>,
    /// The mean of -log p(y|x), in nats.
    pub cross_entropy: Estimate,
    /// The mean of Σ_k (p(k|x) - 1[k = y])² (Brier 1950), from 0 to 2.
    pub brier: Estimate,
    /// The images of each class (row) by prediction (column), `[classes, classes]`.
    pub confusion: Vec<u32>,
}

impl Classification {
    /// The figures of `predictions`, with intervals by `resamples` of them.
    pub fn of(predictions: &Predictions, resamples: &Resamples) -> Self {
        let classes = predictions.classes();
        let mut confusion = vec![0; classes * classes];
        let n = predictions.len();
        let [mut right, mut among_5] = [Vec::with_capacity(n), Vec::with_capacity(n)];
        let [mut cross_entropy, mut brier] = [Vec::with_capacity(n), Vec::with_capacity(n)];
        for (row, label) in predictions.rows() {
            let top = Top::of(row);
            confusion[label * classes + top.class] += 1;
            right.push(top.class == label);
            let before =
                |(class, &logit): (usize, &f32)| logit > row[label] || (logit == row[label] && class < label);
            among_5.push(row.iter().enumerate().filter(|&each| before(each)).count() < 5);
            cross_entropy.push(top.logit - f64::from(row[label]) + top.others().ln_1p());
            brier.push(brier_of(row, label, top));
        }
        Self {
            accuracy: resamples.share(&right),
            top_5: (classes > TOP_5_ABOVE).then(|| resamples.share(&among_5)),
            cross_entropy: resamples.mean(&cross_entropy),
            brier: resamples.mean(&brier),
            confusion,
        }
    }
}

/// Σ_k (p(k) - 1[k = label])². 1 - p of the greatest probability is computed without a difference.
fn brier_of(row: &[f32], label: usize, top: Top) -> f64 {
    let p = |class: usize| (f64::from(row[class]) - top.logit).exp() / (1.0 + top.others());
    let squares = (0..row.len()).map(|class| match (class == label, class == top.class) {
        (true, true) => (top.others() / (1.0 + top.others())).powi(2),
        (true, false) => (1.0 - p(class)).powi(2),
        (false, _) => p(class).powi(2),
    });
    squares.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::peer;
    use approx::assert_relative_eq;

    #[test]
    fn figures_are_scikit_learns() {
        let peer = peer::classifier();
        let figures = Classification::of(&peer.predictions, &Resamples::new(peer.predictions.len(), 0));
        for (figure, key) in [
            (&figures.accuracy, "accuracy"),
            (figures.top_5.as_ref().unwrap(), "top_5"),
            (&figures.cross_entropy, "cross_entropy"),
            (&figures.brier, "brier"),
        ] {
            assert_relative_eq!(figure.value, peer.number(key), max_relative = 1e-12);
            let [low, high] = figure.interval().unwrap();
            assert!(low < figure.value && figure.value < high, "{key}");
        }
        assert_eq!(
            figures.confusion,
            peer.numbers("confusion").iter().map(|&x| x as u32).collect::<Vec<_>>()
        );
    }

    #[test]
    fn certain_predictions_have_exact_figures() {
        let predictions = Predictions::new(vec![200.0, 0.0, 0.0, 200.0], vec![0, 0], 2).unwrap();
        let figures = Classification::of(&predictions, &Resamples::new(2, 0));
        assert_eq!((figures.accuracy.value, figures.cross_entropy.value), (0.5, 100.0));
        assert_relative_eq!(figures.brier.value, 1.0);
        assert_eq!((figures.top_5, figures.confusion), (None, vec![1, 1, 0, 0]));
    }
}
