//! What programs that train share: what they print, how they stop, how they choose a preset.

use super::run::RunOptions;
use super::{BatchLayout, Outcome, Overrides, Precision, Preset, Recipe, RunDirectory, choose, run};
use crate::data::Dataset;
use crate::data::training::Source;
use crate::device::{CooperativeChoice, Device, DeviceOptions, DeviceSpec};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::nn::network::Network;
use crate::report::progress::announce;
use crate::self_test::is_gate_pending;
use crate::tuning;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C, SIGTERM and SIGHUP.
static STOP: AtomicBool = AtomicBool::new(false);

/// The device flags of a command that may compute in f16.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DeviceArguments {
    /// Device: auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    pub device: DeviceSpec,
    /// Variant of the shaders that use tensor cores: any (the first that passes a test on this GPU), none, naga, patched,
    /// flat or flat-patched [default: `JEM_COOPERATIVE`, else any]
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
    /// As [`tuning::open`].
    pub fn open(&self) -> Result<Device> {
        tuning::open(&self.device, self.options())
    }
}

/// A device to train on, and a terminal.
#[derive(Debug)]
pub struct Session {
    arguments: DeviceArguments,
    device: Device,
    quiet: bool,
}

/// Where a run goes, and what it goes on from.
#[derive(Debug, Clone)]
pub struct Job {
    /// The run directory.
    pub out: PathBuf,
    /// Go on from its newest checkpoint.
    pub resume: bool,
    /// Show it as a live view.
    pub live: bool,
    /// Where its data comes from, for the run directory to remember.
    pub source: Source,
}

impl Session {
    /// Opens a device and says which; nothing is said if `quiet`.
    ///
    /// # Errors
    /// As [`tuning::open`].
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

    /// Opens the device again, for a run that must not mind what became of it in the one before.
    ///
    /// # Errors
    /// As [`tuning::open`].
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

    /// The preset that was `asked` for, else by [`choose`]; `recipe` makes a preset's recipe.
    ///
    /// # Errors
    /// As [`choose`].
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
        let choice = choose(&self.device, train, recipe)?;
        choice.lines().iter().for_each(|line| self.say(line));
        Ok(choice.preset)
    }

    /// Says why the next step may take a minute if the device's tensor cores were not tested before.
    fn announce_gate(&self, recipe: &Recipe) {
        if recipe.precision != Precision::F32 && is_gate_pending(&self.device) {
            self.say("f16     testing this GPU's tensor cores, once for this driver …");
        }
    }

    /// Says what is trained on `train`.
    pub fn describe(&self, recipe: &Recipe, train: &Dataset) {
        self.say(&format!(
            "model   WRN-{}-{}, batch {}, K = {}, {} iterations, p(x) weight {}",
            recipe.depth,
            recipe.width,
            recipe.batch,
            if recipe.samples() { recipe.steps } else { 0 },
            recipe.total_iterations(train.len().saturating_sub(recipe.validation)),
            recipe.p_x
        ));
    }

    /// [`run`]s `recipe` until its end or until Ctrl-C; a device that is lost is opened again.
    ///
    /// # Errors
    /// As [`run`].
    pub fn train(&self, recipe: &Recipe, train: &Dataset, test: &Dataset, job: &Job) -> Result<Outcome> {
        self.announce_gate(recipe);
        let reopen = || self.arguments.open();
        let options = RunOptions {
            network: None,
            out: job.out.clone(),
            resume: job.resume,
            source: Some(&job.source),
            quiet: self.quiet,
            live: job.live,
            stop: &STOP,
            reopen: Some(&reopen),
            visit: None,
        };
        run(&self.device, recipe, train, test, options)
    }
}

/// Prints a line. The terminal may be gone, which must not keep a run from going on.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Ends a run after its current iteration at Ctrl-C, SIGTERM or SIGHUP ([`interrupt::handle`]); a second signal ends the
/// process at once.
///
/// # Errors
/// [`Error::Setting`] if `ctrlc` already has a handler in this process, or the system refuses.
pub fn stop_on_interrupt() -> Result<()> {
    let handler = interrupt::handle(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        announce("stopping after this iteration, with a checkpoint; Ctrl-C again stops at once");
    });
    handler.map_err(|error| Error::setting("Ctrl-C", error.to_string()))
}

/// Whether Ctrl-C has come.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// What `--preset` asks for; `None`: auto.
///
/// # Errors
/// [`Error::Setting`] with what there is.
pub fn asked_preset(text: &str) -> Result<Option<Preset>> {
    if text == "auto" {
        return Ok(None);
    }
    let wrong = |_| Error::setting("--preset", format!("expected auto, tiny, small or paper, got {text:?}"));
    text.parse().map(Some).map_err(wrong)
}

