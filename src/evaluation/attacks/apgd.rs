//! Auto-PGD (Croce & Hein 2020, algorithm 1): projected gradient descent with momentum, whose steps halve where the
//! loss stops growing, on the cross-entropy, the DLR loss, or the targeted DLR loss.

use super::Progress;
use super::losses::Loss;
use super::pgd::step_within;
use super::run::{Query, Run};
use super::start::{Stream, on_surface, random};
use super::threat::Threat;
use super::victim::Answer;
use crate::ebm::ranking;
use crate::error::Result;
use rayon::prelude::*;

/// The weight of a gradient step against the momentum (α).
const ALPHA: f32 = 0.75;
/// The steps halve where less than this share of the steps since the last checkpoint raised the loss (ρ).
const RHO: f64 = 0.75;

/// An image under attack.
struct State<'a> {
    index: usize,
    target: usize,
    clean: &'a [f32],
    x: Vec<f32>,
    previous: Vec<f32>,
    gradient: Vec<f32>,
    /// The point of the highest loss, and its gradient.
    best: Vec<f32>,
    best_gradient: Vec<f32>,
    best_loss: f64,
    /// The length of a step, in units of the model's images.
    length: f32,
    /// The loss of the last point, and how often it grew since the last checkpoint.
    loss: f64,
    increases: usize,
    /// The highest loss at the last checkpoint, and whether the steps were halved there.
    best_at_checkpoint: f64,
    halved: bool,
}

impl State<'_> {
    /// Takes the loss and the gradient of the point that the last step reached.
    fn observe(&mut self, loss: f64, gradient: Vec<f32>) {
        self.increases += usize::from(loss > self.loss);
        self.loss = loss;
        self.gradient = gradient;
        if loss > self.best_loss {
            self.best_loss = loss;
            self.best.clone_from(&self.x);
            self.best_gradient.clone_from(&self.gradient);
        }
    }

    /// Halves the steps and returns to the best point if the loss grew too rarely in the `steps` since the last
    /// checkpoint (condition 1), or has had the same maximum and step length there (condition 2).
    fn check(&mut self, steps: usize) {
        let rarely = self.increases as f64 <= RHO * steps as f64;
        let stuck = !self.halved && self.best_at_checkpoint >= self.best_loss;
        self.halved = rarely || stuck;
        self.best_at_checkpoint = self.best_loss;
        self.increases = 0;
        if self.halved {
            self.length /= 2.0;
            self.x.clone_from(&self.best);
            self.gradient.clone_from(&self.best_gradient);
        }
    }

    /// Takes a step with momentum; the first step has none.
    fn advance(&mut self, threat: Threat, first: bool) {
        let mut z = self.x.clone();
        step_within(threat, self.clean, &mut z, &self.gradient, self.length);
        let alpha = if first { 1.0 } else { ALPHA };
        for ((z, x), previous) in z.iter_mut().zip(&self.x).zip(&self.previous) {
            *z = x + alpha * (*z - x) + (1.0 - alpha) * (x - previous);
        }
        threat.project(self.clean, &mut z);
        self.previous = std::mem::replace(&mut self.x, z);
    }
}

/// The numbers of steps between checkpoints: 22% of `steps`, then 3% less each time, at least 6%.
fn checkpoints(steps: usize) -> impl Iterator<Item = usize> {
    let share = |percent: usize| (steps * percent / 100).max(1);
    let (least, less) = (share(6), share(3));
    std::iter::successors(Some(share(22)), move |&period| Some(period.saturating_sub(less).max(least)))
}

/// Attacks the images `indices` with `steps` steps on `loss`, which aims at the class that has rank `rank` among the wrong
/// ones by the clean image's logits, from 0 on, if it has targets. An image is left when it is broken. Returns whether to
/// go on.
pub(super) fn attack(
    run: &mut Run<'_>,
    indices: &[usize],
    loss: Loss,
    steps: usize,
    rank: usize,
    goes_on: Progress<'_>,
) -> Result<bool> {
    let (threat, seed, set) = (run.threat, run.seed, run.images);
    let stream = [Stream::Apgd, Stream::ApgdDlr][usize::from(loss == Loss::Dlr)];
    let targets: Vec<usize> = indices.iter().map(|&index| target(run, index, rank)).collect();
    let start = |(&index, target): (&usize, usize)| {
        let clean = set.image(index);
        let x = on_surface(threat, clean, &mut random(seed, stream, rank, index));
        State {
            index,
            target,
            clean,
            previous: x.clone(),
            best: x.clone(),
            x,
            gradient: Vec::new(),
            best_gradient: Vec::new(),
            best_loss: f64::NEG_INFINITY,
            length: (2.0 * threat.radius()) as f32,
            loss: f64::INFINITY,
            increases: 0,
            best_at_checkpoint: f64::NEG_INFINITY,
            halved: true,
        }
    };
    let mut states: Vec<State<'_>> = indices.par_iter().zip(targets).map(start).collect();
    let mut periods = checkpoints(steps);
    let (mut period, mut since) = (periods.next().unwrap_or(1), 0);
    for step in 0..=steps {
        if states.is_empty() {
            break;
        }
        if step > 0 {
            states.par_iter_mut().for_each(|state| state.advance(threat, step == 1));
        }
        let queries: Vec<Query<'_>> = states
            .iter()
            .map(|state| Query { index: state.index, image: &state.x, target: state.target })
            .collect();
        let mut part = |part: f64| goes_on((step as f64 + part) / (steps + 1) as f64);
        let Some(answers) = run.gradients(loss, &queries, &mut part)? else { return Ok(false) };
        let logits = answers.iter().map(|answer| answer.logits.as_slice());
        let Some(broken) = run.broken(&queries, logits, &mut part)? else { return Ok(false) };
        for (query, _) in queries.iter().zip(&broken).filter(|(_, broken)| **broken) {
            run.record(query.index, query.image);
        }
        let standing = states.into_iter().zip(answers).zip(broken).filter(|(_, broken)| !broken);
        let mut standing: Vec<(State<'_>, Answer)> = standing.map(|(pair, _)| pair).collect();
        since += usize::from(step > 0);
        let at_checkpoint = since == period;
        standing.par_iter_mut().for_each(|(state, Answer { logits, gradient })| {
            let value = loss.value(logits, set.labels[state.index] as usize, state.target);
            state.observe(value, std::mem::take(gradient));
            if step == 0 {
                state.best_at_checkpoint = value;
            }
            if at_checkpoint {
                state.check(since);
            }
        });
        if at_checkpoint {
            (period, since) = (periods.next().unwrap_or(1), 0);
        }
        states = standing.into_iter().map(|(state, _)| state).collect();
    }
    Ok(true)
}

/// The class of rank `rank` among the wrong ones by the logits of the clean image `index`, from 0 on.
pub(super) fn target(run: &Run<'_>, index: usize, rank: usize) -> usize {
    let (classes, label) = (run.victim.classes(), run.label(index));
    let order = ranking(&run.logits[index * classes..][..classes], classes);
    let wrong: Vec<usize> = order.into_iter().filter(|&class| class != label).collect();
    wrong[rank.min(wrong.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_those_of_the_publication() {
        // Croce & Hein 2020: p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99.
        let sums = checkpoints(100).scan(0, |sum, period| {
            *sum += period;
            Some(*sum)
        });
        assert_eq!(sums.take(8).collect::<Vec<_>>(), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(1).take(3).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
