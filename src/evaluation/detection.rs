//! Out-of-distribution detection: how well a score tells images of one distribution from others.

use super::bootstrap::{Estimate, Resamples, map_resamples};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// The true positive rate of [`Detection::fpr95`].
const TPR: f64 = 0.95;

/// How well a score that is higher in distribution tells images in distribution from others.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The probability that an image in distribution has a higher score than another, ties counted half: the area under
    /// the ROC curve.
    pub auroc: Estimate,
    /// Average precision `Σ (R_i - R_(i-1)) P_i` over the distinct scores, with the images in distribution as positives.
    pub aupr_in: Estimate,
    /// Average precision with the other images as positives, by minus the score.
    pub aupr_out: Estimate,
    /// The share of other images at or above the highest threshold that at least 95% of the images in distribution
    /// reach.
    pub fpr95: Estimate,
}

impl Detection {
    /// The figures of the scores `inside` of images in distribution and `outside` of others, with intervals by
    /// resamples of both.
    ///
    /// # Errors
    /// [`Error::Setting`] for no scores, or one that is NaN.
    ///
    /// # Panics
    /// For resamples of another number of images.
    pub fn of(inside: &[f64], outside: &[f64], resamples: [&Resamples; 2]) -> Result<Self> {
        for scores in [inside, outside] {
            if scores.is_empty() {
                return Err(Error::setting("scores", "expected the scores of images, got none"));
            }
            if let Some(at) = scores.iter().position(|score| score.is_nan()) {
                return Err(Error::setting("scores", format!("image {at} has the score NaN")));
            }
        }
        assert_eq!(resamples.map(Resamples::len), [inside.len(), outside.len()], "resamples of the images");
        let ranking = Ranking::of(inside, outside);
        let value = ranking.figures(&vec![1; inside.len()], &vec![1; outside.len()]);
        let mut resampled = vec![[0.0; 4]; super::bootstrap::RESAMPLES];
        resampled.par_iter_mut().enumerate().for_each(|(i, figures)| {
            *figures = ranking.figures(resamples[0].counts(i), resamples[1].counts(i));
        });
        let [auroc, aupr_in, aupr_out, fpr95] = [0, 1, 2, 3]
            .map(|k| Estimate::new(value[k], map_resamples(|i| resampled[i][k])).within(0.0, 1.0));
        Ok(Self { auroc, aupr_in, aupr_out, fpr95 })
    }
}

/// Images in and out of distribution in descending order of their scores.
struct Ranking {
    /// The number of each image within its set, and whether it is in distribution.
    images: Vec<(u32, bool)>,
    /// The ends of the runs of equal scores.
    runs: Vec<usize>,
}

impl Ranking {
    fn of(inside: &[f64], outside: &[f64]) -> Self {
        let mut all: Vec<(f64, u32, bool)> = Vec::with_capacity(inside.len() + outside.len());
        all.extend((0..).zip(inside).map(|(i, &score)| (score, i, true)));
        all.extend((0..).zip(outside).map(|(i, &score)| (score, i, false)));
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        // Not by bits: -0 equals 0.
        let ends = |&i: &usize| i == all.len() || all[i].0 != all[i - 1].0;
        let runs = (1..=all.len()).filter(ends).collect();
        Self { images: all.into_iter().map(|(_, image, inside)| (image, inside)).collect(), runs }
    }

    /// AUROC, both average precisions and the FPR at 95% TPR, with each image counted as often as `inside` and `outside`
    /// say.
    fn figures(&self, inside: &[u8], outside: &[u8]) -> [f64; 4] {
        let total = |counts: &[u8]| counts.iter().map(|&count| f64::from(count)).sum::<f64>();
        let [all_in, all_out] = [total(inside), total(outside)];
        let [mut above_in, mut above_out] = [0.0; 2];
        let [mut pairs, mut aupr_in, mut aupr_out, mut fpr95] = [0.0, 0.0, 0.0, f64::NAN];
        let mut start = 0;
        for &end in &self.runs {
            let [mut run_in, mut run_out] = [0.0; 2];
            for &(image, is_inside) in &self.images[start..end] {
                match is_inside {
                    true => run_in += f64::from(inside[image as usize]),
                    false => run_out += f64::from(outside[image as usize]),
                }
            }
            start = end;
            let [left_in, left_out] = [all_in - above_in, all_out - above_out];
            above_in += run_in;
            above_out += run_out;
            pairs += run_in * (all_out - above_out + run_out / 2.0);
            if run_in > 0.0 {
                aupr_in += run_in / all_in * above_in / (above_in + above_out);
            }
            if run_out > 0.0 {
                aupr_out += run_out / all_out * left_out / (left_in + left_out);
            }
            if fpr95.is_nan() && above_in >= TPR * all_in {
                fpr95 = above_out / all_out;
            }
        }
        [pairs / (all_in * all_out), aupr_in, aupr_out, fpr95]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::peer;
    use crate::says::assert_says;
    use approx::assert_relative_eq;

    fn detection(inside: &[f64], outside: &[f64]) -> Detection {
        let resamples = [inside, outside].map(|scores| Resamples::new(scores.len(), 0));
        Detection::of(inside, outside, [&resamples[0], &resamples[1]]).unwrap()
    }

    #[test]
    fn figures_are_scikit_learns() {
        let peer = peer::detection();
        let [inside, outside] = ["inside", "outside"].map(|key| peer.numbers(key));
        let figures = detection(&inside, &outside);
        for (figure, key) in [
            (&figures.auroc, "auroc"),
            (&figures.aupr_in, "aupr_in"),
            (&figures.aupr_out, "aupr_out"),
            (&figures.fpr95, "fpr95"),
        ] {
            assert_relative_eq!(figure.value, peer.number(key), max_relative = 1e-12);
            let [low, high] = figure.interval().unwrap();
            assert!(low < figure.value && figure.value < high && high - low < 0.4, "{key}: [{low}, {high}]");
        }
    }

    #[test]
    fn ties_count_half() {
        let figures = detection(&[1.0; 10], &[1.0; 30]);
        assert_eq!((figures.auroc.value, figures.aupr_in.value, figures.aupr_out.value), (0.5, 0.25, 0.75));
        assert_eq!(figures.fpr95.value, 1.0);
        let figures = detection(&[0.0, 2.0], &[-0.0, -1.0]);
        assert_eq!(figures.auroc.value, 0.875);
    }

    #[test]
    fn infinite_scores_are_ranked_and_nan_is_refused() {
        let perfect = detection(&[f64::INFINITY, 3.0], &[f64::NEG_INFINITY]);
        assert_eq!((perfect.auroc.value, perfect.fpr95.value), (1.0, 0.0));
        let reversed = detection(&[0.0], &[1.0]);
        assert_eq!((reversed.auroc.value, reversed.fpr95.value), (0.0, 1.0));
        let one = Resamples::new(1, 0);
        let message = Detection::of(&[f64::NAN], &[1.0], [&one, &one]).unwrap_err().to_string();
        assert_says(&message, &["image 0", "NaN"]);
        let none = Resamples::new(0, 0);
        assert_says(&Detection::of(&[], &[1.0], [&none, &one]).unwrap_err().to_string(), &["none"]);
    }
}
