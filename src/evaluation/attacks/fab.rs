//! FAB-T: the targeted fast adaptive boundary attack (Croce & Hein 2020b), which walks along the decision boundary
//! between the label and a target to the adversarial image nearest to the clean one.

use super::Progress;
use super::apgd::target;
use super::hyperplane::onto;
use super::losses::Loss;
use super::run::{Images, Query, Run};
use super::threat::{HIGH, LOW, Norm, Threat};
use super::victim::{Answer, Victim};
use crate::error::Result;
use rayon::prelude::*;

/// The largest weight of the step from the clean image (α_max).
const ALPHA_MAX: f64 = 0.1;
/// The extrapolation beyond the boundary (η).
const ETA: f32 = 1.05;
/// The part of an adversarial perturbation with which the walk goes on (β).
const BETA: f32 = 0.9;
/// The least norm of a projection.
const SMALLEST: f64 = 1e-8;

/// An image under attack.
struct State<'a> {
    index: usize,
    target: usize,
    clean: &'a [f32],
    x: Vec<f32>,
    /// The nearest adversarial image, and its distance in units of the model's images.
    best: Option<(Vec<f32>, f64)>,
}

impl State<'_> {
    /// Moves towards the hyperplane on which the linearised difference of logits is 0.
    fn advance(&mut self, norm: Norm, difference: f64, gradient: &[f32]) {
        let offset: f64 = gradient
            .iter()
            .zip(self.clean)
            .zip(&self.x)
            .map(|((&g, &c), &x)| f64::from(g) * f64::from(c - x))
            .sum();
        let from_x = onto(norm, &self.x, gradient, difference);
        let from_clean = onto(norm, self.clean, gradient, difference + offset);
        let [a, b] = [&from_x, &from_clean].map(|d| norm.of(d).max(SMALLEST));
        let alpha = (a / (a + b)).min(ALPHA_MAX) as f32;
        let parts = self.x.iter_mut().zip(&from_x).zip(self.clean.iter().zip(&from_clean));
        for ((x, d), (clean, c)) in parts {
            *x = ((1.0 - alpha) * (*x + ETA * d) + alpha * (clean + ETA * c)).max(LOW).min(HIGH);
        }
    }

    /// Keeps an adversarial image if it is nearer than those before, and steps back towards the clean image.
    fn step_back(&mut self, norm: Norm) {
        let distance = norm.between(self.clean, &self.x);
        if self.best.as_ref().is_none_or(|(_, best)| distance < *best) {
            self.best = Some((self.x.clone(), distance));
        }
        self.x.iter_mut().zip(self.clean).for_each(|(x, clean)| *x = clean + BETA * (*x - clean));
    }
}

