//! The Square attack (Andriushchenko et al. 2020): random search by square changes, which asks for logits alone.

use super::Progress;
use super::losses::margin;
use super::run::{Query, Run};
use super::start::{Stream, random};
use super::threat::{Norm, Threat};
use crate::compute::splitmix::SplitMix;
use crate::error::Result;
use rayon::prelude::*;

/// The share of an image's pixels that the first squares change (p).
const SHARE: f64 = 0.8;
/// The queries of the published schedule, and those after which the share halves.
const QUERIES: usize = 10_000;
const HALVINGS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// How the squares shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// As published for 10,000 queries, stretched to the number of queries.
    Stretched,
    /// As published for 10,000 queries, whatever their number, as in AutoAttack.
    AsPublished,
}

impl Schedule {
    /// The share of pixels that query `query` of `queries` changes.
    fn share(self, query: usize, queries: usize) -> f64 {
        let query = match self {
            Self::Stretched => query * QUERIES / queries,
            Self::AsPublished => query,
        };
        let halvings = HALVINGS.iter().filter(|&&end| query > end).count();
        SHARE / (1u32 << halvings) as f64
    }
}

/// An image under attack.
struct State<'a> {
    index: usize,
    clean: &'a [f32],
    best: Vec<f32>,
    /// The margin of the label's logit at `best`.
    margin: f64,
    candidate: Vec<f32>,
    random: SplitMix,
}

/// Attacks the images `indices` with `queries` queries each. An image is left when it is broken. Returns whether to go on.
pub(super) fn attack(
    run: &mut Run<'_>,
    indices: &[usize],
    queries: usize,
    schedule: Schedule,
    goes_on: Progress<'_>,
) -> Result<bool> {
    let (threat, seed, set, shape) = (run.threat, run.seed, run.images, run.victim.image());
    let start = |&index: &usize| {
        let clean = set.image(index);
        let mut random = random(seed, Stream::Square, 0, index);
        let delta = match threat.norm() {
            Norm::LInf => stripes(shape, &mut random),
            Norm::L2 => tiles(shape, &mut random),
        };
        let candidate = perturbed(threat, clean, &delta);
        State { index, clean, best: clean.to_vec(), margin: f64::INFINITY, candidate, random }
    };
    let mut states: Vec<State<'_>> = indices.par_iter().map(start).collect();
    // The first query is that of the start.
    for query in 0..queries {
        if states.is_empty() {
            break;
        }
        if query > 0 {
            let share = schedule.share(query - 1, queries);
            states.par_iter_mut().for_each(|state| state.propose(threat, shape, share));
        }
        let asked: Vec<Query<'_>> = states
            .iter()
            .map(|state| Query { index: state.index, image: &state.candidate, target: 0 })
            .collect();
        let mut part = |part: f64| goes_on((query as f64 + part) / queries as f64);
        let Some(logits) = run.logits(&asked, &mut part)? else { return Ok(false) };
        let classes = run.victim.classes();
        let Some(broken) = run.broken(&asked, logits.chunks(classes), &mut part)? else { return Ok(false) };
        for (query, _) in asked.iter().zip(&broken).filter(|(_, broken)| **broken) {
            run.record(query.index, query.image);
        }
        for (state, row) in states.iter_mut().zip(logits.chunks(classes)) {
            let margin = margin(row, set.labels[state.index] as usize);
            if margin < state.margin {
                state.margin = margin;
                std::mem::swap(&mut state.best, &mut state.candidate);
            }
        }
        let mut broken = broken.into_iter();
        states.retain(|_| broken.next() == Some(false));
    }
    Ok(true)
}

