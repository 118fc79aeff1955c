//! Calibration: does a prediction of probability p turn out right with frequency p?

use super::bootstrap::{Estimate, Resamples};
use super::predictions::Predictions;
use crate::report::reliability::Bin;

/// The number of bins of the calibration errors.
pub const BINS: usize = 20;
/// The temperatures that [`temperature`] chooses among.
const TEMPERATURES: [f64; 2] = [1e-3, 1e3];
/// The accuracy of log T.
const TOLERANCE: f64 = 1e-7;

/// The calibration of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Expected calibration error: `Σ_m (n_m / n) |accuracy_m - confidence_m|` over bins of equal width (Guo et al. 2017,
    /// equation 3, after Naeini et al. 2015).
    pub ece: Estimate,
    /// The same over bins of equal numbers of images (the bins of Nguyen & O'Connor 2015).
    pub ece_adaptive: Estimate,
    /// Maximum calibration error: the greatest |accuracy - confidence| of a bin (Guo et al. 2017, equation 5).
    pub mce: Estimate,
    /// The bins of the reliability diagram.
    pub bins: Vec<Bin>,
    /// The area under the risk-coverage curve: the mean, over the numbers k of most confident images, of the error among
    /// them (Geifman et al. 2019).
    pub aurc: Estimate,
}

impl Calibration {
    /// The figures of `predictions`, with intervals by `resamples` of them.
    pub fn of(predictions: &Predictions, resamples: &Resamples) -> Self {
        let sorted = Confidences::of(predictions);
        Self {
            ece: resamples.estimate(|counts| sorted.ece(counts)).within(0.0, 1.0),
            ece_adaptive: resamples.estimate(|counts| sorted.ece_adaptive(counts)).within(0.0, 1.0),
            mce: resamples.estimate(|counts| sorted.mce(counts)).within(0.0, 1.0),
            bins: sorted.bins(),
            aurc: resamples.estimate(|counts| sorted.aurc(counts)).within(0.0, 1.0),
        }
    }
}

/// The confidences `max_y p(y|x)` of images in ascending order, and whether each prediction is right.
struct Confidences {
    /// The number of the image among the predictions, its confidence, and 1 if it is right, else 0.
    images: Vec<(u32, f64, f64)>,
    /// The ends of the runs of equal confidences. The order is that of the unsaturated odds.
    runs: Vec<usize>,
}

/// The sums of a bin.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    confidence: f64,
    right: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, confidence: f64, right: f64) {
        self.weight += weight;
        self.confidence += weight * confidence;
        self.right += weight * right;
    }

    /// |Σ right - Σ confidence|: the bin's weight times its gap.
    fn gap(&self) -> f64 {
        (self.right - self.confidence).abs()
    }
}

impl Confidences {
    fn of(predictions: &Predictions) -> Self {
        let tops = predictions.tops();
        let mut order: Vec<u32> = (0..tops.len() as u32).collect();
        let odds = |i: u32| tops[i as usize].0.log_others;
        order.sort_by(|&a, &b| odds(b).total_cmp(&odds(a)));
        let runs =
            (1..=order.len()).filter(|&i| i == order.len() || odds(order[i]) != odds(order[i - 1])).collect();
        let image = |i: u32| {
            let (top, right) = tops[i as usize];
            (i, top.probability(), f64::from(u8::from(right)))
        };
        Self { images: order.into_iter().map(image).collect(), runs }
    }

    /// The sums of the bins of equal width.
    fn equal_width(&self, counts: &[u8]) -> [Sums; BINS] {
        let mut bins = [Sums::default(); BINS];
        for &(image, confidence, right) in &self.images {
            bins[bin(confidence)].add(f64::from(counts[image as usize]), confidence, right);
        }
        bins
    }

    /// `Σ_m (n_m / n) |accuracy_m - confidence_m|` over bins of equal width (Guo et al. 2017, equation 3, after Naeini et
    /// al. 2015).
    fn ece(&self, counts: &[u8]) -> f64 {
        let bins = self.equal_width(counts);
        bins.iter().map(Sums::gap).sum::<f64>() / bins.iter().map(|bin| bin.weight).sum::<f64>()
    }

    fn mce(&self, counts: &[u8]) -> f64 {
        let bins = self.equal_width(counts);
        bins.iter().filter(|bin| bin.weight > 0.0).map(|bin| bin.gap() / bin.weight).fold(0.0, f64::max)
    }

