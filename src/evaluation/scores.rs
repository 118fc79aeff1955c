//! Scores of images that are higher in distribution, from logits alone.

use super::predictions::Top;

/// The exponent of [`gen_entropy`], and the number of most probable classes it sums over.
const GEN: (f64, usize) = (0.1, 100);

/// log p(x) up to a constant: LogSumExp_y f(x)\[y\] (Grathwohl et al. 2019, section 5.3), in nats.
pub fn log_px(logits: &[f32]) -> f64 {
    Top::of(logits).logsumexp()
}

/// max_y p(y|x) (Hendrycks & Gimpel 2017) as the logarithm of its odds p/(1-p): the same order, and no tie where the
/// probability itself rounds to 1. Infinite for a single class.
pub fn max_py(logits: &[f32]) -> f64 {
    -Top::of(logits).log_others
}

/// max_y f(x)\[y\] (Hendrycks et al. 2022).
pub fn max_logit(logits: &[f32]) -> f64 {
    Top::of(logits).logit
}

/// Minus the entropy of p(y|x), in nats.
pub fn entropy(logits: &[f32]) -> f64 {
    let top = Top::of(logits);
    // H = ln(1 + r) + Σ e^-d d / (1 + r), for differences d to the greatest logit and r = Σ e^-d of the others.
    let others = logits.iter().enumerate().filter(|(class, _)| *class != top.class);
    let sum: f64 = others
        .map(|(_, &logit)| {
            let d = top.logit - f64::from(logit);
            (-d).exp() * d
        })
        .sum();
    -(top.others().ln_1p() + sum / (1.0 + top.others()))
}

/// T LogSumExp_y f(x)\[y\]/T: minus the energy of Liu et al. (2020), equation 4.
pub fn energy(logits: &[f32], temperature: f64) -> f64 {
    let highest = Top::of(logits).logit;
    let sum: f64 = logits.iter().map(|&logit| ((f64::from(logit) - highest) / temperature).exp()).sum();
    highest + temperature * sum.ln()
}

/// Minus the generalised entropy Σ p^γ (1 - p)^γ over the 100 most probable classes, γ = 0.1 (Liu, Lochman & Zach,
/// "GEN", CVPR 2023).
pub fn gen_entropy(logits: &[f32]) -> f64 {
    let top = Top::of(logits);
    let mut below: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) - top.logit).collect();
    below.swap_remove(top.class);
    below.sort_by(|a, b| b.total_cmp(a));
    let (gamma, most) = GEN;
    let total = 1.0 + top.others();
    let first = (top.others() / total.powi(2)).powf(gamma);
    let rest = below.iter().take(most - 1).map(|d| {
        let p = d.exp() / total;
        (p * (1.0 - p)).powf(gamma)
    });
    -(first + rest.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn scores_follow_their_formulas() {
        let logits = [1.0f32, 3.0, 2.0, -1.0];
        let weights = logits.map(|f| f64::from(f).exp());
        let z: f64 = weights.iter().sum();
        let p = weights.map(|w| w / z);
        assert_relative_eq!(log_px(&logits), z.ln(), max_relative = 1e-14);
        assert_relative_eq!(max_py(&logits), (p[1] / (1.0 - p[1])).ln(), max_relative = 1e-13);
        assert_eq!(max_logit(&logits), 3.0);
        assert_relative_eq!(
            entropy(&logits),
            p.iter().map(|p| p * p.ln()).sum::<f64>(),
            max_relative = 1e-13
        );
        let sum: f64 = logits.iter().map(|&f| (f64::from(f) / 2.5).exp()).sum();
        assert_relative_eq!(energy(&logits, 2.5), 2.5 * sum.ln(), max_relative = 1e-13);
        assert_relative_eq!(energy(&logits, 1.0), log_px(&logits), max_relative = 1e-14);
        let gen_p: f64 = p.iter().map(|p| (p * (1.0 - p)).powf(0.1)).sum();
        assert_relative_eq!(gen_entropy(&logits), -gen_p, max_relative = 1e-13);
    }

    #[test]
    fn certain_images_are_still_ranked() {
        // In float32, and in float64 above 37, all have p = 1 and entropy 0.
        for gaps in [[20.0f32, 25.0], [40.0, 41.0], [200.0, 300.0]] {
            for score in [max_py, entropy, gen_entropy] {
                let [less, more] = gaps.map(|gap| score(&[gap, 0.0, 0.0]));
                assert!(less < more, "{gaps:?}: {less} {more}");
            }
        }
    }

    #[test]
    fn the_generalised_entropy_takes_the_most_probable_classes() {
        let mut logits = vec![0.0f32; 300];
        logits[299] = 1.0;
        let all = gen_entropy(&logits);
        assert_relative_eq!(gen_entropy(&logits[199..]), all, max_relative = 0.2);
        let p = 1.0 / (299.0 + 1f64.exp());
        let top = 1f64.exp() * p;
        let expected = -((top * (1.0 - top)).powf(0.1) + 99.0 * (p * (1.0 - p)).powf(0.1));
        assert_relative_eq!(all, expected, max_relative = 1e-12);
    }

    #[test]
    fn one_class_has_a_density_and_no_choice() {
        assert_eq!((log_px(&[2.5]), entropy(&[2.5]), max_py(&[2.5])), (2.5, -0.0, f64::INFINITY));
        assert_eq!(gen_entropy(&[2.5]), -0.0);
    }
}
