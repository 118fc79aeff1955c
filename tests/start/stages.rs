//! Stages: log p(x) joins later, with a weight that rises, or that falls as the gap grows.

use crate::small::pictures;
use crate::{SIDE, recipe};
use jem::device::Device;
use jem::ebm::{Metrics, OptimizerKind, Recipe, Trainer, held_gap};
use jem::nn::ingredients::Norm;

fn train(trainer: &mut Trainer, iterations: usize) -> Vec<Metrics> {
    let mut metrics = Vec::new();
    for _ in 0..iterations {
        trainer.step().expect("an iteration");
    }
    metrics.extend(trainer.finish_metrics().expect("metrics"));
    metrics
}

/// The metrics and the trained parameters of a trainer of `recipe` after some iterations.
fn trained(recipe: &Recipe, iterations: usize) -> (Vec<Metrics>, Vec<f32>) {
    let data = pictures(48, SIDE);
    let mut trainer = Trainer::new(&Device::cpu(), recipe, &data).expect("a trainer");
    let metrics = train(&mut trainer, iterations);
    let mut parameters = trainer.parameters().expect("parameters");
    parameters.truncate(trainer.network().layout().trained_words());
    (metrics, parameters)
}

/// The largest difference of two buffers beside their largest change from `before`.
fn difference(a: &[f32], b: &[f32], before: &[f32]) -> f64 {
    let largest =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).abs()).fold(0.0, f64::max);
    largest(a, b) / largest(a, before)
}

