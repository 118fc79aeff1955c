//! The parts that `jem` and the example `train_cifar` share: devices, printing, Ctrl-C, and the flow of training.

pub mod flags;
pub mod network;
pub mod training;

use flags::Flags as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish};
use jem::data::Dataset;
use jem::data::download::Transfer;
use jem::device::{CooperativeChoice, Device, DeviceOptions, DeviceSpec};
use jem::ebm::{
    Evaluation, FreshGap, Outcome, Precision, Preset, Recipe, RunOptions, Timing, choose_with, run,
};
use jem::interrupt;
use jem::process::exit_at_once;
use jem::report::terminal::{Style, Terminal, announce, bar_style, restore};
use jem::self_test::is_gate_pending;
use jem::tuning;
use jem::words::counted;
use jem::{Error, Result};
use network::NetworkChoice;
use std::cell::RefCell;
use std::io::Write as _;
use std::path::Path;
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use training::Job;

/// The exit status of a command that Ctrl-C ended: 128 + SIGINT, as shells report it.
pub const INTERRUPTED: u8 = 130;

/// Set by Ctrl-C, SIGTERM and SIGHUP.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether a run has something to save. Before its first iteration it may end at any time.
static TRAINS: AtomicBool = AtomicBool::new(false);

/// The device flags of a command that may compute in f16.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DeviceArguments {
    /// Device: auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    pub device: DeviceSpec,
    /// Variant of the tensor-core shaders: any (the first that passes a test on this GPU), none, naga, patched, flat or
    /// flat-patched [default: `JEM_COOPERATIVE`, else any]
    #[arg(long, value_name = "VARIANT")]
    pub cooperative: Option<CooperativeChoice>,
}

