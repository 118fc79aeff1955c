//! Finds the fastest kernels for a convolution on a device: checks candidates, then times them in turns.
//!
//! This runs only when a user asks for it (`jem tune`); [`mod@file`] keeps the results. A candidate is
//! measured as the program that lowering makes of it, so that what is measured is what runs: all of Winograd's kernels
//! except the transform of the weights, which `prepare` makes once for many steps, and for a weight gradient its sum of
//! parts too. Lowering uses f16 only for tensors inside a network; there a candidate is the same kernels between f16
//! buffers.

mod bound;
pub mod file;
mod rank;
mod runner;

pub use file::open;
pub use rank::{Ranked, rank};

use crate::compute::conv_geometry::ConvProblem;
use crate::device::{Device, Executable, Program};
use crate::error::{Error, Result};
use crate::policy::convolution::{ConvolutionPolicy, Tuned};
use crate::policy::implementation::ConvImplementation;
use runner::{TrialRunner, programs};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// The part of the rule's time that a winner must save: less is noise.
pub const MARGIN: f64 = 0.03;

/// The least rounds of timings, and the most.
const ROUNDS: std::ops::Range<usize> = 3..100;

/// A candidate that takes more than this many times the best of the first round is given up.
const HOPELESS: f64 = 2.0;

/// The result for a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The candidate.
    pub candidate: ConvImplementation,
    /// Why it may not be used: the device refused it, or its numbers are wrong.
    pub refused: Option<String>,
    /// The median time of one run; `None` if it was refused.
    pub time: Option<Duration>,
    /// Its time divided by the rule's: the ratio of the medians or the median of the rounds' ratios, whichever is
    /// larger, so that no passing load decides; `None` if either was refused.
    pub ratio: Option<f64>,
}

/// The result for a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// The shape.
    pub shape: ConvProblem,
    /// One trial for each candidate, the rule's choice first.
    pub trials: Vec<Trial>,
    /// The candidates for which the deadline left no time.
    pub untried: Vec<ConvImplementation>,
    winner: Option<usize>,
}

impl Tuning {
    /// The rule's choice.
    pub fn rule(&self) -> &Trial {
        &self.trials[0]
    }

    /// The fastest candidate whose results are correct, or the rule's choice if none saves more than [`MARGIN`];
    /// `None` if all were refused, or if only the rule's choice was tried of several.
    pub fn winner(&self) -> Option<&Trial> {
        self.winner.map(|winner| &self.trials[winner])
    }

    /// The candidates that may not be used.
    pub fn refused(&self) -> impl Iterator<Item = (&ConvImplementation, &str)> {
        self.trials.iter().filter_map(|trial| Some((&trial.candidate, trial.refused.as_deref()?)))
    }
}

/// The distinct convolutions of `programs`, which come with their numbers of runs, each with its number of runs.
/// Programs built with [`ConvolutionPolicy::default`], in f16 or not, show all of their convolutions; those by
/// Winograd's kernels are not seen.
pub fn shapes<'a>(programs: impl IntoIterator<Item = (&'a Program, usize)>) -> Vec<(ConvProblem, usize)> {
    let mut shapes: BTreeMap<ConvProblem, usize> = BTreeMap::new();
    for (program, runs) in programs {
        for shape in program.dispatches.iter().filter_map(|dispatch| dispatch.kernel.convolution()) {
            *shapes.entry(shape).or_default() += runs;
        }
    }
    shapes.into_iter().collect()
}

/// The time that a shape may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The time for measuring, without the checks; at least three rounds are measured.
    pub budget: Duration,
    /// After this no further candidate is checked, and no round after the third is measured.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// Whether the deadline has come.
    pub fn is_over(&self) -> bool {
        is_past(self.deadline)
    }
}

/// Whether there is a deadline and it has come.
fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// The stage of a [`tune`] in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The host computes the expected result.
    Reference,
    /// The kernels of all candidates are compiled.
    Compile {
        /// The number of candidates.
        candidates: usize,
    },
    /// A candidate is checked.
    Check {
        /// The number of the candidate, from 1 on.
        candidate: usize,
        /// The number of candidates.
        candidates: usize,
    },
    /// The correct candidates are timed.
    Time {
        /// The number of the round, from 1 on.
        round: usize,
    },
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => f.write_str("computing on the host"),
            Self::Compile { candidates } => write!(f, "compiling {candidates} candidates"),
            Self::Check { candidate, candidates } => write!(f, "checking candidate {candidate}/{candidates}"),
            Self::Time { round } => write!(f, "timing, round {round}"),
        }
    }
}