    /// The ECE over bins of equal numbers of images (the bins of Nguyen & O'Connor 2015). An image on a bound counts
    /// in both bins in part, and images of equal confidence share their accuracy, so the order of the images does not
    /// matter.
    fn ece_adaptive(&self, counts: &[u8]) -> f64 {
        let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let size = total / BINS as f64;
        let mut bins = [Sums::default(); BINS];
        let (mut start, mut below) = (0, 0.0);
        for &end in &self.runs {
            let mut run = Sums::default();
            for &(image, confidence, right) in &self.images[start..end] {
                run.add(f64::from(counts[image as usize]), confidence, right);
            }
            start = end;
            if run.weight == 0.0 {
                continue;
            }
            // The run lies between these weights; its part in each bin is their overlap.
            let above = below + run.weight;
            let first = (below / size) as usize;
            for (bin, sums) in bins.iter_mut().enumerate().skip(first) {
                let part = above.min((bin + 1) as f64 * size) - below.max(bin as f64 * size);
                if part <= 0.0 {
                    break;
                }
                sums.add(part, run.confidence / run.weight, run.right / run.weight);
            }
            below = above;
        }
        bins.iter().map(Sums::gap).sum::<f64>() / total
    }

    /// The mean, over the numbers k of most confident images, of the error among them (Geifman & El-Yaniv 2017; the area
    /// of Geifman et al. 2019). Images of equal confidence are in random order, whose expectation is taken.
    fn aurc(&self, counts: &[u8]) -> f64 {
        let [mut seen, mut wrong, mut sum] = [0.0; 3];
        let mut end = self.images.len();
        let starts = self.runs[..self.runs.len() - 1].iter().rev().copied().chain([0]);
        for start in starts {
            let run = &self.images[start..end];
            end = start;
            let size: f64 = run.iter().map(|&(image, ..)| f64::from(counts[image as usize])).sum();
            let errors: f64 =
                run.iter().map(|&(i, _, right)| f64::from(counts[i as usize]) * (1.0 - right)).sum();
            for place in 1..=size as usize {
                let place = place as f64;
                sum += (wrong + errors * place / size) / (seen + place);
            }
            seen += size;
            wrong += errors;
        }
        sum / seen
    }

    fn bins(&self) -> Vec<Bin> {
        let sums = self.equal_width(&vec![1; self.images.len()]);
        let bin = |(i, sums): (usize, &Sums)| Bin {
            bounds: [i, i + 1].map(|edge| edge as f64 / BINS as f64),
            images: sums.weight as usize,
            confidence: sums.confidence / sums.weight,
            accuracy: sums.right / sums.weight,
        };
        sums.iter().enumerate().map(bin).collect()
    }
}