impl DeviceArguments {
    /// The options that these flags ask for.
    pub fn options(&self) -> DeviceOptions {
        DeviceOptions { cooperative: self.cooperative, ..DeviceOptions::default() }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// The errors of [`tuning::open`].
    pub fn open(&self) -> Result<Device> {
        tuning::open(&self.device, self.options())
    }
}

/// A device to train on, and the terminal.
#[derive(Debug)]
pub struct Session {
    arguments: DeviceArguments,
    device: Device,
    quiet: bool,
}

impl Session {
    /// Opens a device and prints its name, unless `quiet`.
    ///
    /// # Errors
    /// The errors of [`tuning::open`].
    pub fn open(arguments: &DeviceArguments, quiet: bool) -> Result<Self> {
        let session = Self { arguments: arguments.clone(), device: arguments.open()?, quiet };
        let why = session.device.fallback().map(|why| format!(", because {why}")).unwrap_or_default();
        session.say(&format!("device  {}{why}", session.device.name()));
        if !session.device.policy().tuned().is_empty() || session.device.shaders().is_some() {
            session.say(&format!("kernels {}", session.device.kernels()));
        }
        Ok(session)
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Opens the device again, so that the next run does not depend on the state that the last one left.
    ///
    /// # Errors
    /// The errors of [`tuning::open`].
    pub fn reopen(&mut self) -> Result<()> {
        self.device = self.arguments.open()?;
        Ok(())
    }

    /// Prints a line, unless quiet.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// The preset that was `asked` for, else the one that [`choose_with`] selects; `recipe` makes the recipe of a preset.
    ///
    /// # Errors
    /// The errors of [`choose_with`].
    pub fn preset(
        &self,
        asked: Option<Preset>,
        train: &Dataset,
        recipe: impl Fn(Preset) -> Recipe,
    ) -> Result<Preset> {
        self.announce_gate(&recipe(asked.unwrap_or(Preset::Tiny)));
        if let Some(preset) = asked {
            return Ok(preset);
        }
        self.say("preset  auto: timing a few iterations …");
        let choice = choose_with(&self.device, train, recipe, shown_timing(self.quiet))?;
        choice.lines().iter().for_each(|line| self.say(line));
        self.say("        choose otherwise with --preset tiny, small or paper");
        Ok(choice.preset)
    }

    /// Explains a delay of up to a minute if the device's tensor cores have not been tested yet.
    fn announce_gate(&self, recipe: &Recipe) {
        if recipe.precision != Precision::F32 && is_gate_pending(&self.device) {
            self.say("f16     testing this GPU's tensor cores, once for this driver …");
        }
    }

    /// Prints the model that is trained on `train`.
    pub fn describe(&self, recipe: &Recipe, network: &NetworkChoice, train: &Dataset) {
        let after = match recipe.p_x_after {
            0 => String::new(),
            after => format!(" after {}", counted(after, "iteration")),
        };
        self.say(&format!(
            "model   {}, batch {}, K = {}, {}, p(x) weight {}{after}",
            network.network(recipe, train).name(),
            recipe.batch,
            if recipe.samples() { recipe.steps } else { 0 },
            counted(recipe.total_iterations(train.len().saturating_sub(recipe.validation)), "iteration"),
            recipe.p_x
        ));
        if let NetworkChoice::From(start) = network {
            self.say(&format!("from    {}", start.model.path().display()));
            let [height, width, _] = start.model.image_shape();
            if [height, width] != [train.height, train.width] {
                self.say(&format!(
                    "        the model's images are {height}x{width}, those of this run {}x{}; --size {height} scales \
                     pictures",
                    train.height, train.width
                ));
            }
        }
        network.notes().iter().for_each(|note| self.say(&format!("        {note}")));
    }

    /// [`run`]s `recipe` until its end or until Ctrl-C; reopens a device that is lost.
    ///
    /// # Errors
    /// The errors of [`run`].
    pub fn train(&self, recipe: &Recipe, train: &Dataset, test: &Dataset, job: &Job) -> Result<Outcome> {
        self.announce_gate(recipe);
        let style = match (self.quiet, job.live) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Live,
            (false, false) => Style::Bar,
        };
        let reopen = || self.arguments.open();
        let (network, start) = match &job.network {
            NetworkChoice::Own => (None, None),
            NetworkChoice::Given(network) => (Some(network.clone()), None),
            NetworkChoice::From(start) => (None, Some(&**start)),
        };
        let options = RunOptions {
            network,
            start,
            out: job.out.clone(),
            resume: job.resume,
            source: Some(&job.source),
            progress: Some(Box::new(Terminal::new(style).waiting("preparing the run"))),
            stop: &STOP,
            reopen: Some(&reopen),
            visit: Some(&mut |_| {
                TRAINS.store(true, Ordering::Relaxed);
                Ok(())
            }),
        };
        // If there are more fresh chains than images in a batch, the fresh chains may be too many instead.
        let programs = ["perturb", "sgld", "update"];
        let of_a_batch = if recipe.fresh_chains <= recipe.batch { &programs[..] } else { &[] };
        let outcome = run(&self.device, recipe, train, test, options).batch(recipe.batch, of_a_batch);
        TRAINS.store(false, Ordering::Relaxed);
        outcome
    }
}

/// Prints a line. A closed terminal must not stop a run, so a failure is ignored.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line to standard error. A failure is ignored.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Ends a run with a checkpoint at Ctrl-C, SIGTERM or SIGHUP ([`interrupt::handle`]). A second signal ends the process
/// at once, and so does the first one if there is nothing to save.
///
/// # Errors
/// The errors of [`interrupt::handle`].
pub fn stop_on_interrupt() -> Result<()> {
    interrupt::handle(|| {
        let again = STOP.swap(true, Ordering::Relaxed);
        if again || !TRAINS.load(Ordering::Relaxed) {
            restore();
            if !again {
                complain("\nstopped; there was nothing to save");
            }
            // Do not wait for other threads, such as a driver that compiles.
            exit_at_once(i32::from(INTERRUPTED));
        }
        announce("stopping with a checkpoint; Ctrl-C again stops at once");
    })
}

/// Returns the exit status of `result`; prints its error to standard error.
pub fn end(result: Result<impl Termination>) -> ExitCode {
    match result {
        Ok(ended) => ended.report(),
        Err(error) => {
            complain(&format!("error: {}", flags::message(error)));
            ExitCode::FAILURE
        }
    }
}

/// A spinner on standard error, if that is a terminal, with the time since its start; hidden if `quiet`. It disappears
/// when it is dropped.
pub fn spinner(quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let bar = bar.with_style(bar_style("{spinner} {elapsed:>4}  {wide_msg}", 0));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar.with_finish(ProgressFinish::AndClear)
}

/// Shows the timing of presets: on a terminal with a spinner, elsewhere with a line every ten seconds.
fn shown_timing(quiet: bool) -> impl FnMut(Timing) {
    const REFRESH: Duration = Duration::from_millis(100);
    const PERIOD: Duration = Duration::from_secs(10);
    let bar = spinner(quiet);
    let (mut shown, mut printed) = (None, Instant::now());
    move |timing| {
        let now = Instant::now();
        if shown.is_some_and(|shown| now.duration_since(shown) < REFRESH) {
            return;
        }
        shown = Some(now);
        bar.set_message(timing.to_string());
        if !quiet && bar.is_hidden() && now.duration_since(printed) >= PERIOD {
            printed = now;
            complain(&format!("        {timing}"));
        }
    }
}

/// Shows a download, or the decoding of many images, as a progress bar on standard error, if that is a terminal; shows nothing if `quiet`.
pub fn download_bar(quiet: bool) -> impl Fn(Transfer<'_>) {
    let target = if quiet { ProgressDrawTarget::hidden } else { ProgressDrawTarget::stderr };
    let shown = RefCell::new(None::<ProgressBar>);
    move |transfer| match transfer {
        Transfer::Begins { file, have, total } => {
            let template = "{msg} [{bar:40}] {bytes}/{total_bytes} ({bytes_per_sec}, {left} left)";
            let style = bar_style(template, have);
            let bar = ProgressBar::with_draw_target(total, target());
            let bar = bar.with_style(style).with_message(file.to_owned());
            // Bytes from an earlier download do not count towards the speed: set the position, then start the clock.
            bar.set_position(have);
            bar.tick();
            bar.reset_eta();
            if let Some(before) = shown.replace(Some(bar)) {
                before.finish_and_clear();
            }
        }
        Transfer::Decodes { done, files } => {
            let mut shown = shown.borrow_mut();
            let bar = shown.get_or_insert_with(|| {
                let style = bar_style("decoding images {pos}/{len} [{bar:32}]  {left} left", 0);
                ProgressBar::with_draw_target(Some(files as u64), target()).with_style(style)
            });
            bar.set_position(done as u64);
        }
        Transfer::Has(bytes) => shown.borrow().iter().for_each(|bar| bar.set_position(bytes)),
        Transfer::Ends => shown.take().iter().for_each(ProgressBar::finish_and_clear),
    }
}

/// A fraction as text.
fn percent(value: f64) -> String {
    format!("{:.2}%", 100.0 * value)
}

/// The figures of a run and the paths of its files, a line each.
pub fn report(outcome: &Outcome, out: &Path, synthetic: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(test) = outcome.test.as_ref().filter(|test| !test.accuracy.is_nan()) {
        let label = if synthetic { " (SYNTHETIC data)" } else { "" };
        let accuracy = 100.0 * test.accuracy;
        lines.push(format!(
            "test accuracy{label}  {accuracy:.2}%  (the model that was best on held-out images)"
        ));
    }
    if let (Some(start), Some(test)) = (&outcome.start, &outcome.test) {
        let line = |name: &str, of: fn(&Evaluation) -> String| {
            format!("  {name:<18} {:>10} {:>10}", of(start), of(test))
        };
        lines.push(format!("  {:<18} {:>10} {:>10}", "test images", "start", "best"));
        lines.push(line("accuracy", |e| percent(e.accuracy)));
        lines.push(line("calibration error", |e| percent(e.calibration_error)));
        lines.push(line("cross-entropy", |e| format!("{:.4}", e.cross_entropy)));
    }
    if outcome.trips > 0 {
        let events = out.join("events.jsonl");
        lines.push(format!("healed          {}; see {}", counted(outcome.trips, "fault"), events.display()));
    }
    if let Some(last) = &outcome.last {
        let gap = last.energy_gap();
        let samples = match gap.is_nan() {
            true => String::new(),
            false => format!(", samples {:.2}, gap {gap:+.2}", last.energy_samples),
        };
        lines.push(format!("energies        data {:.2}{samples}", last.energy_data));
    }
    if let Some(fresh) = outcome.fresh.filter(|fresh| !fresh.is_healthy()) {
        let FreshGap { iteration, multiple, data, fresh: energy } = fresh;
        lines.push(format!(
            "fresh chains    energy {energy:.2} after {multiple} × K steps at iteration {iteration}, held-out data \
             {data:.2}: beyond the bound of {} (docs/healthy-runs.md)",
            FreshGap::BOUND
        ));
    }
    let mut line = |name: &str, path: &Path| lines.push(format!("{name:<15} {}", path.display()));
    if let Some(samples) = &outcome.samples {
        line("samples", samples);
    }
    line("curves", &outcome.curves);
    if let Some(best) = &outcome.best {
        line("best model", best);
    }
    line("checkpoint", &outcome.checkpoint);
    line("TensorBoard", &out.join("tensorboard"));
    lines
}

/// Suggests a `command` to continue with the run in `out`.
pub fn next(outcome: &Outcome, out: &Path, command: &str) -> Vec<String> {
    let out = quoted(&out.display().to_string());
    let done = outcome.iterations;
    if outcome.interrupted {
        return vec![
            format!("stopped at iteration {done}; resume with"),
            format!("  {command} --resume {out}"),
        ];
    }
    let more = format!("  {command} --resume {out} --iterations {}", 2 * done);
    vec!["next: train longer".into(), more]
}

/// A word quoted for a shell, if necessary.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:+,".contains(c);
    if word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Says of a setting that a file leaves open that `jem import` settles it: the other commands have no flags for it.
pub fn by_import(path: &Path, error: Error) -> Error {
    match error {
        Error::Setting { key, message } => {
            let name = path.display().to_string();
            // Such messages begin with the path already.
            let message = message.strip_prefix(&format!("{name}: ")).unwrap_or(&message);
            let hint = format!("jem import {} --{key} … --out M.safetensors settles it", quoted(&name));
            Error::file(path, format!("{message}; {hint}"))
        }
        other => other,
    }
}
