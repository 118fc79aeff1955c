//! Random noise of the largest allowed size: the weakest attack, which every other must beat.

use super::Progress;
use super::run::{Query, Run};
use super::start::{Stream, on_surface, random};
use crate::error::Result;
use rayon::prelude::*;

/// Adds one random perturbation to each of the images `indices`. Returns whether to go on.
pub(super) fn attack(run: &mut Run<'_>, indices: &[usize], goes_on: Progress<'_>) -> Result<bool> {
    let (threat, seed, set) = (run.threat, run.seed, run.images);
    let noisy =
        |&index: &usize| on_surface(threat, set.image(index), &mut random(seed, Stream::Noise, 0, index));
    let noisy: Vec<Vec<f32>> = indices.par_iter().map(noisy).collect();
    let queries: Vec<Query<'_>> =
        indices.iter().zip(&noisy).map(|(&index, image)| Query { index, image, target: 0 }).collect();
    let Some(logits) = run.logits(&queries, goes_on)? else { return Ok(false) };
    let rows = logits.chunks(run.victim.classes());
    let Some(broken) = run.broken(&queries, rows, goes_on)? else { return Ok(false) };
    for (query, _) in queries.iter().zip(broken).filter(|(_, broken)| *broken) {
        run.record(query.index, query.image);
    }
    Ok(true)
}