/// The recipe of `preset`'s size that `overrides` ask for, as [`Recipe::of`], with what suits `train` where they do not
/// say: a tenth of it is held out if the preset's images were more than a fifth, digits are not flipped (Grathwohl
/// et al.'s code flips CIFAR, not SVHN), and the learning rate of a preset of so many iterations decays after the same
/// number of images whatever the size of the set.
pub fn recipe(preset: Preset, overrides: &[&Overrides], train: &Dataset) -> Recipe {
    let mut recipe = Recipe::of(preset, overrides);
    let asked = |set: fn(&Overrides) -> bool| overrides.iter().any(|overrides| set(overrides));
    if !asked(|overrides| overrides.validation.is_some()) && recipe.validation > train.len() / 5 {
        recipe.validation = (train.len() / 10).max(1);
    }
    if !asked(|overrides| overrides.flip.is_some()) && train.is_of_digits() {
        recipe.flip = false;
    }
    if !asked(|overrides| overrides.decay_at.is_some()) {
        recipe.decay_as_on_cifar_10(preset, train.len().saturating_sub(recipe.validation));
    }
    recipe
}

/// The recipe of the run in `directory`, with `overrides` over its `config.toml`.
///
/// # Errors
/// [`Error::File`] if there is no run or its settings are damaged; [`Error::Setting`] if it is to become another
/// recipe.
pub fn resumed_recipe(directory: &Path, overrides: &Overrides) -> Result<Recipe> {
    let config = RunDirectory::config(directory)?;
    let mut recipe = Recipe::of(Preset::Paper, &[&Overrides::from_file(&config)?]);
    if let Some(asked) = overrides.recipe.filter(|asked| *asked != recipe.recipe) {
        let message =
            format!("{} is a run of {}, which cannot become {asked}", directory.display(), recipe.recipe);
        return Err(Error::setting("--recipe", message));
    }
    recipe.apply(overrides);
    Ok(recipe)
}

/// Checks a recipe on the images of `train`, before anything is opened or made.
///
/// # Errors
/// [`Error::Setting`] with the key, the allowed range and what was found.
pub fn check(recipe: &Recipe, train: &Dataset) -> Result<()> {
    Network::check(&recipe.network(train.classes(), train.channels))?;
    if recipe.validation == 0 {
        let message = "must be at least 1, got 0: the best model is chosen on the held-out images";
        return Err(Error::setting("validation", message));
    }
    train.check_split(recipe.validation)?;
    recipe.check(train.len() - recipe.validation, train.classes())?;
    BatchLayout::new(recipe, train.height, train.width, train.channels).check(recipe.pad)
}

/// What a run came to and where it is, a line each.
pub fn report(outcome: &Outcome, out: &Path, synthetic: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(test) = outcome.test.as_ref().filter(|test| !test.accuracy.is_nan()) {
        let label = if synthetic { " (SYNTHETIC data)" } else { "" };
        let accuracy = 100.0 * test.accuracy;
        lines.push(format!(
            "test accuracy{label}  {accuracy:.2}%  (the model that was best on held-out images)"
        ));
    }
    if outcome.trips > 0 {
        let events = out.join("events.jsonl");
        lines.push(format!("healed          {} faults; see {}", outcome.trips, events.display()));
    }
    if let Some(last) = &outcome.last {
        let gap = last.energy_gap();
        let samples = match gap.is_nan() {
            true => String::new(),
            false => format!(", samples {:.2}, gap {gap:+.2}", last.energy_samples),
        };
        lines.push(format!("energies        data {:.2}{samples}", last.energy_data));
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

/// How to go on with a run in `out` by `command`.
pub fn next(outcome: &Outcome, out: &Path, command: &str) -> Vec<String> {
    let out = out.display();
    let done = outcome.iterations;
    if outcome.interrupted {
        return vec![
            format!("stopped at iteration {done}; go on with"),
            format!("  {command} --resume {out}"),
        ];
    }
    let more = format!("  {command} --resume {out} --iterations {}", 2 * done);
    vec!["next: train longer".into(), more]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::synthetic;

    /// The iterations before which the learning rate is another than after.
    fn decays(recipe: &Recipe, images: usize) -> Vec<u64> {
        let rate = |iteration| recipe.learning_rate(iteration, images);
        let warm = recipe.warmup..recipe.total_iterations(images);
        warm.filter(|&iteration| rate(iteration) < rate(iteration - 1)).collect()
    }

    #[test]
    fn the_learning_rate_of_a_short_run_decays_as_on_cifar_10() {
        let train = synthetic(2000, 0, 1).0;
        let of = |preset, overrides: Overrides| {
            let recipe = recipe(preset, &[&overrides], &train);
            let decays = decays(&recipe, train.len() - recipe.validation);
            (recipe, decays)
        };
        // There the preset says 0.45 epochs, which here would be after 25 iterations.
        let (tiny, found) = of(Preset::Tiny, Overrides::default());
        assert_eq!((tiny.validation, found), (200, vec![675]));
        let mut cifar = Preset::Tiny.recipe();
        cifar.decay_as_on_cifar_10(Preset::Tiny, 48_000);
        assert_eq!(cifar, Preset::Tiny.recipe(), "the preset on its own set is the preset");
        // A longer run is the same up to where a shorter one ends.
        let long = Overrides { iterations: Some(1600), ..Overrides::default() };
        assert_eq!(of(Preset::Tiny, long.clone()).1, [675]);
        // What is said stays, and so does a run of epochs.
        let said = Overrides { decay_at: Some(vec![1.0]), ..long };
        assert_eq!(of(Preset::Tiny, said).0.decay_at, [1.0]);
        assert_eq!(of(Preset::Small, Overrides::default()).0.decay_at, [14.0, 18.0]);
    }
}
