//! Checks that a run is healthy: bounds on the metrics of an iteration, and on the growth of the energy gap.
//!
//! A fault shows some iterations after its cause. [`Fault::onset`] is the last iteration that can be trusted.

use super::{Evaluation, Metrics, Recipe};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The length in iterations of each of the two windows whose energy gaps are compared. The cause of a fault may be this
/// many iterations older than its first symptom.
pub const WINDOW: usize = 25;

/// The growth of the gap from one window to the next, once it is above half of its bound, that counts as divergence.
const RUNAWAY: f64 = 2.0;

/// A loss of accuracy on held-out images counts only once their best accuracy is this multiple of a random guess's; it
/// is a collapse below this fraction of the best accuracy.
const LEARNT: f64 = 2.0;
const COLLAPSED: f64 = 0.5;

/// A sign that a run diverges.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The iteration that shows the fault.
    pub iteration: u64,
    /// The last iteration, from 0 on, that can be trusted.
    pub onset: u64,
    /// A description of the fault, with the bound.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "iteration {}: {}", self.iteration, self.message)
    }
}

/// Monitors the metrics of a run. Its state is saved in checkpoints, so that a resumed run detects the same faults as
/// an uninterrupted one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// |Energy gap| of the last iterations, the newest last.
    gaps: VecDeque<f64>,
    /// The best accuracy on held-out images that counts ([`Guard::check_validation`]), and the iteration of the last
    /// evaluation without a collapse.
    best: Option<(f64, u64)>,
}

