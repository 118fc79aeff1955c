//! Projected gradient descent (Madry et al. 2018) on the cross-entropy.

use super::Progress;
use super::losses::Loss;
use super::run::{Query, Run};
use super::start::{Stream, inside, random};
use super::threat::{Norm, Threat};
use super::victim::Answer;
use crate::error::Result;
use rayon::prelude::*;

/// The sum of all steps in units of the radius.
const REACH: f64 = 2.5;

/// Attacks the images `indices` by `steps` steps of length 2.5 ε / `steps`, from a random point of the ball or from the
/// clean image. The last point is the adversarial image, as published. Returns whether to go on.
pub(super) fn attack(
    run: &mut Run<'_>,
    indices: &[usize],
    steps: usize,
    random_start: bool,
    goes_on: Progress<'_>,
) -> Result<bool> {
    let (threat, seed, set) = (run.threat, run.seed, run.images);
    let start = |&index: &usize| {
        let clean = set.image(index);
        match random_start {
            true => inside(threat, clean, &mut random(seed, Stream::Pgd, 0, index)),
            false => clean.to_vec(),
        }
    };
    let mut points: Vec<Vec<f32>> = indices.par_iter().map(start).collect();
    for step in 0..=steps {
        let queries: Vec<Query<'_>> =
            indices.iter().zip(&points).map(|(&index, image)| Query { index, image, target: 0 }).collect();
        let mut part = |part: f64| goes_on((step as f64 + part) / (steps + 1) as f64);
        if step == steps {
            let Some(logits) = run.logits(&queries, &mut part)? else { return Ok(false) };
            let rows = logits.chunks(run.victim.classes());
            let Some(broken) = run.broken(&queries, rows, &mut part)? else { return Ok(false) };
            for (query, _) in queries.iter().zip(broken).filter(|(_, broken)| *broken) {
                run.record(query.index, query.image);
            }
            break;
        }
        let Some(answers) = run.gradients(Loss::CrossEntropy, &queries, &mut part)? else { return Ok(false) };
        let length = (REACH * threat.radius() / steps as f64) as f32;
        points.par_iter_mut().zip(answers).zip(indices).for_each(|((x, Answer { gradient, .. }), &index)| {
            step_within(threat, set.image(index), x, &gradient, length);
        });
    }
    Ok(true)
}

/// Moves `x` by `length` in the direction in which the loss grows most: that of the gradient's sign, or of the gradient.
pub(super) fn ascend(norm: Norm, x: &mut [f32], gradient: &[f32], length: f32) {
    match norm {
        // A product with a comparison, which vectorises; the sign of 0 is 0.
        Norm::LInf => x.iter_mut().zip(gradient).for_each(|(x, &g)| {
            *x += length * (f32::from(u8::from(g > 0.0)) - f32::from(u8::from(g < 0.0)));
        }),
        Norm::L2 => {
            let factor = (f64::from(length) / (Norm::L2.of(gradient) + 1e-12)) as f32;
            x.iter_mut().zip(gradient).for_each(|(x, g)| *x += factor * g);
        }
    }
}

/// One gradient step of `length` within the threat.
pub(super) fn step_within(threat: Threat, clean: &[f32], x: &mut [f32], gradient: &[f32], length: f32) {
    ascend(threat.norm(), x, gradient, length);
    threat.project(clean, x);
}