impl State<'_> {
    /// Makes the next candidate: `best` with another square.
    fn propose(&mut self, threat: Threat, shape: [usize; 3], share: f64) {
        let [height, width, channels] = shape;
        let side = (share * (height * width) as f64).sqrt().round_ties_even() as usize;
        match threat.norm() {
            Norm::LInf => {
                let window = Window::random(side.max(1), shape, &mut self.random);
                let signs: Vec<f32> = (0..channels).map(|_| sign(&mut self.random)).collect();
                let change = (2.0 * threat.radius()) as f32;
                self.candidate.clone_from(&self.best);
                window.for_each(width, channels, |at, _, channel| {
                    self.candidate[at] += change * signs[channel]
                });
                threat.project(self.clean, &mut self.candidate);
            }
            Norm::L2 => {
                let side = (side.max(3) | 1).min(odd(height.min(width)));
                let delta = self.moved_mass(threat, shape, side);
                self.candidate = perturbed(threat, self.clean, &delta);
            }
        }
    }

    /// The perturbation of `best` after the mass of one window, and what is unused of the radius, moved to another
    /// (algorithm 3).
    fn moved_mass(&mut self, threat: Threat, shape: [usize; 3], side: usize) -> Vec<f32> {
        let [_, width, channels] = shape;
        let mut delta: Vec<f32> = self.best.iter().zip(self.clean).map(|(x, clean)| x - clean).collect();
        let to = Window::random(side, shape, &mut self.random);
        let from = Window::random(side, shape, &mut self.random);
        let unused = (threat.radius().powi(2) - Norm::L2.of(&delta).powi(2)).max(0.0) / channels as f64;
        // Squared norms of each channel: of the window that receives, and of both together.
        let [mut received, mut both] = [vec![0.0f64; channels], vec![0.0f64; channels]];
        to.for_each(width, channels, |at, _, channel| received[channel] += f64::from(delta[at]).powi(2));
        both.copy_from_slice(&received);
        from.for_each(width, channels, |at, [row, column], channel| {
            let pixel = [from.row + row, from.column + column];
            if !to.contains(pixel) {
                both[channel] += f64::from(delta[at]).powi(2);
            }
        });
        let pattern = pattern(side, &mut self.random);
        let signs: Vec<f32> = (0..channels).map(|_| sign(&mut self.random)).collect();
        let mut new = vec![0.0f64; side * side * channels];
        let mut squares = vec![0.0f64; channels];
        to.for_each(width, channels, |at, [row, column], channel| {
            let old = f64::from(delta[at]) / (1e-12 + received[channel].sqrt());
            let value = f64::from(signs[channel] * pattern[row * side + column]) + old;
            squares[channel] += value * value;
            new[(row * side + column) * channels + channel] = value;
        });
        from.for_each(width, channels, |at, _, _| delta[at] = 0.0);
        to.for_each(width, channels, |at, [row, column], channel| {
            let value = new[(row * side + column) * channels + channel] / (1e-12 + squares[channel].sqrt());
            delta[at] = (value * (unused + both[channel]).sqrt()) as f32;
        });
        delta
    }
}

/// A square of pixels.
#[derive(Debug, Clone, Copy)]
struct Window {
    row: usize,
    column: usize,
    side: usize,
}

impl Window {
    /// A random window of an image, at most as large as it.
    fn random(side: usize, [height, width, _]: [usize; 3], random: &mut SplitMix) -> Self {
        let side = side.min(height).min(width);
        let mut place = |length: usize| random.below((length - side + 1) as u64) as usize;
        Self { row: place(height), column: place(width), side }
    }

    fn contains(self, [row, column]: [usize; 2]) -> bool {
        (self.row..self.row + self.side).contains(&row)
            && (self.column..self.column + self.side).contains(&column)
    }

    /// Calls `each` with the position of each element in an image, its row and column in the window, and its channel.
    fn for_each(self, width: usize, channels: usize, mut each: impl FnMut(usize, [usize; 2], usize)) {
        for row in 0..self.side {
            for column in 0..self.side {
                let pixel = (self.row + row) * width + self.column + column;
                (0..channels).for_each(|channel| each(pixel * channels + channel, [row, column], channel));
            }
        }
    }
}

fn sign(random: &mut SplitMix) -> f32 {
    if random.next() & 1 == 0 { 1.0 } else { -1.0 }
}

/// The largest odd number up to `length`.
fn odd(length: usize) -> usize {
    if length.is_multiple_of(2) { length.saturating_sub(1).max(1) } else { length }
}

/// Vertical stripes one pixel wide, of a random sign in each channel: the start for L-infinity.
fn stripes([height, width, channels]: [usize; 3], random: &mut SplitMix) -> Vec<f32> {
    let row: Vec<f32> = (0..width * channels).map(|_| sign(random)).collect();
    row.repeat(height)
}

/// A grid of five by five patterns of random signs, for square images: the start for L2.
fn tiles([height, width, channels]: [usize; 3], random: &mut SplitMix) -> Vec<f32> {
    let side = (height.min(width) / 5).max(1);
    let [first_row, first_column] = [height, width].map(|length| length % side / 2);
    let mut delta = vec![0.0f32; height * width * channels];
    for row in (first_row..=height - side).step_by(side) {
        for column in (first_column..=width - side).step_by(side) {
            let pattern = pattern(side, random);
            let signs: Vec<f32> = (0..channels).map(|_| sign(random)).collect();
            Window { row, column, side }.for_each(width, channels, |at, [row, column], channel| {
                delta[at] = signs[channel] * pattern[row * side + column];
            });
        }
    }
    delta
}