/// The name of a metric, its value and the bound on its size.
type Bounded = (&'static str, f64, f64);

impl Guard {
    /// A guard without history.
    pub fn new() -> Self {
        Self { gaps: VecDeque::new(), best: None }
    }

    /// Checks the metrics of the next iteration.
    ///
    /// # Errors
    /// The first fault that the metrics show.
    pub fn check(&mut self, recipe: &Recipe, metrics: &Metrics) -> Result<(), Fault> {
        let fault = |message: String| {
            let iteration = metrics.iteration;
            Err(Fault { iteration, onset: iteration.saturating_sub(WINDOW as u64), message })
        };
        for (name, value, bound) in bounded(recipe, metrics) {
            // NaN exceeds every bound.
            if value.is_nan() || value.abs() > bound {
                return fault(format!("{name} is {} (bound {})", number(value), number(bound)));
            }
        }
        if samples(recipe, metrics) {
            self.gaps.push_back(metrics.energy_gap().abs());
            if self.gaps.len() > 2 * WINDOW {
                self.gaps.pop_front();
            }
            if self.gaps.len() == 2 * WINDOW {
                let mean = |gaps: &mut dyn Iterator<Item = &f64>| gaps.sum::<f64>() / WINDOW as f64;
                let (before, now) =
                    (mean(&mut self.gaps.iter().take(WINDOW)), mean(&mut self.gaps.iter().skip(WINDOW)));
                if now > 0.5 * recipe.max_gap && now > RUNAWAY * before {
                    return fault(format!(
                        "energy gap grew from {before:.1} to {now:.1} in {WINDOW} iterations"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks an evaluation on held-out images after `iteration` iterations. A classifier loses accuracy while log p(x)
    /// joins. So until log p(x) has its full weight a low accuracy is no collapse, and of the evaluations up to then
    /// only the last counts later.
    ///
    /// # Errors
    /// A collapse of the accuracy.
    pub fn check_validation(
        &mut self,
        recipe: &Recipe,
        classes: usize,
        iteration: u64,
        evaluation: &Evaluation,
    ) -> Result<(), Fault> {
        let accuracy = evaluation.accuracy;
        if iteration <= recipe.p_x_complete() && accuracy.is_finite() {
            self.best = Some((accuracy, iteration));
            return Ok(());
        }
        if let Some((best, healthy)) = self.best {
            let learnt = best > LEARNT / classes as f64;
            if accuracy.is_nan() || (learnt && accuracy < COLLAPSED * best) {
                let message = format!(
                    "accuracy on held-out images fell to {:.1}% from {:.1}%",
                    100.0 * accuracy,
                    100.0 * best
                );
                return Err(Fault { iteration: iteration.saturating_sub(1), onset: healthy, message });
            }
        }
        let best = self.best.map_or(accuracy, |(best, _)| best.max(accuracy));
        self.best = Some((best, iteration));
        Ok(())
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

/// A number in readable form.
fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{}", (1e3 * value).round() / 1e3),
        size if size < 1e5 => format!("{}", value.round()),
        _ => format!("{value:.1e}"),
    }
}

/// Whether the iteration of `metrics` had samples.
fn samples(recipe: &Recipe, metrics: &Metrics) -> bool {
    recipe.samples() && !recipe.is_early(metrics.iteration)
}

fn bounded(recipe: &Recipe, metrics: &Metrics) -> Vec<Bounded> {
    let bound = recipe.diverged_above;
    let mut all = vec![
        ("loss", metrics.loss, bound),
        ("energy of data", metrics.energy_data, bound),
        ("gradient norm", metrics.gradient_norm, bound),
    ];
    if samples(recipe, metrics) {
        all.extend([
            ("energy of samples", metrics.energy_samples, bound),
            ("input gradient norm", metrics.input_gradient_norm, bound),
            ("energy gap", metrics.energy_gap(), recipe.max_gap),
            ("displacement of the chains", metrics.displacement, recipe.max_displacement),
            ("fraction of saturated pixels", metrics.saturated, recipe.max_saturated),
            ("age of the chains", metrics.chain_age, recipe.max_chain_age),
        ]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebm::Preset;

    fn recipe() -> Recipe {
        Recipe { max_gap: 40.0, max_chain_age: 1000.0, ..Preset::Tiny.recipe() }
    }

    fn metrics(iteration: u64, gap: f64) -> Metrics {
        Metrics {
            iteration,
            learning_rate: 1e-3,
            loss: 2.0,
            energy_data: -3.0,
            energy_samples: gap - 3.0,
            cross_entropy: 2.0,
            accuracy: 0.3,
            gradient_norm: 1.0,
            input_gradient_norm: 1.0,
            displacement: 0.1,
            saturated: 0.1,
            chain_age: 100.0,
        }
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        let all = [0.98, 1.0, -3.25049, 204.7, 1e6, f64::NAN, f64::INFINITY].map(number);
        assert_eq!(all, ["0.98", "1", "-3.25", "205", "1.0e6", "NaN", "inf"]);
    }

    #[test]
    fn a_steady_run_has_no_fault() {
        let mut guard = Guard::new();
        for iteration in 0..1000 {
            let gap = 15.0 * (iteration as f64 / 40.0).sin();
            guard.check(&recipe(), &metrics(iteration, gap)).unwrap();
        }
    }

    #[test]
    fn every_number_beyond_its_bound_is_a_fault_and_so_is_nan() {
        type Set = fn(&mut Metrics, f64);
        let numbers: [(&str, Set, f64); 9] = [
            ("loss", |m, v| m.loss = v, 2e6),
            ("energy of data", |m, v| m.energy_data = v, -2e6),
            ("gradient norm", |m, v| m.gradient_norm = v, 2e6),
            ("energy of samples", |m, v| m.energy_samples = v, 2e6),
            ("input gradient norm", |m, v| m.input_gradient_norm = v, 2e6),
            ("energy gap", |m, v| m.energy_samples = v, 50.0),
            ("displacement of the chains", |m, v| m.displacement = v, 1e3),
            ("saturated", |m, v| m.saturated = v, 1.0),
            ("age of the chains", |m, v| m.chain_age = v, 1001.0),
        ];
        for (name, set, beyond) in numbers {
            for value in [beyond, f64::NAN] {
                let mut metrics = metrics(90, 0.0);
                set(&mut metrics, value);
                let fault = Guard::new().check(&recipe(), &metrics).unwrap_err();
                let named = fault.message.contains(name) || (value.is_nan() && name == "energy gap");
                assert!(named && fault.message.contains("bound"), "{name}: {fault:?}");
                assert_eq!((fault.iteration, fault.onset), (90, 65));
                // Without samples there are no metrics of samples.
                let classifier = Recipe { p_x: 0.0, p_xy: 0.0, ..recipe() };
                let of_samples = ["samples", "input", "gap", "chains", "saturated"];
                let expected = of_samples.iter().any(|word| name.contains(word));
                assert_eq!(Guard::new().check(&classifier, &metrics).is_ok(), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_gap_that_runs_away_is_a_fault_before_it_is_beyond_its_bound() {
        let mut guard = Guard::new();
        let gap = |iteration: u64| 0.5 * (iteration as f64 / 20.0).exp();
        let fault = (0..).find_map(|i| guard.check(&recipe(), &metrics(i, gap(i))).err()).unwrap();
        assert!(fault.message.contains("energy gap grew from"), "{fault:?}");
        assert!(gap(fault.iteration) < recipe().max_gap, "{fault:?}");
        assert!(gap(fault.onset) < 0.5 * recipe().max_gap);
        // As large a gap, but not growing.
        let mut guard = Guard::new();
        for iteration in 0..200 {
            guard.check(&recipe(), &metrics(iteration, 30.0)).unwrap();
        }
    }

    #[test]
    fn forgetting_is_a_fault_and_not_having_learnt_is_none() {
        let evaluation = |accuracy: f64| Evaluation {
            accuracy,
            cross_entropy: 2.0,
            energy: -3.0,
            calibration_error: 0.125,
        };
        let mut guard = Guard::new();
        guard.check_validation(&recipe(), 10, 100, &evaluation(0.12)).unwrap();
        guard.check_validation(&recipe(), 10, 200, &evaluation(0.05)).unwrap();
        guard.check_validation(&recipe(), 10, 300, &evaluation(0.50)).unwrap();
        guard.check_validation(&recipe(), 10, 400, &evaluation(0.30)).unwrap();
        let fault = guard.check_validation(&recipe(), 10, 500, &evaluation(0.24)).unwrap_err();
        assert_eq!((fault.iteration, fault.onset), (499, 400));
        assert!(fault.message.contains("24.0% from 50.0%"), "{fault:?}");
        assert!(guard.check_validation(&recipe(), 10, 500, &evaluation(f64::NAN)).is_err());
    }

    #[test]
    fn accuracy_may_fall_while_the_weight_of_p_x_rises() {
        let evaluation = |accuracy: f64| Evaluation {
            accuracy,
            cross_entropy: 2.0,
            energy: -3.0,
            calibration_error: 0.125,
        };
        let recipe = Recipe { p_x_after: 100, p_x_ramp: 100, ..recipe() };
        let mut guard = Guard::new();
        guard.check_validation(&recipe, 10, 100, &evaluation(0.93)).unwrap();
        guard.check_validation(&recipe, 10, 200, &evaluation(0.44)).unwrap();
        guard.check_validation(&recipe, 10, 300, &evaluation(0.40)).unwrap();
        let fault = guard.check_validation(&recipe, 10, 400, &evaluation(0.2)).unwrap_err();
        assert!(fault.message.contains("20.0% from 44.0%"), "{fault:?}");
    }

    #[test]
    fn its_memory_survives_a_checkpoint() {
        let mut guard = Guard::new();
        for iteration in 0..30 {
            guard.check(&recipe(), &metrics(iteration, iteration as f64 / 3.0)).unwrap();
        }
        let text = serde_json::to_string(&guard).unwrap();
        assert_eq!(serde_json::from_str::<Guard>(&text).unwrap(), guard);
    }
}
