//! Times of the steps that make up a training iteration, and of whole iterations, beside those of peers if there are
//! any.
//!
//! The SGLD step is forward, input gradient alone, and the noisy update of the chains. The update is the transposed
//! weights, one pass over the concatenated batch [data | samples | labelled], every gradient, and Adam. The
//! iteration is the trainer's own, with batches from a data set and the replay buffer. With `--peer` and `--burn` all
//! sides are alive at once and take turns, step by step. A peer is started once for a network, batch and K, and serves
//! every precision of ours, so that it compiles only once.

pub mod clock;
mod comparison;
pub mod ours;
mod peer;
pub mod turns;

use crate::ceilings::{Ceilings, Floor};
use crate::options::{Arguments, Setting};
use crate::report::{Report, mebibytes, milliseconds};
use clock::StepTime;
use comparison::Comparison;
use jem::compute::storage::Storage;
use jem::data::synthetic::synthetic;
use jem::device::{Device, Program, Summary};
use jem::ebm::{Recipe, Trainer};
use jem::nn::network::Network as _;
use jem::policy::convolution::ConvolutionPolicy;
use ours::{Ours, Step, convolution_flops, total};
use peer::{Peer, Task};
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;
use turns::{Rounds, median, take};

/// Images of the data set that iterations draw from.
const DATA: usize = 1000;

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
    let mut comparison = Comparison::default();
    let mut alive: Option<(Task, Vec<Peer>)> = None;
    for (name, recipe) in &setting.recipes() {
        let name = format!("{name} x{}", recipe.batch);
        let (report, comparison) = (&mut *report, &mut comparison);
        let (policy, _) = recipe.precision.policy(&setting.device);
        let mut section = Section { setting, ceilings, recipe, policy, name, report, comparison };
        let task = Task::of(recipe);
        if alive.as_ref().is_none_or(|(others, _)| *others != task) {
            // The peers of another task end first and free the device's memory.
            drop(alive.take());
            let peers = Peer::start(arguments, &setting.device, task);
            alive = Some((
                task,
                peers.unwrap_or_else(|error| {
                    section.failed("its peers", &error);
                    Vec::new()
                }),
            ));
        }
        let (_, peers) = alive.as_mut().expect("started above");
        if let Err(error) = section.meet(peers) {
            section.failed("its peers", error.as_ref());
            peers.clear();
        }
        // The iteration first: it matters most if the process is killed at a limit.
        if let Err(error) = section.iteration(peers) {
            section.failed("an iteration", error.as_ref());
        }
        if let Err(error) = section.steps(peers) {
            section.failed("its steps", error.as_ref());
        } else if let Err(error) = section.unfused() {
            section.failed("a step with nothing fused", error.as_ref());
        }
        // The next recipe starts new peers.
        let failures: Vec<String> = peers.iter().filter_map(Peer::failed).collect();
        if !failures.is_empty() {
            alive = None;
        }
        for failure in failures {
            section.report.error(&format!("{}: {failure}", section.name));
        }
    }
    comparison.report(report);
}

/// The steps of one recipe.
struct Section<'a> {
    setting: &'a Setting,
    ceilings: &'a Ceilings,
    recipe: &'a Recipe,
    policy: ConvolutionPolicy,
    name: String,
    report: &'a mut Report,
    comparison: &'a mut Comparison,
}

