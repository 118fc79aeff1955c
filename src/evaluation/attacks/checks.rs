//! The sanity checks of Carlini et al. 2019 ("On evaluating adversarial robustness", sections 4 and 5): orders between
//! attacks that hold unless the stronger one fails, as it does where gradients are masked.

use super::Progress;
use super::attack::Attack;
use super::run::{Attacked, Images, Query, Run};
use super::threat::Threat;
use super::victim::Victim;
use crate::error::Result;

/// The probability below which a surplus of images that the weaker attack alone breaks is not by chance.
const SIGNIFICANT: f64 = 0.01;
/// Steps of the attacks that are compared.
const FEW: usize = 10;
const MANY: usize = 40;
const UNBOUNDED: usize = 100;
const QUERIES: usize = 1000;

/// One check: two attacks, the stronger of which must break at least what the weaker breaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The statement that is checked.
    pub name: &'static str,
    /// Robust accuracy against the attack that must be the stronger.
    pub stronger: f64,
    /// Robust accuracy against the attack that must be the weaker; `None` if the stronger must break all images.
    pub weaker: Option<f64>,
    /// The number of images that only the stronger attack breaks, and that only the weaker one breaks.
    pub only: [usize; 2],
    /// Whether the statement holds: for two attacks, unless the weaker alone breaks more images than the stronger alone and
    /// chance explains that with a probability below 1% (a one-sided sign test); for one, if no image is left.
    pub holds: bool,
}

impl Check {
    fn compare(name: &'static str, stronger: &Attacked, weaker: &Attacked) -> Self {
        let robust = stronger.robust().into_iter().zip(weaker.robust());
        let mut only = [0; 2];
        for (stronger, weaker) in robust.filter(|(stronger, weaker)| stronger != weaker) {
            only[usize::from(stronger && !weaker)] += 1;
        }
        let holds = sign_test(only[1], only[0]) >= SIGNIFICANT;
        let [stronger, weaker] = [stronger, weaker].map(Attacked::robust_accuracy);
        Self { name, stronger, weaker: Some(weaker), only, holds }
    }
}

/// The probability of at least `a` heads in `a + b` throws of a coin.
fn sign_test(a: usize, b: usize) -> f64 {
    let n = a + b;
    // Terms are C(n, k) / 2^n, in logarithms for large n.
    let mut log_term = -(n as f64) * 2f64.ln();
    let mut sum = 0.0;
    for k in (a..=n).rev() {
        sum += log_term.exp();
        log_term += (k as f64).ln() - ((n - k + 1) as f64).ln();
    }
    sum
}