/// Checks the candidates for `shape` against the host, then times those that are correct in turns, within `limits`.
/// `policy` is the device's for the precision of `shape`; earlier measurements in it are ignored.
///
/// # Errors
/// If the device refuses something other than a candidate, such as memory for the tensors; [`Error::DeviceLost`].
pub fn tune(
    device: &Device,
    policy: &ConvolutionPolicy,
    shape: &ConvProblem,
    limits: Limits,
) -> Result<Tuning> {
    tune_with(device, policy, shape, limits, |_| ())
}

/// Tunes as [`tune`] does; `observe` is called at the beginning of each stage.
///
/// # Errors
/// The errors of [`tune`].
pub fn tune_with(
    device: &Device,
    policy: &ConvolutionPolicy,
    shape: &ConvProblem,
    limits: Limits,
    mut observe: impl FnMut(Stage),
) -> Result<Tuning> {
    observe(Stage::Reference);
    let rule = policy.by_rule();
    // Computed on the host, in f32 and once for each shape: 30 GFLOP, an inner layer of WRN-28-10 at batch 64, take
    // 0.4 s of one AVX-512 core. The device would be faster, but a faulty driver cannot vouch for itself.
    let mut host = TrialRunner::new(&Device::cpu(), shape);
    let expected = host.load(ConvolutionPolicy::default()).and_then(|program| host.result(&program))?;
    let with_candidate = |candidate| rule.clone().with_tuned(Tuned::from([(*shape, candidate)]));
    // Compile on all cores at once. Errors are ignored here: they recur below, where the candidate is known.
    let count = rule.candidates(shape).len();
    observe(Stage::Compile { candidates: count });
    let all = rule.candidates(shape).into_iter().map(|candidate| programs(shape, &with_candidate(candidate)));
    let all: Vec<Program> = all.filter_map(Result::ok).flatten().collect();
    drop(device.compile(&all));
    let mut runner = TrialRunner::new(device, shape);
    let mut runs: Vec<Run> = Vec::new();
    let mut candidates = rule.candidates(shape).into_iter();
    while runs.is_empty() || !limits.is_over() {
        let Some(candidate) = candidates.next() else { break };
        observe(Stage::Check { candidate: runs.len() + 1, candidates: count });
        let program = match runner.right(with_candidate(candidate), &candidate, &expected) {
            Err(error @ Error::DeviceLost { .. }) => return Err(error),
            Err(error) => Err(error.to_string()),
            Ok(right) => right,
        };
        runs.push(Run { candidate, program, times: Vec::new() });
    }
    let untried: Vec<ConvImplementation> = candidates.collect();
    // The rule's choice alone has nothing to be compared with, and is not measured.
    if runs.len() > 1 || untried.is_empty() {
        measure(&runner, &mut runs, limits, observe)?;
    }
    Ok(judge(*shape, runs, untried))
}

/// A candidate under measurement.
struct Run {
    candidate: ConvImplementation,
    /// Its program, or why it was refused.
    program: Result<Executable, String>,
    /// Seconds of each round.
    times: Vec<f64>,
}

/// Times one run of every candidate in each round, so that all meet the same clocks and the same other load.
fn measure(
    runner: &TrialRunner,
    runs: &mut [Run],
    limits: Limits,
    mut observe: impl FnMut(Stage),
) -> Result<()> {
    let started = Instant::now();
    for round in 0..ROUNDS.end {
        observe(Stage::Time { round: round + 1 });
        let best = runs.iter().filter_map(|run| run.times.first().copied()).fold(f64::INFINITY, f64::min);
        for (i, run) in runs.iter_mut().enumerate() {
            let Ok(program) = &run.program else { continue };
            // All others are compared with the rule's choice.
            if i == 0 || round == 0 || run.times[0] <= HOPELESS * best {
                run.times.push(runner.time(program)?);
            }
        }
        if round + 1 >= ROUNDS.start && (started.elapsed() >= limits.budget || limits.is_over()) {
            break;
        }
    }
    Ok(())
}