impl Section<'_> {
    fn failed(&mut self, what: &str, error: &(dyn Error + 'static)) {
        let what = format!("{}: {what}", self.name);
        match error.downcast_ref() {
            Some(error) => self.report.failed(&what, error),
            None => self.report.error(&format!("{what}: {error}")),
        }
    }

    /// Checks that the peers' network is the recipe's, and reports who they are.
    fn meet(&mut self, peers: &[Peer]) -> Result<(), Box<dyn Error>> {
        let parameters = self.recipe.network(ours::CLASSES, 3).layout().elements() as u64;
        let flops = convolution_flops(self.recipe)?;
        for Peer { name, about, .. } in peers {
            if (about.parameters, about.convolution_flops) != (parameters, flops) {
                return Err(format!(
                    "{name}'s network has {} parameters and an SGLD step of it {} operations in convolutions; here \
                     they are {parameters} and {flops}",
                    about.parameters, about.convolution_flops
                )
                .into());
            }
            self.report.note(&format!(
                "{}: in turns with {}; both have {parameters} parameters and {:.4} GFLOP in the convolutions of an SGLD step",
                self.name,
                about.title,
                flops as f64 / 1e9
            ));
            let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for skipped in &about.skipped {
                reasons.entry(&skipped.reason).or_default().push(&skipped.mode);
            }
            for (reason, modes) in reasons {
                self.comparison.skip(format!("{name} {}: {reason}", modes.join(", ")));
            }
        }
        Ok(())
    }

    /// The SGLD step and the update.
    fn steps(&mut self, peers: &mut [Peer]) -> Result<(), Box<dyn Error>> {
        let ours = Ours::new(&self.setting.device, self.recipe, &self.policy)?;
        for (name, step) in [("sgld", Step::Sgld), ("update", Step::Update)] {
            let rounds = take(name, self.setting.repeats, peers, || ours.time(step))?;
            let floor =
                floor(self.ceilings, ours.programs(step).into_iter().map(|program| program.program()));
            self.row(name, &rounds.ours, ours.summary(step), floor);
            self.compare(name, peers, &rounds);
        }
        Ok(())
    }

    /// The SGLD step with nothing fused, which shows the effect of fusion: docs/performance.md predicts it.
    fn unfused(&mut self) -> Result<(), Box<dyn Error>> {
        let separate = Ours::new(&self.setting.device, self.recipe, &self.policy.clone().unfused())?;
        let rounds =
            take("sgld, nothing fused", self.setting.repeats, &mut [], || separate.time(Step::Sgld))?;
        let programs = separate.programs(Step::Sgld);
        let floor = floor(self.ceilings, programs.into_iter().map(|program| program.program()));
        self.row("sgld, nothing fused", &rounds.ours, separate.summary(Step::Sgld), floor);
        Ok(())
    }

    /// One iteration of the trainer.
    fn iteration(&mut self, peers: &mut [Peer]) -> Result<(), Box<dyn Error>> {
        let device: &Device = &self.setting.device;
        let (data, _) = synthetic(DATA, 0, 1);
        let mut trainer = Trainer::new(device, self.recipe, &data)?;
        let rounds = take("iteration", self.setting.repeats, peers, || {
            let time = StepTime::of(device, || trainer.step())?;
            trainer.finish_metrics()?;
            Ok(time)
        })?;
        let runs = |program: &&Program| if program.name == "sgld" { self.recipe.steps } else { 1 };
        let programs = trainer.programs();
        let all = || programs.iter().flat_map(|program| std::iter::repeat_n(*program, runs(program)));
        let (summary, floor) = (total(all()), floor(self.ceilings, all()));
        let name = format!("iteration, K = {}", self.recipe.steps);
        self.row(&name, &rounds.ours, summary, floor);
        self.compare(&name, peers, &rounds);
        Ok(())
    }

    fn row(&mut self, step: &str, times: &[StepTime], summary: Summary, floor: Option<Floor>) {
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
            json!(floor.map(|floor| floor.least.as_secs_f64() / seconds)),
            json!(recording.map(milliseconds)),
            json!(recording.map(|recording| 100.0 * recording.as_secs_f64() / seconds)),
        ]);
    }

    /// Reports the peers' rows. Their arithmetic is known for the SGLD step alone: its convolutions, which are nearly
    /// all of it.
    fn compare(&mut self, step: &str, peers: &[Peer], rounds: &Rounds) {
        for one in &rounds.peers {
            let (Peer { name, about, .. }, Ok(times)) = (&peers[one.peer], &one.times) else { continue };
            let (best, middle) = (times.iter().min().expect("a run"), median(times));
            let gflop = (step == "sgld").then_some(about.convolution_flops as f64 / 1e9);
            let mut row = vec![json!(null); 12];
            row[0] = json!(format!("{} {step}, {name} {}", self.name, one.mode));
            row[2] = json!(gflop);
            row[5] = json!(milliseconds(*best));
            row[6] = json!(milliseconds(middle));
            row[7] = json!(self.recipe.batch as f64 / middle.as_secs_f64());
            row[8] = json!(gflop.map(|gflop| gflop / middle.as_secs_f64()));
            self.report.row(row);
        }
        // bf16 and f16 have 16 bits, and tensor cores multiply both at the same rate. TF32 is between the two classes.
        let class = if self.policy.storage() == Storage::F16 { "bf16" } else { "float32" };
        self.comparison.add(&format!("{} {step}", self.name), class, peers, rounds);
    }
}

/// The least time that the ceilings allow the dispatches of `programs`, one after the other.
fn floor<'a>(ceilings: &Ceilings, mut programs: impl Iterator<Item = &'a Program>) -> Option<Floor> {
    programs.try_fold(Floor::default(), |all, program| {
        let mut dispatches = program.dispatches.iter();
        dispatches.try_fold(all, |all, one| Some(all.plus(1, &ceilings.floor(one.kernel.as_ref())?)))
    })
}