/// Runs the checks on `images`. With a `source`, another model, it also checks that attacks on the source transfer less
/// well than attacks on the victim. Returns `None` if `progress` returns false.
///
/// # Errors
/// The errors of [`Attack::run`].
pub fn sanity_checks(
    victim: &mut dyn Victim,
    source: Option<&mut dyn Victim>,
    images: Images<'_>,
    threat: Threat,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<Vec<Check>>> {
    let norm = threat.norm();
    let elements = images.pixels.len() / images.labels.len().max(1);
    let one_step = Attack::Pgd { steps: 1, random_start: false };
    let few = Attack::Pgd { steps: FEW, random_start: false };
    let many = Attack::Pgd { steps: MANY, random_start: false };
    let apgd = Attack::ApgdCe { steps: MANY };
    let runs = [
        (one_step, threat),
        (few, threat),
        (many, threat),
        (apgd, threat),
        (apgd, threat.scaled(2.0)),
        (Attack::ApgdCe { steps: UNBOUNDED }, Threat::unbounded(norm, elements)),
        (Attack::Square { queries: QUERIES }, threat),
        (Attack::Noise, threat),
    ];
    let total = runs.len() + usize::from(source.is_some());
    let mut found = Vec::new();
    for (number, (attack, threat)) in runs.into_iter().enumerate() {
        let mut part = |part: f64| progress((number as f64 + part) / total as f64);
        let Some(attacked) = attack.run(victim, images, threat, seed, &mut part)? else { return Ok(None) };
        found.push(attacked);
    }
    let [one_step, few, many_steps, apgd, wide, unbounded, square, noise] =
        <[Attacked; 8]>::try_from(found).expect("a result of each run");
    let left = unbounded.robust_accuracy();
    let mut checks = vec![
        Check {
            name: "an unbounded attack breaks every image",
            stronger: left,
            weaker: None,
            only: [0; 2],
            holds: left == 0.0,
        },
        Check::compare("40 steps break what 10 steps break", &many_steps, &few),
        Check::compare("twice the radius breaks what the radius breaks", &wide, &apgd),
        Check::compare("40 steps break what one step breaks", &many_steps, &one_step),
        Check::compare("gradients break what random search breaks", &apgd, &square),
        Check::compare("gradients break what random noise breaks", &apgd, &noise),
    ];
    if let Some(source) = source {
        let mut part = |part: f64| progress((total as f64 - 1.0 + part) / total as f64);
        let Some(of_source) = many.run(source, images, threat, seed, &mut part)? else { return Ok(None) };
        let Some(moved) = transferred(victim, images, &of_source.images, threat, &mut part)? else {
            return Ok(None);
        };
        checks.push(Check::compare(
            "an attack breaks what transfers from another model",
            &many_steps,
            &moved,
        ));
    }
    Ok(Some(checks))
}

/// The adversarial images of another model as an attack on `victim`.
fn transferred(
    victim: &mut dyn Victim,
    images: Images<'_>,
    adversarial: &[f32],
    threat: Threat,
    progress: Progress<'_>,
) -> Result<Option<Attacked>> {
    let Some(mut run) = Run::begin(victim, images, threat, 0, progress)? else { return Ok(None) };
    run.name = "transfer";
    let size = adversarial.len() / images.labels.len();
    let query = |index: usize| Query { index, image: &adversarial[index * size..][..size], target: 0 };
    let queries: Vec<Query<'_>> = run.attacked.standing().into_iter().map(query).collect();
    let Some(logits) = run.logits(&queries, progress)? else { return Ok(None) };
    let rows = logits.chunks(run.victim.classes());
    let Some(broken) = run.broken(&queries, rows, progress)? else { return Ok(None) };
    for (query, _) in queries.iter().zip(broken).filter(|(_, broken)| *broken) {
        run.record(query.index, query.image);
    }
    Ok(run.verify(progress)?.then_some(run.attacked))
}

#[cfg(test)]
mod tests {
    use super::super::small_network::{self, Masked};
    use super::super::{Norm, Threat};
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn the_sign_test_is_a_binomial_tail() {
        assert_relative_eq!(sign_test(0, 0), 1.0);
        assert_relative_eq!(sign_test(0, 5), 1.0, max_relative = 1e-12);
        assert_relative_eq!(sign_test(5, 0), 1.0 / 32.0, max_relative = 1e-12);
        assert_relative_eq!(sign_test(3, 1), 5.0 / 16.0, max_relative = 1e-12);
        assert!(sign_test(1000, 800) < 1e-5 && sign_test(1000, 1000) > 0.49);
    }

    #[test]
    fn the_checks_hold_for_a_network_and_fail_for_masked_gradients() {
        let (pixels, labels) = small_network::right_images(40, 7, 4);
        let images = Images { pixels: &pixels, labels: &labels };
        let [mut victim, mut source] = [7, 8].map(|seed| small_network::victim(seed, 4, 16));
        for (norm, epsilon) in [(Norm::LInf, 0.03), (Norm::L2, 0.15)] {
            let threat = Threat::new(norm, epsilon).unwrap();
            let checks = sanity_checks(&mut victim, Some(&mut source), images, threat, 0, &mut |_| true);
            let checks = checks.unwrap().unwrap();
            assert_eq!(checks.len(), 7);
            for check in &checks {
                assert!(check.holds, "{norm}: {check:?}");
            }
            assert!(checks[1].stronger < 0.9, "{norm}: {checks:?}");
            let mut masked = Masked(small_network::victim(7, 4, 16));
            let checks = sanity_checks(&mut masked, Some(&mut source), images, threat, 0, &mut |_| true);
            let failed: Vec<&str> =
                checks.unwrap().unwrap().iter().filter(|c| !c.holds).map(|c| c.name).collect();
            assert!(failed.contains(&"gradients break what random search breaks"), "{failed:?}");
        }
    }
}
