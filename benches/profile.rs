//! The profile of an iteration: the time of every dispatch by itself, beside the time of the same programs run
//! normally.

use crate::ceilings::{Ceilings, Floor, bytes};
use crate::options::Setting;
use crate::report::{Report, milliseconds};
use crate::steps::ours::{Ours, Step};
use crate::steps::turns::{median, take};
use jem::device::{DispatchTime, Executable};
use jem::ebm::Recipe;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

/// The least number of profiles of each program; `--repeats` asks for more, unless they take a minute.
const PROFILES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of the table of dispatches.
const ROWS: usize = 40;

/// Profiles an iteration of every recipe of `setting`. Fractions need `ceilings`, and everything but the time of the
/// whole needs timestamps.
pub fn run(setting: &Setting, ceilings: Option<&Ceilings>, report: &mut Report) {
    for (name, recipe) in &setting.recipes() {
        let precision = recipe.precision;
        let name = format!("{} {precision}", name.replace(&format!(" {precision}"), ""));
        if let Err(error) = iteration(setting, ceilings, &name, recipe, report) {
            let what = format!("profile of {name}");
            match error.downcast_ref() {
                Some(error) => report.failed(&what, error),
                None => report.error(&format!("{what}: {error}")),
            }
        }
    }
}

/// Profiles an iteration of `recipe`.
fn iteration(
    setting: &Setting,
    ceilings: Option<&Ceilings>,
    name: &str,
    recipe: &Recipe,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let device = &setting.device;
    let (policy, chosen) = recipe.precision.policy(device);
    let ours = Ours::new(device, recipe, &policy)?;
    let step = Step::Iteration(recipe.steps);
    if !setting.has_timestamps() {
        let rounds = take("iteration", setting.repeats, &mut [], || ours.time(step))?;
        let whole = median(&rounds.ours.iter().map(|time| time.whole).collect::<Vec<_>>());
        report.left_out(&format!(
            "profile of {name}: the adapter has no timestamps (TIMESTAMP_QUERY); the whole iteration takes {:.3} ms",
            milliseconds(whole)
        ));
        return Ok(());
    }
    let mut programs: Vec<(&Executable, u32)> = Vec::new();
    for program in ours.programs(step) {
        match programs.iter_mut().find(|(other, _)| std::ptr::eq(*other, program)) {
            Some((_, runs)) => *runs += 1,
            None => programs.push((program, 1)),
        }
    }
    let profiles = Profiles::take(setting, &programs, || Ok(ours.time(step)?.whole))?;
    let dispatches = profiles.dispatches(&programs, ceilings);
    let all = dispatches.iter().fold(Sum::default(), |sum, dispatch| sum.plus(&dispatch.sum));
    let (batch, k, turns) = (recipe.batch, recipe.steps, profiles.turns);
    let clock = match device.is_cpu() {
        true => "the host's clock around each dispatch",
        false => "a pass between timestamps for each dispatch",
    };
    let about = format!(
        "batch {batch}, {chosen}; prepare + {k} sgld + update; {clock}, median of {turns} profiles; share: of the sum \
         of all dispatches; fraction: the least time that the ceilings allow, of the time"
    );
    let columns = ["kernel", "dispatches", "ms", "share %", "GFLOP/s", "fraction"];
    report.table(&format!("Profile of an iteration, {name}"), &about, &columns);
    for (kernel, sum) in grouped(&dispatches, |dispatch| dispatch.kernel.to_owned()) {
        report.row(sum.by_kernel(&kernel, &all));
    }
    report.row(all.by_kernel("(all dispatches)", &all));
    let whole = milliseconds(profiles.whole);
    for (what, ms) in
        [("(the whole, not split)", whole), ("(launches and barriers)", whole - milliseconds(all.time))]
    {
        let share = 100.0 * ms / milliseconds(all.time);
        report.row(vec![json!(what), json!(null), json!(ms), json!(share), json!(null), json!(null)]);
    }
    report.note(
        "the whole: the same programs run normally, in turns with the profiles, median on the host's clock; launches \
         and barriers: the whole less the sum of all dispatches, below 0 if dispatches cost more one by one than together",
    );
    by_dispatch(name, &dispatches, &all, report);
    Ok(())
}

/// Reports the table of dispatches, those that take the most time first.
fn by_dispatch(name: &str, dispatches: &[Dispatched], all: &Sum, report: &mut Report) {
    let columns = ["dispatch", "count", "ms each", "share %", "GFLOP/s", "GB/s", "bound", "fraction"];
    let about = "program, kernel, what it computes; bound and fraction as for kernels";
    report.table(&format!("Dispatches of an iteration, {name}"), about, &columns);
    let rows = grouped(dispatches, |dispatch| dispatch.label.clone());
    for (label, sum) in rows.iter().take(ROWS) {
        let seconds = sum.time.as_secs_f64();
        report.row(vec![
            json!(label),
            json!(sum.count),
            json!(milliseconds(sum.time) / f64::from(sum.count)),
            json!(sum.share(all)),
            json!(sum.flops as f64 / 1e9 / seconds),
            json!(sum.bytes as f64 / 1e9 / seconds),
            json!(sum.floor.map(|floor| floor.bound())),
            sum.fraction(),
        ]);
    }
    let rest = rows.iter().skip(ROWS).fold(Sum::default(), |rest, (_, sum)| rest.plus(sum));
    if rest.count > 0 {
        let (n, ms, share) = (rest.count, milliseconds(rest.time), rest.share(all));
        report.note(&format!("the other {n} dispatches take {ms:.3} ms, {share:.1}%"));
    }
}

