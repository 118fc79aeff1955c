//! The losses that attacks ascend: their values in float64 on the host, their gradients in the graph.

use crate::compute::loss_term::LossTerm;
use crate::error::{Error, Result};
use crate::graph::{Indices, Tensor};
use crate::words::counted;

/// Keeps the denominator of the DLR losses above 0 for equal logits, as in AutoAttack.
const SMALLEST: f32 = 1e-12;
/// Taken off a logit so that another is the largest.
const EXCLUDED: f32 = 1e30;

/// A loss of the logits z of an image of class y. It grows as the image comes to be misclassified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// `LogSumExp z - z_y`.
    CrossEntropy,
    /// The difference of logits ratio (Croce & Hein 2020, equation 6): `(max_{i≠y} z_i - z_y) / (z_π1 - z_π3)`, where
    /// π sorts the logits from the largest.
    Dlr,
    /// The targeted difference of logits ratio (equation 7): `(z_t - z_y) / (z_π1 - (z_π3 + z_π4) / 2)`.
    TargetedDlr,
    /// `z_t - z_y`, above 0 where the target t wins (Croce & Hein 2020b).
    LogitDifference,
}

impl Loss {
    /// Refuses a number of classes for which the loss is not defined.
    ///
    /// # Errors
    /// [`Error::Setting`] with both numbers of classes.
    pub(super) fn check(self, classes: usize) -> Result<()> {
        let (least, name) = match self {
            Self::CrossEntropy => (2, "the cross-entropy"),
            Self::Dlr => (3, "the DLR loss"),
            Self::TargetedDlr => (4, "the targeted DLR loss"),
            Self::LogitDifference => (2, "a difference of logits"),
        };
        if classes >= least {
            return Ok(());
        }
        let message = format!("{name} needs {least} classes, the model has {}", counted(classes, "class"));
        Err(Error::setting("attack", message))
    }

    /// The loss of one image with these logits.
    pub(super) fn value(self, logits: &[f32], label: usize, target: usize) -> f64 {
        let z = |class: usize| f64::from(logits[class]);
        let sorted = |rank: usize| {
            let mut sorted: Vec<f32> = logits.to_vec();
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            f64::from(sorted[rank])
        };
        match self {
            Self::CrossEntropy => {
                // ln(1 + Σ e^(z_i - z_y)) keeps its digits where the softmax saturates in f32.
                let others = (0..logits.len()).filter(|&class| class != label);
                let largest = others.clone().map(z).fold(f64::NEG_INFINITY, f64::max).max(z(label));
                if largest > z(label) {
                    let sum: f64 = (0..logits.len()).map(|class| (z(class) - largest).exp()).sum();
                    return largest - z(label) + sum.ln();
                }
                others.map(|class| (z(class) - z(label)).exp()).sum::<f64>().ln_1p()
            }
            Self::Dlr => -margin(logits, label) / (sorted(0) - sorted(2) + f64::from(SMALLEST)),
            Self::TargetedDlr => {
                let denominator = sorted(0) - 0.5 * (sorted(2) + sorted(3)) + f64::from(SMALLEST);
                (z(target) - z(label)) / denominator
            }
            Self::LogitDifference => z(target) - z(label),
        }
    }

    /// The loss of each row of `logits` `[n, classes]`, as `[n]`. Positions in the order of the logits count as
    /// constants in its gradient.
    pub(super) fn of(self, logits: &Tensor, labels: &Indices, targets: &Indices) -> Tensor {
        let at = |indices: &Indices| logits.gather_labels(indices);
        let classes = logits.shape()[1];
        let without = |z: &Tensor, index: &Indices| z.sub(&index.one_hot(classes).scale(EXCLUDED));
        // The positions of the `count` largest logits.
        let largest = |count: usize| {
            let mut rest = logits.clone();
            let mut found: Vec<Indices> = Vec::new();
            for _ in 0..count {
                found.push(rest.argmax(1));
                rest = without(&rest, &found[found.len() - 1]);
            }
            found
        };
        match self {
            Self::CrossEntropy => {
                let part = LossTerm { count: logits.shape()[0], cross_entropy: 1.0, ..LossTerm::default() };
                logits.logit_loss(labels, &[part])
            }
            Self::Dlr => {
                let order = largest(3);
                let other = without(logits, labels).argmax(1);
                let denominator = at(&order[0]).sub(&at(&order[2])).affine(1.0, SMALLEST);
                at(&other).sub(&at(labels)).div(&denominator)
            }
            Self::TargetedDlr => {
                let order = largest(4);
                let middle = at(&order[2]).add(&at(&order[3])).scale(0.5);
                let denominator = at(&order[0]).sub(&middle).affine(1.0, SMALLEST);
                at(targets).sub(&at(labels)).div(&denominator)
            }
            Self::LogitDifference => at(targets).sub(&at(labels)),
        }
    }
}