fn judge(shape: ConvProblem, runs: Vec<Run>, untried: Vec<ConvImplementation>) -> Tuning {
    let rule = runs[0].times.clone();
    let trial = |run: Run| {
        let time = median(&run.times);
        let by_round = median(&run.times.iter().zip(&rule).map(|(a, b)| a / b).collect::<Vec<_>>());
        let by_medians = time.zip(median(&rule)).map(|(time, rule)| time / rule);
        Trial {
            candidate: run.candidate,
            refused: run.program.err(),
            time: time.map(Duration::from_secs_f64),
            ratio: by_round.zip(by_medians).map(|(a, b)| a.max(b)),
        }
    };
    let trials: Vec<Trial> = runs.into_iter().map(trial).collect();
    // Where the rule's choice is refused, the fastest of the rest.
    let score = |trial: &Trial| trial.ratio.or(trial.time.map(|time| time.as_secs_f64()));
    let best = (0..trials.len())
        .filter_map(|i| Some((i, score(&trials[i])?)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b));
    let winner = match best {
        Some((_, ratio)) if trials[0].refused.is_none() && ratio > 1.0 - MARGIN => Some(0),
        best => best.map(|(winner, _)| winner),
    };
    Tuning { shape, trials, untried, winner }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::runner::programs;
    use super::*;
    use crate::compute::conv_geometry::{ConvGeometry, Direction};
    use crate::compute::cooperative::{Cooperative, Method};
    use crate::compute::storage::Storage;
    use crate::compute::storage::Storages;

    const ONCE: Limits = Limits { budget: Duration::ZERO, deadline: None };

    fn shape(direction: Direction) -> ConvProblem {
        let geometry =
            ConvGeometry { n: 2, h: 8, w: 8, c_in: 16, c_out: 20, kh: 3, kw: 3, stride: 1, padding: 1 };
        ConvProblem::new(direction, geometry)
    }

    const DIRECTIONS: [Direction; 3] =
        [Direction::Forward, Direction::InputGradient, Direction::WeightGradient];

    /// The host's twins run all candidates too, though they differ in Winograd, parts and what matrices round only.
    #[test]
    fn every_candidate_is_its_own_program_and_right() {
        let matrices = Cooperative::new(16, 32);
        let sums = Storages { c: Storage::F32, ..Storages::F16 };
        let image = Storages { a: Storage::F32, b: Storage::F32, ..Storages::F16 };
        let f32 = ConvolutionPolicy::default();
        let by_threads = ConvolutionPolicy::default().in_f16(Method::Scalar);
        let by_matrices = ConvolutionPolicy::default().in_f16(Method::Cooperative(matrices));
        let half = |direction, storage| ConvProblem { storage, ..shape(direction) };
        let mut cases = vec![
            (&by_threads, half(Direction::Forward, image)),
            (&by_threads, half(Direction::Forward, Storages::F16)),
            (&by_threads, half(Direction::WeightGradient, sums)),
            (&by_matrices, half(Direction::Forward, Storages::F16)),
            (&by_matrices, half(Direction::InputGradient, Storages::F16)),
            (&by_matrices, half(Direction::InputGradient, sums)),
            (&by_matrices, half(Direction::WeightGradient, sums)),
        ];
        cases.extend(DIRECTIONS.map(|direction| (&f32, shape(direction))));
        for (policy, shape) in cases {
            let tuning = tune(&Device::cpu(), policy, &shape, ONCE).unwrap();
            let candidates: Vec<_> = tuning.trials.iter().map(|trial| trial.candidate).collect();
            assert_eq!(candidates[0], policy.candidate(&shape), "the rule's choice is first");
            assert_eq!(candidates, policy.candidates(&shape));
            assert_eq!(tuning.refused().count(), 0, "{:?}", tuning.trials);
            assert!(tuning.trials.iter().all(|trial| trial.time.is_some() && trial.ratio.is_some()));
            assert!(tuning.winner().is_some());
            let texts: std::collections::BTreeSet<String> = candidates
                .iter()
                .map(|&candidate| {
                    let policy = policy.clone().with_tuned(Tuned::from([(shape, candidate)]));
                    let [_, program] = programs(&shape, &policy).unwrap();
                    format!("{:?}", program.dispatches)
                })
                .collect();
            assert_eq!(texts.len(), candidates.len(), "{shape}: a candidate that changes nothing");
        }
    }

    #[test]
    fn a_deadline_leaves_candidates_untried_and_nothing_is_won_against_nothing() {
        let shape = shape(Direction::WeightGradient);
        let all = ConvolutionPolicy::default().candidates(&shape);
        let past = Limits { deadline: Some(Instant::now()), ..ONCE };
        let tuning = tune(&Device::cpu(), &ConvolutionPolicy::default(), &shape, past).unwrap();
        assert_eq!((tuning.rule().candidate, tuning.rule().time), (all[0], None));
        assert_eq!((&tuning.untried[..], tuning.winner()), (&all[1..], None));
        let far = Limits { deadline: Some(Instant::now() + Duration::from_secs(600)), ..ONCE };
        let tuning = tune(&Device::cpu(), &ConvolutionPolicy::default(), &shape, far).unwrap();
        assert_eq!((tuning.trials.len(), tuning.untried.len()), (all.len(), 0));
        assert!(tuning.winner().is_some());
    }

    #[test]
    fn a_wrong_result_is_refused_and_cannot_win() {
        let shape = shape(Direction::Forward);
        let mut runner = TrialRunner::new(&Device::cpu(), &shape);
        let program = runner.load(ConvolutionPolicy::default()).unwrap();
        let expected = runner.result(&program).unwrap();
        let rule = ConvolutionPolicy::default().candidate(&shape);
        assert!(runner.right(ConvolutionPolicy::default(), &rule, &expected).unwrap().is_ok());
        let mut other = expected.clone();
        other[7] = (f32::from_bits(other[7]) + 0.01).to_bits();
        let refused = runner.right(ConvolutionPolicy::default(), &rule, &other).unwrap().unwrap_err();
        assert!(refused.contains("error"), "{refused}");
    }

    fn run(candidate: ConvImplementation, times: &[f64], refused: bool) -> Run {
        let mut runner = TrialRunner::new(&Device::cpu(), &shape(Direction::Forward));
        let program = runner.load(ConvolutionPolicy::default()).unwrap();
        let program = if refused { Err("wrong".to_owned()) } else { Ok(program) };
        Run { candidate, program, times: times.into() }
    }

    #[test]
    fn the_fastest_wins_by_more_than_noise_or_not_at_all() {
        let shape = shape(Direction::Forward);
        let [rule, a, b] = ConvolutionPolicy::default().candidates(&shape)[..3] else { panic!("candidates") };
        let winner = |runs: Vec<Run>| judge(shape, runs, Vec::new()).winner().map(|trial| trial.candidate);
        let of = |times: [&[f64]; 3]| {
            vec![run(rule, times[0], false), run(a, times[1], false), run(b, times[2], false)]
        };
        assert_eq!(winner(of([&[1.0; 3], &[0.8; 3], &[0.5; 3]])), Some(b));
        assert_eq!(winner(of([&[1.0; 3], &[0.98; 3], &[2.0]])), Some(rule));
        // All slowed down in the second round: compared round by round, nothing is gained.
        assert_eq!(winner(of([&[1.0, 3.0, 3.0], &[0.99, 2.95, 2.96], &[2.0]])), Some(rule));
        // Faster in most rounds, but not by its own median.
        assert_eq!(winner(of([&[1.0, 3.0, 3.0], &[0.5, 0.5, 3.0], &[2.0]])), Some(a));
        assert_eq!(winner(of([&[1.0, 1.0, 3.0], &[0.5, 1.0, 1.0], &[2.0]])), Some(rule));
        assert_eq!(winner(vec![run(rule, &[1.0; 3], false), run(a, &[], true)]), Some(rule));
        assert_eq!(winner(vec![run(rule, &[], true), run(a, &[2.0], false), run(b, &[1.0], false)]), Some(b));
        assert_eq!(winner(vec![run(rule, &[], true), run(a, &[], true)]), None);
    }

    #[test]
    fn shapes_are_those_of_the_programs_and_counted() {
        let [_, forward] = programs(&shape(Direction::Forward), &ConvolutionPolicy::default()).unwrap();
        let [_, weights] =
            programs(&shape(Direction::WeightGradient), &ConvolutionPolicy::default()).unwrap();
        let found = shapes([(&forward, 20), (&weights, 1), (&forward, 2)]);
        assert_eq!(found, [(shape(Direction::Forward), 22), (shape(Direction::WeightGradient), 1)]);
    }
}
