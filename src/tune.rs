//! Which kernels are the fastest for a convolution on a device: candidates are checked, then timed in turns.
//!
//! This runs only when a user asks for it (`jem tune`); [`crate::device::tuned`] keeps the results. A candidate is
//! the program that lowering makes of it, so that what is measured is what runs: of Winograd's kernels all but the
//! transform of the weights, which `prepare` makes once for many steps; of a weight gradient its sum of parts too.
//! In f16, which lowering gives to tensors inside of a network only, it is the same kernels between f16 buffers.

use crate::device::{Buffer, Device, Executable, Program, ProgramBuilder, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, Leaf, Output, Tensor, lower};
use crate::kernels::Kernel;
use crate::kernels::candidate::Candidate;
use crate::kernels::choice::{Choices, Tuned};
use crate::kernels::conv_geometry::{ConvGeometry, Direction, Shape};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::half::{Storage, Storages, narrow};
use crate::kernels::reduce::{Reduce, ReduceOp};
use crate::self_test::{BOUND, stored_difference};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The part of the rule's time that a winner must save: less is noise.
pub const MARGIN: f64 = 0.03;

/// The least rounds of timings, and the most.
const ROUNDS: std::ops::Range<usize> = 3..100;

/// Times the best of the first round, from which on a candidate is given up.
const HOPELESS: f64 = 2.0;

/// Runs between two looks at the host's clock, where the device has none.
const RUNS: u32 = 8;

/// The external slot of a candidate's result.
const RESULT: &str = "result";

/// What came of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The candidate.
    pub candidate: Candidate,
    /// Why it may not be used: the device refused it, or its numbers are wrong.
    pub refused: Option<String>,
    /// The median time of one run; `None` if it was refused.
    pub time: Option<Duration>,
    /// Its time as a part of the rule's: by the medians or the median of what each round says, whichever is the
    /// larger, so that no passing load decides; `None` if either was refused.
    pub ratio: Option<f64>,
}

/// What came of a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// The shape.
    pub shape: Shape,
    /// A trial a candidate, the rule's choice first.
    pub trials: Vec<Trial>,
    winner: Option<usize>,
}

impl Tuning {
    /// The rule's choice.
    pub fn rule(&self) -> &Trial {
        &self.trials[0]
    }

    /// The fastest candidate of those whose numbers are right, or the rule's choice if none saves more than
    /// [`MARGIN`]; `None` if all were refused.
    pub fn winner(&self) -> Option<&Trial> {
        self.winner.map(|winner| &self.trials[winner])
    }

    /// The candidates that may not be used.
    pub fn refused(&self) -> impl Iterator<Item = (&Candidate, &str)> {
        self.trials.iter().filter_map(|trial| Some((&trial.candidate, trial.refused.as_deref()?)))
    }
}

/// The distinct convolutions of `programs`, each of which runs so many times, with the runs of each convolution.
/// Those of programs built with [`Choices::default`], in f16 or not, are all seen; Winograd's kernels are not.
pub fn shapes<'a>(programs: impl IntoIterator<Item = (&'a Program, usize)>) -> Vec<(Shape, usize)> {
    let mut shapes: BTreeMap<Shape, usize> = BTreeMap::new();
    for (program, runs) in programs {
        for shape in program.dispatches.iter().filter_map(|dispatch| dispatch.kernel.convolution()) {
            *shapes.entry(shape).or_default() += runs;
        }
    }
    shapes.into_iter().collect()
}

/// Checks every candidate for `shape` against the host, then times those that are right in turns, for about
/// `budget` in all but at least three rounds. `choices` are those of the device, for the precision of `shape`: what
/// was measured before does not count.
///
/// # Errors
/// What the device refuses beside a candidate, such as memory for the tensors of `shape`; [`Error::DeviceLost`].
pub fn tune(device: &Device, choices: &Choices, shape: &Shape, budget: Duration) -> Result<Tuning> {
    let rule = choices.by_rule();
    let first = rule.candidate(shape);
    let others = shape.candidates().into_iter().filter(|other| *other != first && rule.takes(shape, other));
    let candidates: Vec<Candidate> = [first].into_iter().chain(others).collect();
    tune_candidates(
        device,
        shape,
        candidates,
        |candidate| rule.clone().with_tuned(Tuned::from([(*shape, candidate)])),
        budget,
    )
}