/// Two halves of opposite sign that fall off from their centres, upright or lying, of norm 1: `[side, side]` (η).
fn pattern(side: usize, random: &mut SplitMix) -> Vec<f32> {
    let upper = side / 2;
    let mut pattern = half(upper, side);
    pattern.extend(half(side - upper, side).iter().map(|v| -v));
    let norm = Norm::L2.of(&pattern) as f32;
    pattern.iter_mut().for_each(|v| *v /= norm);
    if random.next() & 1 == 1 {
        return (0..side * side).map(|at| pattern[at % side * side + at / side]).collect();
    }
    pattern
}

/// Concentric rectangles of `rows` by `columns` pixels with weights 1, 1/4, 1/9, … that add up, of norm 1.
fn half(rows: usize, columns: usize) -> Vec<f32> {
    let mut values = vec![0.0f32; rows * columns];
    let [row_centre, column_centre] = [rows / 2, columns / 2];
    for ring in 0..=row_centre.max(column_centre) {
        let span =
            |centre: usize, length: usize| centre.saturating_sub(ring)..(centre + ring + 1).min(length);
        for row in span(row_centre, rows) {
            for column in span(column_centre, columns) {
                values[row * columns + column] += 1.0 / ((ring + 1) * (ring + 1)) as f32;
            }
        }
    }
    let norm = (Norm::L2.of(&values) as f32).max(f32::MIN_POSITIVE);
    values.iter_mut().for_each(|v| *v /= norm);
    values
}

/// `clean` plus `delta` scaled to the radius, within the threat.
fn perturbed(threat: Threat, clean: &[f32], delta: &[f32]) -> Vec<f32> {
    let factor = (threat.radius() / (threat.norm().of(delta) + 1e-12)) as f32;
    let mut x: Vec<f32> = clean.iter().zip(delta).map(|(x, d)| x + factor * d).collect();
    threat.project(clean, &mut x);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_shrink_as_published() {
        let at = |query| Schedule::AsPublished.share(query, 5000);
        assert_eq!([at(0), at(10), at(11), at(4001), at(4999)], [0.8, 0.8, 0.4, 0.8 / 128.0, 0.8 / 128.0]);
        let at = |query| Schedule::Stretched.share(query, 5000);
        assert_eq!([at(5), at(6), at(4001)], [0.8, 0.4, 0.8 / 512.0]);
    }

    #[test]
    fn patterns_have_norm_1_and_halves_of_opposite_sign() {
        for side in 2..9 {
            let mut random = SplitMix::new(side as u64, 0);
            let pattern = pattern(side, &mut random);
            assert!((Norm::L2.of(&pattern) - 1.0).abs() < 1e-6);
            assert!(pattern.iter().any(|v| *v > 0.0) && pattern.iter().any(|v| *v < 0.0), "{pattern:?}");
        }
        // By hand: rings of a 3x3 square about its centre.
        let corner = 0.25f32;
        let centre = 1.25f32;
        let norm = (8.0 * corner * corner + centre * centre).sqrt();
        let values = half(3, 3);
        assert!((values[0] - corner / norm).abs() < 1e-6 && (values[4] - centre / norm).abs() < 1e-6);
    }

    #[test]
    fn starts_and_candidates_of_any_image_size_are_within_the_threat() {
        for shape in [[1, 1, 1], [2, 7, 3], [8, 8, 1], [9, 5, 2], [32, 32, 3]] {
            let clean: Vec<f32> =
                (0..shape.iter().product()).map(|i: usize| (i % 7) as f32 / 3.5 - 0.9).collect();
            for norm in Norm::ALL {
                let threat = Threat::new(norm, 0.1).unwrap();
                let mut random = SplitMix::new(1, 2);
                let delta =
                    if norm == Norm::LInf { stripes(shape, &mut random) } else { tiles(shape, &mut random) };
                let best = perturbed(threat, &clean, &delta);
                assert!(norm.distance(&clean, &best) > 0.05, "{shape:?} {norm}");
                let mut state =
                    State { index: 0, clean: &clean, candidate: best.clone(), best, margin: 1.0, random };
                for share in [0.8, 0.4, 0.001] {
                    state.propose(threat, shape, share);
                    assert!(threat.allows(&clean, &state.candidate), "{shape:?} {norm}");
                }
            }
        }
    }
}
