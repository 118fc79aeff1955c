//! Times of the steps that a training iteration is made of, and of whole iterations; beside PyTorch's if there is
//! one.
//!
//! The SGLD step is forward, input gradient alone, and the noisy update of the chains. The update is the transposed
//! weights, one pass over the concatenated batch [data | samples | labelled], every gradient, and Adam. The
//! iteration is the trainer's own, with batches from a data set and the replay buffer. With `--peer` both sides are
//! alive at once and take turns, step by step, so that whatever else the machine does meets both alike.

pub mod clock;
pub mod ours;
mod peer;

use crate::ceilings::Ceilings;
use crate::options::{Arguments, Setting};
use crate::report::{Report, mebibytes, milliseconds};
use clock::StepTime;
use jem::data::synthetic::synthetic;
use jem::device::{Device, Program, Summary};
use jem::jem::{Recipe, Trainer};
use ours::{Ours, Step, total};
use peer::Peer;
use serde_json::json;
use std::time::{Duration, Instant};

/// Images of the data set that iterations draw from.
const DATA: usize = 1000;

/// Time for the runs of one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times the steps of every recipe of `setting`.
pub fn run(setting: &Setting, arguments: &Arguments, ceilings: &Ceilings, report: &mut Report) {
    let columns = [
        "step",
        "dispatches",
        "GFLOP",
        "MiB moved",
        "peak MiB",
        "best ms",
        "median ms",
        "images/s",
        "GFLOP/s",
        "fraction",
        "record ms",
        "record %",
    ];
    let about = "rates at the median; fraction: the least time that the ceilings allow each dispatch, of the median; \
                 record: the host's time to record and submit, in the whole; peak: of the largest program";
    report.table("Steps", about, &columns);
    for (name, recipe) in &setting.recipes {
        let name = format!("{name} x{}", recipe.batch);
        let mut section = Section { setting, arguments, ceilings, recipe, name, report: &mut *report };
        if let Err(error) = section.steps() {
            let name = section.name;
            match error.downcast_ref() {
                Some(error) => report.failed(&name, error),
                None => report.error(&format!("{name}: {error}")),
            }
            continue;
        }
        if let Err(error) = section.iteration() {
            let what = format!("{}: an iteration", section.name);
            report.failed(&what, &error);
        }
    }
}

/// The steps of one recipe.
struct Section<'a> {
    setting: &'a Setting,
    arguments: &'a Arguments,
    ceilings: &'a Ceilings,
    recipe: &'a Recipe,
    name: String,
    report: &'a mut Report,
}