fn tune_candidates(
    device: &Device,
    shape: &Shape,
    candidates: Vec<Candidate>,
    choosing: impl Fn(Candidate) -> Choices,
    budget: Duration,
) -> Result<Tuning> {
    let mut host = Bed::new(&Device::cpu(), shape)?;
    let expected = host.load(Choices::default()).and_then(|program| host.result(&program))?;
    let mut bed = Bed::new(device, shape)?;
    let mut runs: Vec<Run> = Vec::new();
    for candidate in candidates {
        let program = match bed.right(choosing(candidate), &expected) {
            Err(error @ Error::DeviceLost { .. }) => return Err(error),
            Err(error) => Err(error.to_string()),
            Ok(right) => right,
        };
        runs.push(Run { candidate, program, times: Vec::new() });
    }
    measure(&bed, &mut runs, budget)?;
    Ok(judge(*shape, runs))
}

/// A candidate under measurement.
struct Run {
    candidate: Candidate,
    /// Its program, or why it is refused.
    program: Result<Executable, String>,
    /// Seconds, a round each.
    times: Vec<f64>,
}

/// Round after round times one run of every candidate, so that all meet the same clocks and neighbours.
fn measure(bed: &Bed, runs: &mut [Run], budget: Duration) -> Result<()> {
    let started = Instant::now();
    for round in 0..ROUNDS.end {
        let best = runs.iter().filter_map(|run| run.times.first().copied()).fold(f64::INFINITY, f64::min);
        for (i, run) in runs.iter_mut().enumerate() {
            let Ok(program) = &run.program else { continue };
            // The rule's choice is what all others are compared with.
            if i == 0 || round == 0 || run.times[0] <= HOPELESS * best {
                run.times.push(bed.time(program)?);
            }
        }
        if round + 1 >= ROUNDS.start && started.elapsed() >= budget {
            break;
        }
    }
    Ok(())
}