/// `z_y - max_{i≠y} z_i`: above 0 where the label wins.
pub(super) fn margin(logits: &[f32], label: usize) -> f64 {
    let others = logits.iter().enumerate().filter(|(class, _)| *class != label);
    f64::from(logits[label]) - others.fold(f64::NEG_INFINITY, |largest, (_, &z)| largest.max(f64::from(z)))
}

/// The class of the largest logit, the first among equals.
pub(super) fn prediction(logits: &[f32]) -> usize {
    (1..logits.len()).fold(0, |best, class| if logits[class] > logits[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::graph::{Function, Graph};
    use approx::assert_relative_eq;

    const ALL: [Loss; 4] = [Loss::CrossEntropy, Loss::Dlr, Loss::TargetedDlr, Loss::LogitDifference];

    /// The losses and their gradients at the logits, by the graph.
    fn in_graph(
        loss: Loss,
        logits: &[f32],
        classes: usize,
        labels: &[u32],
        targets: &[u32],
    ) -> [Vec<f32>; 2] {
        let n = labels.len();
        let graph = Graph::new();
        let z = graph.input("logits", [n, classes]);
        let [y, t] = ["labels", "targets"].map(|name| graph.indices(name, [n]));
        let value = loss.of(&z, &y, &t);
        let [gradient] = graph.grad(&value, [&z]);
        let function = Function::new(&Device::cpu(), &[&value, &gradient]).unwrap();
        function.set(&z, logits).unwrap();
        function.set(&y, labels).unwrap();
        // A loss without targets does not read them.
        function.set(&t, targets).unwrap();
        function.run().unwrap();
        [&value, &gradient].map(|tensor| function.get(tensor).unwrap())
    }

    #[test]
    fn losses_and_their_gradients_are_the_definitions() {
        let rows = [[1.0f32, 4.0, -2.0, 3.5, 0.25], [2.0, -1.0, 0.5, 7.0, 6.0]];
        let [labels, targets] = [[1u32, 2], [4u32, 0]];
        for loss in ALL {
            let [values, gradients] = in_graph(loss, rows.as_flattened(), 5, &labels, &targets);
            for (row, logits) in rows.iter().enumerate() {
                let [y, t] = [labels[row] as usize, targets[row] as usize];
                let value = |logits: &[f32]| loss.value(logits, y, t);
                assert_relative_eq!(f64::from(values[row]), value(logits), max_relative = 1e-5);
                for class in 0..5 {
                    let moved = |by: f32| {
                        let mut logits = *logits;
                        logits[class] += by;
                        value(&logits)
                    };
                    let slope = (moved(1.0 / 64.0) - moved(-1.0 / 64.0)) * 32.0;
                    assert_relative_eq!(f64::from(gradients[row * 5 + class]), slope, epsilon = 2e-4);
                }
            }
        }
        // By hand: (3.5 - 4) / (4 - 1) and (0.25 - 4) / (4 - (1 + 0.25) / 2).
        assert_relative_eq!(Loss::Dlr.value(&rows[0], 1, 4), -0.5 / 3.0, max_relative = 1e-9);
        assert_relative_eq!(Loss::TargetedDlr.value(&rows[0], 1, 4), -3.75 / 3.375, max_relative = 1e-9);
    }

    #[test]
    fn equal_and_saturated_logits_give_finite_numbers() {
        for logits in [[3.0f32; 4], [1e4, 0.0, 0.0, -1e4]] {
            for loss in ALL {
                let [values, gradients] = in_graph(loss, &logits, 4, &[0], &[1]);
                assert!(values.iter().chain(&gradients).all(|v| v.is_finite()), "{loss:?} {gradients:?}");
                assert!(loss.value(&logits, 0, 1).is_finite());
            }
        }
        // 1 - p is 0 in f32 and in f64 here.
        assert_relative_eq!(
            Loss::CrossEntropy.value(&[100.0, 0.0], 0, 0),
            (-100f64).exp(),
            max_relative = 1e-12
        );
        assert_relative_eq!(Loss::CrossEntropy.value(&[0.0, 100.0], 0, 0), 100.0, max_relative = 1e-12);
    }

    #[test]
    fn too_few_classes_are_refused() {
        assert!(Loss::CrossEntropy.check(2).is_ok() && Loss::Dlr.check(3).is_ok());
        assert!(Loss::TargetedDlr.check(4).is_ok() && Loss::TargetedDlr.check(100).is_ok());
        let message = Loss::TargetedDlr.check(3).unwrap_err().to_string();
        assert_eq!(message, "attack: the targeted DLR loss needs 4 classes, the model has 3 classes");
        assert!(Loss::Dlr.check(2).is_err() && Loss::CrossEntropy.check(1).is_err());
    }

    #[test]
    fn the_first_of_equal_logits_is_the_prediction() {
        assert_eq!([prediction(&[1.0, 1.0]), prediction(&[0.0, 2.0, 2.0])], [0, 1]);
        assert_relative_eq!(margin(&[1.0, 3.0, 2.5], 1), 0.5);
    }
}