impl Section<'_> {
    /// The SGLD step and the update, in turns with the peer if there is one.
    fn steps(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let ours = Ours::new(&self.setting.device, self.recipe)?;
        let start = |python| Peer::start(python, &self.arguments.peer_device, self.recipe);
        let mut peer = self.arguments.peer.as_deref().map(start).transpose()?;
        if let Some(peer) = &peer {
            self.report.note(&format!("in turns with {}", peer.title));
        }
        for (name, step) in [("sgld", Step::Sgld), ("update", Step::Update)] {
            let times = repeated(2, self.setting.repeats, || -> Result<_, Box<dyn std::error::Error>> {
                let time = ours.time(step)?;
                Ok((time, peer.as_mut().map(|peer| peer.time(name)).transpose()?))
            })?;
            let peers: Vec<Duration> = times.iter().filter_map(|(_, peer)| *peer).collect();
            let times: Vec<StepTime> = times.into_iter().map(|(time, _)| time).collect();
            let least =
                least(self.ceilings, ours.programs(step).into_iter().map(|program| program.program()));
            self.row(name, &times, ours.summary(step), least);
            if !peers.is_empty() {
                self.compare(name, &times, &peers);
            }
        }
        Ok(())
    }

    /// One iteration of the trainer.
    fn iteration(&mut self) -> jem::Result<()> {
        let device: &Device = &self.setting.device;
        let (data, _) = synthetic(DATA, 0, 1);
        let mut trainer = Trainer::new(device, self.recipe, &data)?;
        let times = repeated(1, self.setting.repeats, || {
            let time = StepTime::of(device, || trainer.step())?;
            trainer.finish_metrics()?;
            jem::Result::Ok(time)
        })?;
        let runs = |program: &&Program| if program.name == "sgld" { self.recipe.steps } else { 1 };
        let programs = trainer.programs();
        let all = || programs.iter().flat_map(|program| std::iter::repeat_n(*program, runs(program)));
        let (summary, least) = (total(all()), least(self.ceilings, all()));
        self.row(&format!("iteration, K = {}", self.recipe.steps), &times, summary, least);
        Ok(())
    }

    fn row(&mut self, step: &str, times: &[StepTime], summary: Summary, least: Duration) {
        let whole: Vec<Duration> = times.iter().map(|time| time.whole).collect();
        let recording: Option<Vec<Duration>> = times.iter().map(|time| time.recording).collect();
        let recording = recording.map(|times| median(&times));
        let (best, median) = (whole.iter().min().expect("a run"), median(&whole));
        let seconds = median.as_secs_f64();
        self.report.row(vec![
            json!(format!("{} {step}", self.name)),
            json!(summary.dispatches),
            json!(summary.flops as f64 / 1e9),
            json!(mebibytes(summary.bytes_moved)),
            json!(mebibytes(summary.peak_bytes)),
            json!(milliseconds(*best)),
            json!(milliseconds(median)),
            json!(self.recipe.batch as f64 / seconds),
            json!(summary.flops as f64 / 1e9 / seconds),
            json!(least.as_secs_f64() / seconds),
            json!(recording.map(milliseconds)),
            json!(recording.map(|recording| 100.0 * recording.as_secs_f64() / seconds)),
        ]);
    }

    /// PyTorch's row, and how the pairs compare.
    fn compare(&mut self, step: &str, times: &[StepTime], peers: &[Duration]) {
        let (best, middle) = (peers.iter().min().expect("a run"), median(peers));
        let mut row = vec![json!(null); 12];
        row[0] = json!(format!("{} {step}, PyTorch", self.name));
        row[5] = json!(milliseconds(*best));
        row[6] = json!(milliseconds(middle));
        row[7] = json!(self.recipe.batch as f64 / middle.as_secs_f64());
        self.report.row(row);
        let pairs = times.iter().zip(peers);
        let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.whole.as_secs_f64() / b.as_secs_f64()).collect();
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios[ratios.len() / 2];
        let name = &self.name;
        self.report.note(&format!(
            "{name} {step}: jem / PyTorch, pair by pair: {} (median {middle:.2})",
            each.join(" ")
        ));
    }
}

/// The least time that the ceilings allow the dispatches of `programs`, one after the other.
fn least<'a>(ceilings: &Ceilings, programs: impl Iterator<Item = &'a Program>) -> Duration {
    let dispatches = programs.flat_map(|program| &program.dispatches);
    let bytes = |kernel: &dyn jem::kernels::Kernel| -> u64 {
        kernel.bindings().iter().map(|binding| 4 * binding.moved as u64).sum()
    };
    dispatches.map(|d| ceilings.least(d.kernel.flops(), bytes(d.kernel.as_ref()))).sum()
}

/// What `once` gives `repeats` times, after `warm` more to warm up; less often if that takes longer than
/// [`PATIENCE`].
fn repeated<T, E>(warm: usize, repeats: usize, mut once: impl FnMut() -> Result<T, E>) -> Result<Vec<T>, E> {
    let start = Instant::now();
    let mut results = Vec::new();
    for run in 0..warm + repeats {
        let result = once()?;
        let late = start.elapsed() > PATIENCE;
        if run >= warm || late {
            results.push(result);
        }
        if late {
            break;
        }
    }
    Ok(results)
}

/// The middle one.
pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}