/// The bin of equal width of a confidence in (0, 1]: ((m - 1) / M, m / M].
fn bin(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

/// The risk-coverage curve (El-Yaniv & Wiener 2010): for each number of most confident images, its share of all images
/// and the error among them. Images of equal confidence come together.
pub fn risk_coverage(predictions: &Predictions) -> Vec<(f64, f64)> {
    let sorted = Confidences::of(predictions);
    let n = sorted.images.len();
    let mut curve = Vec::with_capacity(sorted.runs.len());
    let mut wrong = 0.0;
    let mut end = n;
    for start in sorted.runs[..sorted.runs.len() - 1].iter().rev().copied().chain([0]) {
        wrong += sorted.images[start..end].iter().map(|image| 1.0 - image.2).sum::<f64>();
        end = start;
        let covered = (n - start) as f64;
        curve.push((covered / n as f64, wrong / covered));
    }
    curve
}

/// The temperature T that minimises the cross-entropy of softmax(f/T) on `held_out` images (Platt scaling with one
/// parameter, Guo et al. 2017, section 4.2), weighted by `counts`. The cross-entropy is convex in 1/T. The result is
/// within 0.001 to 1000, also where no T is best because all predictions are right, and 1 where each T is as good.
pub fn temperature(held_out: &Predictions, counts: &[u8]) -> f64 {
    if slopes(held_out, counts, 1.0)[0] == 0.0 {
        return 1.0;
    }
    // Newton's steps within a bracket of log β, β = 1/T.
    let [mut high, mut low] = TEMPERATURES.map(|t| (1.0 / t).ln());
    let mut at: f64 = 0.0;
    while high - low > TOLERANCE {
        let [slope, curvature] = slopes(held_out, counts, at.exp());
        // Where all predictions are right the slope underflows to 0.
        if slope <= 0.0 {
            low = at;
        } else {
            high = at;
        }
        let beta = at.exp() - slope / curvature;
        let next = beta.ln();
        let step = (next - at).abs();
        if next > low && next < high && step < TOLERANCE {
            return 1.0 / beta;
        }
        at = if next > low && next < high { next } else { (low + high) / 2.0 };
    }
    1.0 / ((low + high) / 2.0).exp()
}

/// The first and the second derivative at β of the sum of the cross-entropies of softmax(β f): the sums of
/// `E_p[f] - f(y)` and of `Var_p[f]`.
fn slopes(held_out: &Predictions, counts: &[u8], beta: f64) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for ((row, label), &count) in held_out.rows().zip(counts).filter(|(_, count)| **count > 0) {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let [mut total, mut mean, mut square] = [0.0; 3];
        for &logit in row {
            let below = f64::from(logit) - f64::from(highest);
            let weight = (beta * below).exp();
            total += weight;
            mean += weight * below;
            square += weight * below * below;
        }
        mean /= total;
        sums[0] += f64::from(count) * (mean - (f64::from(row[label]) - f64::from(highest)));
        sums[1] += f64::from(count) * (square / total - mean * mean);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::peer;
    use approx::assert_relative_eq;

    #[test]
    fn errors_are_those_of_peers() {
        let peer = peer::classifier();
        let figures = Calibration::of(&peer.predictions, &Resamples::new(peer.predictions.len(), 0));
        for (figure, key) in [
            (&figures.ece, "ece"),
            (&figures.ece_adaptive, "ece_adaptive"),
            (&figures.mce, "mce"),
            (&figures.aurc, "aurc"),
        ] {
            assert_relative_eq!(figure.value, peer.number(key), max_relative = 1e-5);
        }
        assert_eq!(figures.bins.iter().map(|bin| bin.images).sum::<usize>(), peer.predictions.len());
        let t = temperature(&peer.predictions, &vec![1; peer.predictions.len()]);
        assert_relative_eq!(t, peer.number("temperature"), max_relative = 1e-6);
    }

    /// Images of two classes with these log-odds for their prediction, right or wrong.
    fn of(images: &[(f32, bool)]) -> Predictions {
        let logits = images.iter().flat_map(|&(odds, _)| [odds, 0.0]).collect();
        let labels = images.iter().map(|&(_, right)| u32::from(!right)).collect();
        Predictions::new(logits, labels, 2).unwrap()
    }

    #[test]
    fn equal_confidences_are_in_no_order() {
        let images: Vec<(f32, bool)> = (0..40).map(|i| (2.0, i < 20)).collect();
        let mut turned = images.clone();
        turned.reverse();
        let confidence = 1.0 / (1.0 + (-2f64).exp());
        for images in [images, turned] {
            let figures = Calibration::of(&of(&images), &Resamples::new(40, 0));
            for figure in [&figures.ece, &figures.ece_adaptive, &figures.mce] {
                assert_relative_eq!(figure.value, confidence - 0.5, max_relative = 1e-12);
            }
            assert_relative_eq!(figures.aurc.value, 0.5, max_relative = 1e-12);
            assert_eq!(risk_coverage(&of(&images)), [(1.0, 0.5)]);
        }
    }

    #[test]
    fn saturated_confidences_keep_their_order() {
        // Probabilities of 1 in float64; the more certain one is right.
        let predictions = of(&[(50.0, false), (60.0, true)]);
        assert_eq!(risk_coverage(&predictions), [(0.5, 0.0), (1.0, 0.5)]);
        assert_relative_eq!(Calibration::of(&predictions, &Resamples::new(2, 0)).aurc.value, 0.25);
    }

    #[test]
    fn fewer_images_than_bins_have_figures() {
        let figures = Calibration::of(&of(&[(1.0, true), (2.0, false), (3.0, true)]), &Resamples::new(3, 0));
        let p = [1.0f64, 2.0, 3.0].map(|odds| 1.0 / (1.0 + (-odds).exp()));
        let gaps = [1.0 - p[0], -p[1], 1.0 - p[2]];
        assert_relative_eq!(figures.ece.value, (gaps[0] - gaps[1] + gaps[2]) / 3.0, max_relative = 1e-12);
        // A bin holds 0.15 images: the seventh 0.1 of the first and 0.05 of the second, the fourteenth 0.05 and 0.1.
        let mixed = [0.1 * gaps[0] + 0.05 * gaps[1], 0.05 * gaps[1] + 0.1 * gaps[2]].map(f64::abs);
        let sum = 0.9 * (gaps[0] - gaps[1] + gaps[2]) + mixed[0] + mixed[1];
        assert_relative_eq!(figures.ece_adaptive.value, sum / 3.0, max_relative = 1e-12);
    }

    #[test]
    fn the_temperature_is_that_of_the_data() {
        // Of images with log-odds 4 exactly 3/4 are right: odds 3.
        let images: Vec<(f32, bool)> = (0..100).map(|i| (4.0, i % 4 != 0)).collect();
        let predictions = of(&images);
        let t = temperature(&predictions, &[1; 100]);
        assert_relative_eq!(t, 4.0 / 3f64.ln(), max_relative = 1e-5);
        let after = Calibration::of(&predictions.tempered(t), &Resamples::new(100, 0));
        assert!(after.ece.value < 1e-5, "{}", after.ece.value);
        let all_right: Vec<(f32, bool)> = (0..10).map(|_| (1.0, true)).collect();
        assert_relative_eq!(temperature(&of(&all_right), &[1; 10]), 1e-3, max_relative = 1e-5);
        assert_eq!(temperature(&of(&[(0.0, true), (0.0, false)]), &[1; 2]), 1.0);
        let all_wrong: Vec<(f32, bool)> = (0..10).map(|_| (1.0, false)).collect();
        assert_relative_eq!(temperature(&of(&all_wrong), &[1; 10]), 1e3, max_relative = 1e-5);
    }
}