/// The median time of every dispatch of every program, and of the whole.
struct Profiles {
    times: Vec<Vec<(DispatchTime, Duration)>>,
    whole: Duration,
    /// Profiles of each program.
    turns: usize,
}

impl Profiles {
    /// Profiles `programs` in turns with `whole`, which times all their runs together, after one turn to warm up.
    fn take(
        setting: &Setting,
        programs: &[(&Executable, u32)],
        whole: impl Fn() -> jem::Result<Duration>,
    ) -> jem::Result<Self> {
        let turn = || -> jem::Result<Vec<Vec<DispatchTime>>> {
            programs.iter().map(|(program, _)| setting.device.profile(program)).collect()
        };
        whole()?;
        let warm = turn()?;
        let (start, mut turns, mut wholes) = (Instant::now(), Vec::new(), Vec::new());
        while turns.len() < PROFILES || turns.len() < setting.repeats && start.elapsed() < PATIENCE {
            wholes.push(whole()?);
            turns.push(turn()?);
        }
        let middle = |program: usize, dispatch: usize| {
            median(&turns.iter().map(|turn| turn[program][dispatch].time).collect::<Vec<_>>())
        };
        let times = warm.into_iter().enumerate().map(|(program, times)| {
            let times = times.into_iter().enumerate();
            times.map(|(i, dispatch)| (dispatch, middle(program, i))).collect()
        });
        Ok(Self { times: times.collect(), whole: median(&wholes), turns: turns.len() })
    }

    /// The dispatches of an iteration, in which each program runs as often as `programs` says.
    fn dispatches(&self, programs: &[(&Executable, u32)], ceilings: Option<&Ceilings>) -> Vec<Dispatched> {
        let of = |((executable, runs), times): (&(&Executable, u32), &Vec<(DispatchTime, Duration)>)| {
            let program = executable.program();
            let dispatch = |(dispatch, (said, time)): (&jem::device::Dispatch, &(DispatchTime, Duration))| {
                let kernel = dispatch.kernel.as_ref();
                let shape = kernel.convolution().map_or(String::new(), |shape| format!(", {shape}"));
                let floor = ceilings.and_then(|ceilings| ceilings.floor(kernel));
                let one = Sum { count: 1, time: *time, flops: said.flops, bytes: bytes(kernel), floor };
                Dispatched {
                    kernel: said.kernel,
                    label: format!("{} {} {}{shape}", program.name, said.kernel, said.label),
                    sum: one.times(*runs),
                }
            };
            program.dispatches.iter().zip(times).map(dispatch).collect::<Vec<_>>()
        };
        programs.iter().zip(&self.times).flat_map(of).collect()
    }
}

/// A dispatch of a program, summed over all runs of the program.
struct Dispatched {
    kernel: &'static str,
    label: String,
    sum: Sum,
}

/// Dispatches, added up.
#[derive(Debug, Clone, Copy)]
struct Sum {
    count: u32,
    time: Duration,
    flops: u64,
    bytes: u64,
    /// `None` if one of them has no ceiling.
    floor: Option<Floor>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { count: 0, time: Duration::ZERO, flops: 0, bytes: 0, floor: Some(Floor::default()) }
    }
}

impl Sum {
    fn plus(self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            time: self.time + other.time,
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
            floor: self.floor.zip(other.floor).map(|(all, one)| all.plus(1, &one)),
        }
    }

    fn times(self, runs: u32) -> Self {
        Self {
            count: runs * self.count,
            time: runs * self.time,
            flops: u64::from(runs) * self.flops,
            bytes: u64::from(runs) * self.bytes,
            floor: self.floor.map(|floor| Floor::default().plus(runs, &floor)),
        }
    }

    /// Percent of the time of `all`.
    fn share(&self, all: &Self) -> f64 {
        100.0 * self.time.as_secs_f64() / all.time.as_secs_f64()
    }

    fn fraction(&self) -> Value {
        json!(self.floor.map(|floor| floor.least.as_secs_f64() / self.time.as_secs_f64()))
    }

    fn by_kernel(&self, kernel: &str, all: &Self) -> Vec<Value> {
        vec![
            json!(kernel),
            json!(self.count),
            json!(milliseconds(self.time)),
            json!(self.share(all)),
            json!(self.flops as f64 / 1e9 / self.time.as_secs_f64()),
            self.fraction(),
        ]
    }
}

/// Sums by `key`, the longest time first.
fn grouped(dispatches: &[Dispatched], key: impl Fn(&Dispatched) -> String) -> Vec<(String, Sum)> {
    let mut sums: HashMap<String, Sum> = HashMap::new();
    for dispatch in dispatches {
        let sum = sums.entry(key(dispatch)).or_default();
        *sum = sum.plus(&dispatch.sum);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|(a, x), (b, y)| y.time.cmp(&x.time).then_with(|| a.cmp(b)));
    sums
}
