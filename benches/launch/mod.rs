//! The cost of a dispatch, a barrier and a submission, measured with dispatches that do next to no work.
//!
//! The dispatches of a dependent series all update one buffer, so that wgpu puts a barrier in front of each but the
//! first; those of an independent series update a buffer each, and wgpu puts none. In every round each series starts
//! on an idle device, and the clock is read twice: when the host has handed the series over, and when the device is
//! done. Each figure is computed from one round; the report has the median over the rounds:
//!
//! - a dispatch: the time from the end of recording until the device is done, of a long series less that of a short
//!   one, per dispatch. The cost of a submission and of the wait for it cancel. (On the CPU device the host computes
//!   while it records, so the figure is taken from the whole time.)
//! - a barrier: a dependent dispatch less an independent one. With one workgroup it is the command itself, flushed
//!   caches, and the latency of one workgroup, which the next dispatch no longer hides; with as many workgroups as the
//!   device holds at once, the device also drains and fills again.
//! - recording: the host's time until it has handed over, of a long series less that of a short one, per dispatch.
//! - a submission: the whole time in 100 submissions less that in 10, per submission. In both the device works while
//!   the host records the next one, so this is the cost of one submission more, not its duration.
//! - a submission and the wait for it: one dispatch, from the call until the device is done.

mod touch;

use crate::options::Setting;
use crate::report::Report;
use jem::device::{AdapterKind, Buffer, Device, Executable, ProgramBuilder};
use serde_json::json;
use std::time::{Duration, Instant};
use touch::Touch;

/// Dispatches of a long series and of a short one.
const LONG: usize = 1000;
const SHORT: usize = 100;
/// Dispatches of each of 100 submissions.
const PART: usize = LONG / 100;
/// Workgroups of 256 threads that fill a large GPU about once: 132 multiprocessors of 2,048 threads hold 1,056.
const WAVE: usize = 1024;
/// The same for a software adapter and the host, which run one workgroup on each core.
const SOFTWARE_WAVE: usize = 16;
/// Rounds, at least and at most.
const LEAST_ROUNDS: usize = 5;
const MOST_ROUNDS: usize = 101;

/// Measures the costs and reports them.
///
/// # Errors
/// If the device refuses a program or a count is wrong.
pub fn run(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let columns = ["what", "us"];
    let title = "Cost of a dispatch, a barrier and a submission";
    let device = &setting.device;
    let software = device.adapter().is_none_or(|adapter| adapter.kind == AdapterKind::Software);
    let waves = [1, if software { SOFTWARE_WAVE } else { WAVE }];
    let measure = || -> jem::Result<(Vec<Round>, Vec<String>)> {
        let series = waves.map(|groups| Series::new(device, groups));
        let [one, wave] = series;
        let series = [one?, wave?];
        let rounds = rounds(setting, &series)?;
        let runs = 2 + rounds.len();
        let wrong =
            series.iter().map(|series| series.wrong(device, runs)).collect::<jem::Result<Vec<_>>>()?;
        Ok((rounds, wrong.into_iter().flatten().collect()))
    };
    let (rounds, wrong) = measure().map_err(|error| format!("launch: {error}"))?;
    if let Some(wrong) = wrong.first() {
        return Err(format!("launch: {wrong}"));
    }
    let about = format!(
        "medians of {} rounds; {LONG} dispatches: from an idle device until it is idle again, recording included; the \
         rows below them: from the differences between series; a dispatch and a barrier: the device's time alone",
        rounds.len()
    );
    report.table(title, &about, &columns);
    let mut row = |what: String, figure: &dyn Fn(&Round) -> f64| {
        report.row(vec![json!(what), json!(1e6 * median(rounds.iter().map(figure)))]);
    };
    for (i, groups) in waves.into_iter().enumerate() {
        let of = words(groups);
        row(format!("{LONG} dispatches of {of}, each after the one before"), &|round| {
            round.series[i].dependent.whole()
        });
        row(format!("{LONG} dispatches of {of}, independent"), &|round| round.series[i].independent.whole());
    }
    let of = words(1);
    for (submissions, time) in [(10, 0), (100, 1)] {
        let what =
            format!("{LONG} dispatches of {of}, each after the one before, in {submissions} submissions");
        row(what, &|round| round.submitted[time].whole.as_secs_f64());
    }
    for (i, groups) in waves.into_iter().enumerate() {
        let of = words(groups);
        let a = |round: &Round| round.series[i].dependent.dispatch(device);
        let b = |round: &Round| round.series[i].independent.dispatch(device);
        row(format!("a dispatch of {of}, after the one before"), &a);
        row(format!("a dispatch of {of}, independent"), &b);
        if !device.is_cpu() {
            row(format!("a barrier between dispatches of {of}"), &|round| a(round) - b(round));
        }
    }
    if device.is_cpu() {
        report
            .note("the CPU device runs each dispatch at once: it has no barriers, recording or submissions");
        return Ok(());
    }
    row("recording a dispatch, on the host".into(), &|round| round.series[0].dependent.recording());
    row("a submission more, while the device works".into(), &|round| {
        let [ten, hundred] = &round.submitted;
        (hundred.whole.as_secs_f64() - ten.whole.as_secs_f64()) / 90.0
    });
    row("a submission of one dispatch, and the wait for it".into(), &|round| {
        round.single.whole.as_secs_f64()
    });
    Ok(())
}

fn words(groups: usize) -> String {
    if groups == 1 { "1 workgroup".into() } else { format!("{groups} workgroups") }
}

/// The programs whose dispatches have a given number of workgroups, and the buffers in which they count.
struct Series {
    shared: Buffer,
    own: Vec<Buffer>,
    dependent: [Executable; 2],
    independent: [Executable; 2],
    part: Executable,
    single: Executable,
}