fn judge(shape: Shape, runs: Vec<Run>) -> Tuning {
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
    Tuning { shape, trials, winner }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// A device with the tensors of a shape.
struct Bed {
    device: Device,
    shape: Shape,
    buffers: BTreeMap<String, Buffer>,
}

impl Bed {
    fn new(device: &Device, shape: &Shape) -> Result<Self> {
        Ok(Self { device: device.clone(), shape: *shape, buffers: BTreeMap::new() })
    }

    /// The program that `choices` make of the shape, loaded, with what it reads of the weights prepared.
    fn load(&mut self, choices: Choices) -> Result<Executable> {
        let [prepare, program] = programs(&self.shape, choices)?;
        for slot in prepare.externals().chain(program.externals()) {
            if !self.buffers.contains_key(&slot.name) {
                // What nothing computes is read: random numbers, the same on every device.
                let seed = slot.name.bytes().fold(1, |hash, byte| splitmix(hash ^ u64::from(byte)));
                let random =
                    |words: u64| -> Vec<f32> { (0..words).map(|i| uniform(splitmix(seed ^ i))).collect() };
                let words = slot.bytes / 4;
                let buffer = match storage_of(&self.shape, &slot.name) {
                    Storage::F32 => self.device.buffer_from(&slot.name, &random(words)),
                    Storage::F16 => self.device.buffer_from(&slot.name, &narrow(&random(2 * words))),
                };
                self.buffers.insert(slot.name.clone(), buffer?);
            }
        }
        let externals: Vec<_> = self.buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect();
        if !prepare.dispatches.is_empty() {
            self.device.run(&self.device.load(prepare, &externals)?)?;
        }
        self.device.load(program, &externals)
    }

    /// The result of a run, in which what was not written is NaN.
    fn result(&self, program: &Executable) -> Result<Vec<u32>> {
        let result = &self.buffers[RESULT];
        // In f16 too.
        let unwritten = vec![u32::MAX; result.bytes() as usize / 4];
        self.device.write(result, 0, bytemuck::cast_slice(&unwritten))?;
        self.device.run(program)?;
        self.device.read_as(result)
    }

    /// The program of `choices` if its result is `expected`, else what is wrong.
    fn right(&mut self, choices: Choices, expected: &[u32]) -> Result<Result<Executable, String>> {
        let program = self.load(choices)?;
        let error = stored_difference(storage_of(&self.shape, RESULT), &self.result(&program)?, expected);
        Ok(match error <= BOUND {
            true => Ok(program),
            false => Err(format!("error {error:.1e} over {BOUND:.0e}")),
        })
    }

    /// Seconds of one run: by timestamps where the device has them, else by the host's clock.
    fn time(&self, program: &Executable) -> Result<f64> {
        // No run takes less than the clock's tick.
        let seconds = |time: Duration| time.max(Duration::from_nanos(1)).as_secs_f64();
        if self.device.adapter().is_none_or(|adapter| adapter.timestamps) {
            return Ok(seconds(self.device.profile(program)?.iter().map(|dispatch| dispatch.time).sum()));
        }
        self.device.wait()?;
        let started = Instant::now();
        for _ in 0..RUNS {
            self.device.run(program)?;
        }
        self.device.wait()?;
        Ok(seconds(started.elapsed() / RUNS))
    }
}

/// The convolution of `shape` as `choices` make it, behind the program that prepares its weights.
fn programs(shape: &Shape, choices: Choices) -> Result<[Program; 2]> {
    if shape.is_half() { Ok(half_programs(shape, &choices)) } else { lowered(shape, choices) }
}

/// In f32, by lowering.
fn lowered(shape: &Shape, choices: Choices) -> Result<[Program; 2]> {
    let g = shape.geometry;
    let ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, padding } = g;
    let graph = Graph::new();
    let leaf = |name: &str, shape: [usize; 4], parameter| -> Tensor {
        let words = shape.iter().product();
        graph.leaf(Leaf { slot: name.into(), words, offset: 0, parameter }, shape)
    };
    let input = || leaf("input", [n, h, w, c_in], false);
    let gradient = || leaf("gradient", [n, g.out_h(), g.out_w(), c_out], false);
    let weights = || leaf("weights", [kh, kw, c_in, c_out], true);
    let tensor = match shape.direction {
        Direction::Forward => input().conv2d(&weights(), None, stride, padding).leaky_relu(0.2),
        Direction::InputGradient => gradient().conv2d_input_gradient(&weights(), g),
        Direction::WeightGradient => input().conv2d_weight_gradient(&gradient(), g),
    };
    let mut prepare = ProgramBuilder::new("prepare");
    let mut program = ProgramBuilder::new(shape.to_string()).choosing(choices);
    let view = program.external(RESULT, tensor.elements());
    lower(&mut program, Some(&mut prepare), &[Output { tensor: &tensor, view }])?;
    Ok([prepare.finish(), program.finish()])
}