/// Walks from the clean images `indices` for `steps` steps at the boundary to the class of rank `rank` among the wrong
/// ones. Returns each image's nearest adversarial image and its distance; `None` if `goes_on` returns false. An image is
/// left when its distance is at most `enough`.
fn walk(
    run: &mut Run<'_>,
    indices: &[usize],
    steps: usize,
    rank: usize,
    enough: f64,
    goes_on: Progress<'_>,
) -> Result<Option<Vec<(usize, Option<(Vec<f32>, f64)>)>>> {
    let (norm, set) = (run.threat.norm(), run.images);
    let start = |&index: &usize| {
        let clean = set.image(index);
        State { index, target: target(run, index, rank), clean, x: clean.to_vec(), best: None }
    };
    let mut states: Vec<State<'_>> = indices.iter().map(start).collect();
    let mut finished = Vec::new();
    for step in 0..steps {
        let mut part = |part: f64| goes_on((step as f64 + 0.75 * part) / steps as f64);
        let answers = {
            let queries = queries(&states);
            let Some(answers) = run.gradients(Loss::LogitDifference, &queries, &mut part)? else {
                return Ok(None);
            };
            answers
        };
        states.par_iter_mut().zip(&answers).for_each(|(state, Answer { logits, gradient })| {
            let label = set.labels[state.index] as usize;
            let difference = Loss::LogitDifference.value(logits, label, state.target);
            state.advance(norm, difference, gradient);
        });
        let mut part = |part: f64| goes_on((step as f64 + 0.75 + 0.25 * part) / steps as f64);
        let broken = {
            let queries = queries(&states);
            let Some(logits) = run.logits(&queries, &mut part)? else { return Ok(None) };
            let rows = logits.chunks(run.victim.classes());
            let Some(broken) = run.broken(&queries, rows, &mut part)? else { return Ok(None) };
            broken
        };
        states
            .par_iter_mut()
            .zip(broken)
            .filter(|(_, broken)| *broken)
            .for_each(|(state, _)| state.step_back(norm));
        let near = |state: &State<'_>| state.best.as_ref().is_some_and(|(_, distance)| *distance <= enough);
        let (left, others): (Vec<_>, Vec<_>) = states.into_iter().partition(near);
        finished.extend(left.into_iter().map(|state| (state.index, state.best)));
        states = others;
        if states.is_empty() {
            break;
        }
    }
    finished.extend(states.into_iter().map(|state| (state.index, state.best)));
    Ok(Some(finished))
}

fn queries<'b>(states: &'b [State<'_>]) -> Vec<Query<'b>> {
    states.iter().map(|state| Query { index: state.index, image: &state.x, target: state.target }).collect()
}

/// Attacks the images `indices` with `steps` steps at the boundary to the class of rank `rank` among the wrong ones, from 0
/// on. Returns whether to go on.
pub(super) fn attack(
    run: &mut Run<'_>,
    indices: &[usize],
    steps: usize,
    rank: usize,
    goes_on: Progress<'_>,
) -> Result<bool> {
    let radius = run.threat.radius();
    let Some(found) = walk(run, indices, steps, rank, radius, goes_on)? else { return Ok(false) };
    for (index, best) in found {
        if let Some((x, distance)) = best
            && distance <= radius
        {
            run.record(index, &x);
        }
    }
    Ok(true)
}

/// The distance of each image to the nearest adversarial image that FAB-T finds with `steps` steps for each of `targets`
/// wrong classes, in units of [0, 1] pixels: an upper bound of the distance to the decision boundary. 0 for an image that
/// is misclassified already; infinite where nothing is found. Returns `None` if `progress` returns false.
///
/// # Errors
/// The errors of [`super::Attack::run`].
pub fn minimal_perturbations(
    victim: &mut dyn Victim,
    images: Images<'_>,
    norm: Norm,
    steps: usize,
    targets: usize,
    progress: Progress<'_>,
) -> Result<Option<Vec<f64>>> {
    Loss::LogitDifference.check(victim.classes())?;
    let threat = Threat::unbounded(norm, images.pixels.len() / images.labels.len().max(1));
    let group = super::attack::GROUP * victim.batch();
    let targets = targets.min(victim.classes() - 1);
    let Some(mut run) = Run::begin(victim, images, threat, 0, progress)? else { return Ok(None) };
    let mut distances = vec![0.0; images.labels.len()];
    let standing = run.attacked.standing();
    standing.iter().for_each(|&index| distances[index] = f64::INFINITY);
    let parts = standing.len().div_ceil(group) * targets;
    for (number, indices) in standing.chunks(group).enumerate() {
        for rank in 0..targets {
            let done = number * targets + rank;
            let mut part = |part: f64| progress((done as f64 + part) / parts as f64);
            let Some(found) = walk(&mut run, indices, steps, rank, 0.0, &mut part)? else { return Ok(None) };
            for (index, best) in found {
                if let Some((x, _)) = best {
                    distances[index] = norm.distance(images.image(index), &x).min(distances[index]);
                }
            }
        }
    }
    Ok(Some(distances))
}
