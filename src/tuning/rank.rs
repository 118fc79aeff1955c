//! The order in which to tune shapes: by their share of a program's time.

use super::is_past;
use super::runner::TrialRunner;
use crate::compute::conv_geometry::ConvProblem;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::policy::convolution::ConvolutionPolicy;
use std::time::{Duration, Instant};

/// A shape with its share of a program's time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The shape.
    pub shape: ConvProblem,
    /// The number of runs in the program.
    pub runs: usize,
    /// The time of one run of the rule's choice; `None` if there was no time to measure it or the device refused it.
    pub time: Option<Duration>,
}

impl Ranked {
    /// Operations of all runs.
    fn flops(&self) -> u64 {
        (self.runs as u64).saturating_mul(self.shape.geometry.flops())
    }

    /// Time of all runs.
    fn all_runs(&self) -> Option<Duration> {
        let seconds = self.time?.as_secs_f64() * self.runs as f64;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

/// Sorts `shapes`, each with its number of runs, by the time of all their runs, the largest first. The rule's choice
/// is timed for one shape after the other, from the one with the most operations on, until `deadline`. Shapes that
/// were not timed come last, in the order of their operations.
///
/// # Errors
/// [`Error::DeviceLost`].
pub fn rank(
    device: &Device,
    policy: &ConvolutionPolicy,
    shapes: &[(ConvProblem, usize)],
    deadline: Option<Instant>,
) -> Result<Vec<Ranked>> {
    let ranked = |&(shape, runs): &(ConvProblem, usize)| Ranked { shape, runs, time: None };
    let mut all: Vec<Ranked> = shapes.iter().map(ranked).collect();
    all.sort_by_key(|ranked| std::cmp::Reverse(ranked.flops()));
    for ranked in &mut all {
        if is_past(deadline) {
            break;
        }
        ranked.time = match time(device, policy, &ranked.shape) {
            Err(error @ Error::DeviceLost { .. }) => return Err(error),
            time => time.ok(),
        };
    }
    all.sort_by_key(|ranked| std::cmp::Reverse(ranked.all_runs()));
    Ok(all)
}

/// The time of one run of the rule's choice, without a check: the lesser of two, after one in which drivers compile.
fn time(device: &Device, policy: &ConvolutionPolicy, shape: &ConvProblem) -> Result<Duration> {
    let mut runner = TrialRunner::new(device, shape);
    let program = runner.load(policy.by_rule())?;
    runner.time(&program)?;
    let seconds = runner.time(&program)?.min(runner.time(&program)?);
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::conv_geometry::{ConvGeometry, Direction};

    fn shape(size: usize) -> ConvProblem {
        let geometry =
            ConvGeometry { n: 1, h: size, w: size, c_in: 16, c_out: 16, kh: 3, kw: 3, stride: 1, padding: 1 };
        ConvProblem::new(Direction::Forward, geometry)
    }

    #[test]
    fn billions_of_steps_are_many_runs() {
        let ranked = Ranked { shape: shape(64), runs: 5_000_000_000, time: Some(Duration::from_secs(8)) };
        assert_eq!(ranked.all_runs(), Some(Duration::from_secs(40_000_000_000)));
        assert_eq!(Ranked { runs: usize::MAX, ..ranked }.all_runs(), Some(Duration::MAX));
        assert_eq!(Ranked { runs: usize::MAX, ..ranked }.flops(), u64::MAX);
    }

    #[test]
    fn the_largest_part_of_the_time_comes_first() {
        let shapes = [(shape(4), 1), (shape(64), 2), (shape(16), 1)];
        let order = |deadline| -> Vec<Ranked> {
            rank(&Device::cpu(), &ConvolutionPolicy::default(), &shapes, deadline).unwrap()
        };
        let untimed = order(Some(Instant::now()));
        let sizes = |all: &[Ranked]| all.iter().map(|ranked| ranked.shape.geometry.h).collect::<Vec<_>>();
        assert_eq!(sizes(&untimed), [64, 16, 4], "by operations");
        assert!(untimed.iter().all(|ranked| ranked.time.is_none()));
        let timed = order(None);
        assert_eq!((timed[0].shape, timed[0].runs), (shape(64), 2));
        assert!(timed.windows(2).all(|pair| pair[0].all_runs() >= pair[1].all_runs()), "{timed:?}");
        assert!(timed.iter().all(|ranked| ranked.time.is_some()));
    }
}