/// In f16, kernel by kernel; the copies of the weights are as random as the weights.
fn half_programs(shape: &Shape, choices: &Choices) -> [Program; 2] {
    let &Shape { direction, geometry, storage } = shape;
    let (kernel, sums): (Arc<dyn Kernel>, Vec<Reduce>) = match direction {
        Direction::Forward => {
            let kernel = Conv2d { raw: false, activated: Some(0.2), storage, ..Conv2d::new(geometry) };
            (Arc::new(choices.forward(kernel)), Vec::new())
        }
        Direction::InputGradient => {
            let kernel = Conv2dInputGradient { storage, ..Conv2dInputGradient::new(geometry) };
            (Arc::new(choices.input_gradient(kernel)), Vec::new())
        }
        Direction::WeightGradient => {
            let kernel = Conv2dWeightGradient { storage, ..Conv2dWeightGradient::new(geometry) };
            let kernel = choices.weight_gradient(kernel);
            let sums = match kernel.splits {
                1 => Vec::new(),
                splits => Reduce::stages(1, splits, geometry.weights_len(), ReduceOp::Sum),
            };
            (Arc::new(kernel), sums)
        }
    };
    let mut program = ProgramBuilder::new(shape.to_string());
    // What the convolution writes is its last binding, and what each sum reads.
    let bindings = kernel.bindings();
    let (written, read) = bindings.split_last().expect("a convolution writes");
    let lens: Vec<usize> =
        std::iter::once(written.words).chain(sums.iter().map(Reduce::output_len)).collect();
    let mut views: Vec<View> =
        read.iter().map(|binding| program.external(binding.name, binding.words)).collect();
    let place = |(i, &len): (usize, &usize)| match i == sums.len() {
        true => program.external(RESULT, len),
        false => program.transient("partial sums", len),
    };
    let places: Vec<View> = lens.iter().enumerate().map(place).collect();
    views.push(places[0]);
    program.dispatch_shared("convolution", kernel, &views);
    for (&stage, views) in sums.iter().zip(places.windows(2)) {
        program.dispatch("sum of parts", stage, views);
    }
    [ProgramBuilder::new("prepare").finish(), program.finish()]
}

/// How slot `name` of [`programs`] lies in memory.
fn storage_of(shape: &Shape, name: &str) -> Storage {
    let Storages { a, b, c } = shape.storage;
    match (name, shape.direction) {
        (RESULT, _) => c,
        ("weights" | "transposed", _) | ("gradient", Direction::WeightGradient) => b,
        _ => a,
    }
}