impl Series {
    fn new(device: &Device, groups: usize) -> jem::Result<Self> {
        let bytes = 4 * groups as u64;
        let shared = device.buffer("shared", bytes)?;
        let own: Vec<Buffer> =
            (0..LONG).map(|i| device.buffer(&format!("own {i}"), bytes)).collect::<jem::Result<_>>()?;
        let load = |n: usize, buffers: &[Buffer]| {
            let mut builder = ProgramBuilder::new("series");
            for i in 0..n {
                let y = builder.external_named(buffers[i % buffers.len()].name(), groups);
                builder.dispatch("touch", Touch { groups }, &[y]);
            }
            let externals: Vec<_> = buffers.iter().map(|buffer| (buffer.name(), buffer)).collect();
            device.load(builder.finish(), &externals)
        };
        let one = std::slice::from_ref(&shared);
        let (dependent, independent) =
            ([load(LONG, one)?, load(SHORT, one)?], [load(LONG, &own)?, load(SHORT, &own)?]);
        let (part, single) = (load(PART, one)?, load(1, one)?);
        Ok(Self { dependent, independent, part, single, shared, own })
    }

    /// The first count that is wrong after `rounds` rounds, as a message: every dispatch must have run, one after the
    /// other.
    fn wrong(&self, device: &Device, rounds: usize) -> jem::Result<Option<String>> {
        let of_shared = if self.groups() == 1 { LONG + SHORT + 2 * LONG + 1 } else { LONG + SHORT };
        let shared = [(&self.shared, of_shared)];
        let own = self.own.iter().enumerate().map(|(i, own)| (own, if i < SHORT { 2 } else { 1 }));
        for (buffer, runs) in shared.into_iter().chain(own) {
            let (counts, expected): (Vec<u32>, _) = (device.read_as(buffer)?, (rounds * runs) as u32);
            if let Some(count) = counts.iter().find(|count| **count != expected) {
                return Ok(Some(format!(
                    "{} counts {count} dispatches instead of {expected}",
                    buffer.name()
                )));
            }
        }
        Ok(None)
    }

    fn groups(&self) -> usize {
        self.shared.bytes() as usize / 4
    }
}

/// The time until the host has handed a series over, and the time until the device is done.
#[derive(Debug, Clone, Copy)]
struct Times {
    recorded: Duration,
    whole: Duration,
}

impl Times {
    fn of<'a>(device: &Device, programs: impl IntoIterator<Item = &'a Executable>) -> jem::Result<Self> {
        let start = Instant::now();
        programs.into_iter().try_for_each(|program| device.run(program))?;
        let recorded = start.elapsed();
        device.wait()?;
        Ok(Self { recorded, whole: start.elapsed() })
    }
}

/// A long series and a short one.
#[derive(Debug, Clone, Copy)]
struct Pair([Times; 2]);

impl Pair {
    fn of(device: &Device, programs: &[Executable; 2]) -> jem::Result<Self> {
        let [long, short] = programs;
        Ok(Self([Times::of(device, [long])?, Times::of(device, [short])?]))
    }

    /// Seconds of the long series.
    fn whole(&self) -> f64 {
        self.0[0].whole.as_secs_f64()
    }

    /// The difference of the two `time`s in seconds, per dispatch.
    fn slope(&self, time: impl Fn(&Times) -> f64) -> f64 {
        (time(&self.0[0]) - time(&self.0[1])) / (LONG - SHORT) as f64
    }

    /// Seconds per dispatch after recording; on the CPU device of the whole time.
    fn dispatch(&self, device: &Device) -> f64 {
        match device.is_cpu() {
            true => self.slope(|times| times.whole.as_secs_f64()),
            false => self.slope(|times| (times.whole - times.recorded).as_secs_f64()),
        }
    }

    /// Seconds to record a dispatch.
    fn recording(&self) -> f64 {
        self.slope(|times| times.recorded.as_secs_f64())
    }
}

/// All times of one round.
#[derive(Debug)]
struct Round {
    series: [SeriesTimes; 2],
    /// The dependent series of one workgroup in 10 and in 100 submissions.
    submitted: [Times; 2],
    single: Times,
}

#[derive(Debug)]
struct SeriesTimes {
    dependent: Pair,
    independent: Pair,
}

/// Rounds of all series after two to warm up. Series take turns, so that other load on the machine affects all alike.
fn rounds(setting: &Setting, series: &[Series; 2]) -> jem::Result<Vec<Round>> {
    let device = &setting.device;
    let pair = |series: &Series| -> jem::Result<SeriesTimes> {
        let dependent = Pair::of(device, &series.dependent)?;
        Ok(SeriesTimes { dependent, independent: Pair::of(device, &series.independent)? })
    };
    let round = || -> jem::Result<Round> {
        let [one, wave] = series;
        let series = [pair(one)?, pair(wave)?];
        let ten = Times::of(device, std::iter::repeat_n(&one.dependent[1], LONG / SHORT))?;
        let hundred = Times::of(device, std::iter::repeat_n(&one.part, LONG / PART))?;
        Ok(Round { series, submitted: [ten, hundred], single: Times::of(device, [&one.single])? })
    };
    device.wait()?;
    for _ in 0..2 {
        round()?;
    }
    let (start, mut rounds) = (Instant::now(), Vec::new());
    while rounds.len() < LEAST_ROUNDS || rounds.len() < MOST_ROUNDS && start.elapsed() < 10 * setting.budget {
        rounds.push(round()?);
    }
    Ok(rounds)
}

/// The median.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