/// Recipes whose updates differ: one pass, three passes of batch norm, a perturbation, a penalty.
fn variants() -> [(&'static str, Recipe); 4] {
    // Without Adam, whose first updates are the signs of gradients.
    let optimizer = OptimizerKind::Sgd;
    let recipe = Recipe { p_x: 0.5, energy_l2: 0.1, optimizer, lr: 0.01, clip_norm: 0.0, ..recipe() };
    [
        ("plain", recipe.clone()),
        ("batch norm", Recipe { norm: Norm::Batch, ..recipe.clone() }),
        ("sam", Recipe { sam: 0.05, ..recipe.clone() }),
        ("penalty", Recipe { gradient_penalty: 0.1, ..recipe }),
    ]
}

#[test]
fn p_y_given_x_alone_is_trained_before_p_x_joins() {
    for (name, base) in variants() {
        let staged = Recipe { p_x_after: 3, ..base.clone() };
        let (metrics, after) = trained(&staged, 5);
        for (iteration, metrics) in metrics.iter().enumerate() {
            let sampled = iteration >= 3;
            for value in [metrics.energy_samples, metrics.displacement, metrics.saturated, metrics.chain_age]
            {
                assert_eq!(value.is_finite(), sampled, "{name}, iteration {iteration}: {metrics:?}");
            }
            assert!(metrics.energy_data.is_finite() && metrics.cross_entropy.is_finite(), "{metrics:?}");
            if !sampled {
                assert!((metrics.loss - metrics.cross_entropy).abs() < 1e-6, "{name}: {metrics:?}");
            }
        }
        // The chains begin when log p(x) joins: in its first iteration they have taken its steps alone.
        let steps = staged.steps * staged.batch;
        assert_eq!(metrics[3].chain_age, steps as f64 / staged.buffer as f64, "{name}");
        // The classifier's recipe makes the same updates. Its augmentation has the random numbers of other places.
        let plain = Recipe { flip: false, pad: 0, input_noise: 0.0, ..staged.clone() };
        let classifier =
            Recipe { p_x: 0.0, p_x_after: 0, energy_l2: 0.0, gradient_penalty: 0.0, ..plain.clone() };
        let before = trained(&plain, 0).1;
        let (_, early) = trained(&plain, 3);
        let (_, alone) = trained(&classifier, 3);
        assert!(
            difference(&early, &alone, &before) < 1e-4,
            "{name}: {}",
            difference(&early, &alone, &before)
        );
        let later = difference(&after, &alone, &before);
        assert!(later > 0.01, "{name}: log p(x) changes nothing: {later}");
    }
}

#[test]
fn the_weight_of_p_x_rises_to_its_full_value() {
    for (name, base) in variants() {
        let before = trained(&base, 0).1;
        // After one iteration of two, half of every term of data and samples.
        let (metrics, rising) = trained(&Recipe { p_x_ramp: 2, ..base.clone() }, 1);
        let half = Recipe {
            p_x: base.p_x / 2.0,
            energy_l2: base.energy_l2 / 2.0,
            gradient_penalty: base.gradient_penalty / 2.0,
            ..base.clone()
        };
        let (halved, expected) = trained(&half, 1);
        let apart = difference(&rising, &expected, &before);
        assert!(apart < 1e-3, "{name}: {apart}");
        let (found, expected) = (metrics[0].loss, halved[0].loss);
        assert!((found - expected).abs() < 1e-5 * expected.abs(), "{name}: {found} and {expected}");
        let (_, full) = trained(&Recipe { p_x_ramp: 1, ..base.clone() }, 3);
        let (_, expected) = trained(&base, 3);
        let apart = difference(&full, &expected, &before);
        assert!(apart < 1e-3, "{name}: {apart}");
        let (_, less) = trained(&Recipe { p_x_ramp: 10, ..base.clone() }, 3);
        let apart = difference(&less, &expected, &before);
        assert!(apart > 1e-3, "{name}: {apart}");
    }
    let factors = |after, ramp| {
        let recipe = Recipe { p_x_after: after, p_x_ramp: ramp, ..recipe() };
        [0, 1, 2, 3, 4, 5].map(|iteration| recipe.p_x_factor(iteration))
    };
    assert_eq!(factors(2, 2), [0.0, 0.0, 0.5, 1.0, 1.0, 1.0]);
    assert_eq!(factors(0, 0), [1.0; 6]);
}

#[test]
fn the_weight_of_p_x_falls_as_the_gap_grows() {
    // SAM computes the gap, and so the weight, again at the perturbed weights.
    for (name, base) in variants().into_iter().filter(|(name, _)| *name != "sam") {
        let mut signs = Vec::new();
        for seed in 0..6 {
            // Chains that do not move have other energies, so that gaps of both signs occur.
            let step_size = if seed % 2 == 0 { base.step_size } else { 0.0 };
            let base = Recipe { seed, step_size, ..base.clone() };
            let (before, (metrics, _)) = (trained(&base, 0).1, trained(&base, 1));
            let gap = metrics[0].energy_gap();
            signs.push(gap > 0.0);
            // A limit of twice the gap leaves half of the weight, one of half the gap none. A negative gap leaves it
            // whole.
            for (limit, weight) in [(2.0 * gap.abs(), 0.5), (0.5 * gap.abs(), 0.0)] {
                let weight = if gap > 0.0 { weight } else { 1.0 };
                let held = Recipe { hold_gap: limit as f32, ..base.clone() };
                let (held, found) = trained(&held, 1);
                let (_, expected) =
                    trained(&Recipe { p_x: (base.p_x * weight).max(1e-12), ..base.clone() }, 1);
                let apart = difference(&found, &expected, &before);
                assert!(apart < 1e-3, "{name}, seed {seed}, gap {gap}, limit {limit}: {apart}");
                let loss = metrics[0].loss + f64::from(base.p_x) * (gap + held_gap(gap, limit));
                let found = held[0].loss;
                assert!((found - loss).abs() < 1e-5 * loss.abs(), "{name}, seed {seed}: {found} and {loss}");
            }
        }
        assert!(signs.contains(&true) && signs.contains(&false), "{name}: {signs:?}");
    }
    // The negative slope is the weight, which has no jumps.
    let slope = |gap: f64| (held_gap(gap + 1e-6, 4.0) - held_gap(gap - 1e-6, 4.0)) / 2e-6;
    for (gap, weight) in [(-3.0, 1.0), (0.0, 1.0), (1.0, 0.75), (3.0, 0.25), (4.0, 0.0), (9.0, 0.0)] {
        assert!((slope(gap) + weight).abs() < 1e-6, "{gap}: {}", slope(gap));
    }
}

#[test]
fn stages_that_cannot_be_are_refused() {
    for (wrong, parts) in [
        (Recipe { p_x: 0.0, p_x_after: 3, ..recipe() }, ["p_x_after", "there is no log p(x)"]),
        (Recipe { p_x: 0.0, p_x_ramp: 3, ..recipe() }, ["p_x_ramp", "there is no log p(x)"]),
        (Recipe { p_x: 0.0, hold_gap: 3.0, ..recipe() }, ["hold_gap", "there is no log p(x)"]),
        (Recipe { hold_gap: f32::INFINITY, ..recipe() }, ["hold_gap", "finite"]),
        (Recipe { hold_gap: 1e-45, ..recipe() }, ["hold_gap", "at least 0.000001"]),
        (Recipe { fresh_chains: usize::MAX, ..recipe() }, ["fresh_chains", "at most 4096"]),
        (Recipe { p_y_given_x: 0.0, p_x_after: 3, ..recipe() }, ["p_x_after", "nothing to train before"]),
        (
            Recipe { p_xy: 1.0, class_conditional: true, p_x_ramp: 3, ..recipe() },
            ["p_x_ramp", "joins images and classes"],
        ),
    ] {
        let message = wrong.check(48, 10).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}