/// Vigna's `SplitMix64`: the bits of a state.
fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A number in [-1, 1) of random bits.
fn uniform(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cooperative::{Cooperative, Method};

    fn shape(direction: Direction) -> Shape {
        let geometry =
            ConvGeometry { n: 2, h: 8, w: 8, c_in: 16, c_out: 20, kh: 3, kw: 3, stride: 1, padding: 1 };
        Shape::new(direction, geometry)
    }

    const DIRECTIONS: [Direction; 3] =
        [Direction::Forward, Direction::InputGradient, Direction::WeightGradient];

    /// The host's twins run all candidates too, though they differ in Winograd, parts and what matrices round only.
    #[test]
    fn every_candidate_is_its_own_program_and_right() {
        let matrices = Cooperative::new(16, 32);
        let sums = Storages { c: Storage::F32, ..Storages::F16 };
        let image = Storages { a: Storage::F32, b: Storage::F32, ..Storages::F16 };
        let f32 = Choices::default();
        let by_threads = Choices::default().in_f16(Method::Scalar);
        let by_matrices = Choices::default().in_f16(Method::Cooperative(matrices));
        let half = |direction, storage| Shape { storage, ..shape(direction) };
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
        for (choices, shape) in cases {
            let tuning = tune(&Device::cpu(), choices, &shape, Duration::ZERO).unwrap();
            let candidates: Vec<_> = tuning.trials.iter().map(|trial| trial.candidate).collect();
            assert_eq!(candidates[0], choices.candidate(&shape), "the rule's choice is first");
            let taken = |candidate: &Candidate| choices.takes(&shape, candidate);
            let possible = shape.candidates().into_iter().filter(taken);
            assert_eq!(candidates.len(), possible.clone().count());
            assert!(possible.clone().all(|candidate| candidates.contains(&candidate)));
            assert_eq!(tuning.refused().count(), 0, "{:?}", tuning.trials);
            assert!(tuning.trials.iter().all(|trial| trial.time.is_some() && trial.ratio.is_some()));
            assert!(tuning.winner().is_some());
            let texts: std::collections::BTreeSet<String> = candidates
                .iter()
                .map(|&candidate| {
                    let choices = choices.clone().with_tuned(Tuned::from([(shape, candidate)]));
                    let [_, program] = programs(&shape, choices).unwrap();
                    format!("{:?}", program.dispatches)
                })
                .collect();
            assert_eq!(texts.len(), candidates.len(), "{shape}: a candidate that changes nothing");
        }
    }

    /// What is measured in f16 is what a network runs: the same shapes, and kernels that differ in their epilogues.
    #[test]
    fn the_shapes_of_a_network_in_f16_are_found_and_chosen_for() {
        use crate::jem::{BatchLayout, Preset, Programs, Recipe};
        let matrices = Cooperative::new(16, 32);
        let choices = Choices::default().in_f16(Method::Cooperative(matrices));
        let recipe = Recipe { batch: 4, steps: 2, buffer: 40, ..Preset::Tiny.recipe() };
        let build = |choices: &Choices| {
            let batch = BatchLayout::new(&recipe, 16, 16, 3);
            Programs::build(&recipe, &recipe.network(10, 3), batch, 1000, choices.clone()).unwrap()
        };
        let found = |choices: &Choices| {
            let programs = build(choices);
            shapes(programs.sgld.iter().chain([&programs.update]).map(|program| (program, 1)))
        };
        let by_rule = found(&choices);
        assert!(
            by_rule.iter().filter(|(shape, _)| shape.is_half()).count() > by_rule.len() / 2,
            "{by_rule:?}"
        );
        let last = |shape: &Shape| {
            *shape.candidates().iter().rfind(|candidate| choices.takes(shape, candidate)).unwrap()
        };
        let tuned: Tuned = by_rule.iter().map(|(shape, _)| (*shape, last(shape))).collect();
        let of_matrices = |candidate: &Candidate| candidate.to_string().starts_with("matrices");
        assert!(tuned.values().any(of_matrices));
        let tuned = choices.with_tuned(tuned);
        assert_eq!(found(&tuned), by_rule, "the same shapes");
        let programs = build(&tuned);
        for dispatch in programs.sgld.iter().chain([&programs.update]).flat_map(|program| &program.dispatches)
        {
            let Some(shape) = dispatch.kernel.convolution() else { continue };
            let kernel = format!("{:?}", dispatch.kernel);
            match tuned.candidate(&shape) {
                Candidate::Implicit(tile) => assert!(kernel.contains(&format!("Some({tile:?})")), "{kernel}"),
                Candidate::Parts(tile, splits) => {
                    assert!(kernel.contains(&format!("Some({tile:?})")), "{kernel}");
                    assert!(kernel.contains(&format!("splits: {splits},")), "{kernel}");
                }
                Candidate::Winograd(_) => assert!(!shape.is_half()),
            }
        }
    }

    #[test]
    fn a_wrong_result_is_refused_and_cannot_win() {
        let shape = shape(Direction::Forward);
        let mut bed = Bed::new(&Device::cpu(), &shape).unwrap();
        let program = bed.load(Choices::default()).unwrap();
        let expected = bed.result(&program).unwrap();
        assert!(bed.right(Choices::default(), &expected).unwrap().is_ok());
        let mut other = expected.clone();
        other[7] = (f32::from_bits(other[7]) + 0.01).to_bits();
        let refused = bed.right(Choices::default(), &other).unwrap().unwrap_err();
        assert!(refused.contains("error"), "{refused}");
    }

    fn run(candidate: Candidate, times: &[f64], refused: bool) -> Run {
        let mut bed = Bed::new(&Device::cpu(), &shape(Direction::Forward)).unwrap();
        let program = bed.load(Choices::default()).unwrap();
        let program = if refused { Err("wrong".to_owned()) } else { Ok(program) };
        Run { candidate, program, times: times.into() }
    }

    #[test]
    fn the_fastest_wins_by_more_than_noise_or_not_at_all() {
        let shape = shape(Direction::Forward);
        let [rule, a, b] = shape.candidates()[..3] else { panic!("candidates") };
        let winner = |runs: Vec<Run>| judge(shape, runs).winner().map(|trial| trial.candidate);
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
        let [_, forward] = programs(&shape(Direction::Forward), Choices::default()).unwrap();
        let [_, weights] = programs(&shape(Direction::WeightGradient), Choices::default()).unwrap();
        let found = shapes([(&forward, 20), (&weights, 1), (&forward, 2)]);
        assert_eq!(found, [(shape(Direction::Forward), 22), (shape(Direction::WeightGradient), 1)]);
    }
}
