//! Trains a joint energy-based model on CIFAR-10: classifier, density and generator in one network.

use clap::Parser;
use jem::data::download::Fetched;
use jem::data::{Dataset, cifar, locate, synthetic};
use jem::device::{Device, DeviceOptions, DeviceSpec};
use jem::jem::{Choice, Outcome, Overrides, Preset, Recipe, RunDirectory, RunOptions, Trainer, choose, run};
use jem::report::profile::table;
use jem::report::progress::announce;
use jem::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "Examples:
  cargo run --release --example train_cifar
      finds or downloads CIFAR-10, takes the largest preset that this machine finishes in reasonable time
  cargo run --release --example train_cifar -- --preset small --device gpu
  cargo run --release --example train_cifar -- --preset tiny --steps 10 --lr 1e-3 --out runs/mine
  cargo run --release --example train_cifar -- --config runs/mine/config.toml --seed 2
  cargo run --release --example train_cifar -- --resume runs/mine";

/// Train a joint energy-based model on CIFAR-10.
///
/// One network becomes a classifier p(y|x), a density p(x) and a generator.
#[derive(Debug, Parser)]
#[command(name = "train_cifar", after_help = EXAMPLES, args_override_self = true)]
struct Arguments {
    /// Directory with CIFAR-10's binary version [default: $JEM_DATA, ./data, the user's cache, download]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// auto, tiny (minutes on a CPU), small (WRN-16-4, hours on a GPU) or paper (WRN-28-10, days)
    #[arg(long, default_value = "auto")]
    preset: String,
    /// auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// TOML file of settings, applied over the preset and under the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run directory [default: a new one under runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "config"])]
    resume: Option<PathBuf>,
    /// Train on the embedded drawings instead of CIFAR-10
    #[arg(long)]
    synthetic: bool,
    /// Time every kernel of one iteration, print where the time goes, and stop
    #[arg(long)]
    profile: bool,
    /// Print nothing but errors and the final figures
    #[arg(long)]
    quiet: bool,
    /// Watch curves and samples in the terminal while it trains
    #[arg(long, conflicts_with_all = ["quiet", "profile"])]
    live: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Set by Ctrl-C and SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    match train(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train(arguments: &Arguments) -> Result<()> {
    let say = |line: &str| {
        if !arguments.quiet {
            println!("{line}");
        }
    };
    let file = arguments.config.as_deref().map(Overrides::from_file).transpose()?.unwrap_or_default();
    let adjust = |recipe: &mut Recipe| {
        recipe.apply(&file);
        recipe.apply(&arguments.overrides);
    };
    let asked = match arguments.preset.as_str() {
        "auto" => None,
        name => Some(name.parse::<Preset>()?),
    };
    let device = Device::open(&arguments.device, DeviceOptions::default())?;
    say(&format!("device  {}", device.name()));
    if !device.choices().tuned().is_empty() {
        say(&format!("kernels {}", device.choices().summary()));
    }
    let (train, test) = data(arguments, &say)?;
    let (name, recipe) = match (&arguments.resume, asked) {
        (Some(directory), _) => {
            let mut recipe = Preset::Tiny.recipe();
            recipe.apply(&Overrides::from_file(&directory.join("config.toml"))?);
            adjust(&mut recipe);
            ("resumed".to_owned(), recipe)
        }
        (None, Some(preset)) => (preset.to_string(), adjusted(preset, adjust)),
        (None, None) => {
            say("preset  auto: timing a few iterations …");
            let choice = choose(&device, &train, adjust)?;
            explain(&choice, &say);
            (choice.preset.to_string(), adjusted(choice.preset, adjust))
        }
    };
    let data_name = if train.synthetic { "synthetic" } else { "cifar10" };
    let out = match (&arguments.resume, &arguments.out) {
        (Some(directory), _) | (None, Some(directory)) => directory.clone(),
        (None, None) => RunDirectory::fresh(Path::new("runs"), &format!("{data_name}-{name}")),
    };
    say(&format!(
        "model   WRN-{}-{}, batch {}, K = {}, {} iterations, p(x) weight {}",
        recipe.depth,
        recipe.width,
        recipe.batch,
        if recipe.samples() { recipe.steps } else { 0 },
        recipe.total_iterations(train.len().saturating_sub(recipe.validation)),
        recipe.p_x
    ));
    if arguments.profile {
        return profile(&device, &recipe, &train);
    }
    say(&format!("run     {}", out.display()));
    // A second Ctrl-C ends at once.
    let handler = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        announce("stopping after this iteration, with a checkpoint; Ctrl-C again stops at once");
    });
    handler.map_err(|error| Error::setting("Ctrl-C", error.to_string()))?;
    let reopen = || Device::open(&arguments.device, DeviceOptions::default());
    let options = RunOptions {
        out: out.clone(),
        resume: arguments.resume.is_some(),
        quiet: arguments.quiet,
        live: arguments.live,
        stop: &STOP,
        reopen: Some(&reopen),
        visit: None,
    };
    let outcome = run(&device, &recipe, &train, &test, options)?;
    report(&outcome, &out, &test);
    Ok(())
}

fn adjusted(preset: Preset, adjust: impl Fn(&mut Recipe)) -> Recipe {
    let mut recipe = preset.recipe();
    adjust(&mut recipe);
    recipe
}

/// CIFAR-10, or the embedded drawings where it cannot be had.
fn data(arguments: &Arguments, say: &impl Fn(&str)) -> Result<(Dataset, Dataset)> {
    let directory = match arguments.synthetic {
        true => None,
        false => match locate::cifar10(arguments.data.as_deref(), arguments.quiet)? {
            Fetched::Ready(directory) => Some(directory),
            Fetched::Unavailable { reason } => {
                eprintln!("CIFAR-10 is not to be had ({reason}); training on synthetic drawings instead");
                None
            }
        },
    };
    let Some(directory) = directory else {
        let (train, test) = synthetic::synthetic(50_000, 10_000, 0);
        say("data    SYNTHETIC drawings of ten classes, not CIFAR-10: 50000 training and 10000 test images");
        return Ok((train, test));
    };
    let (train, test) = cifar::load(&directory)?;
    say(&format!("data    {}: {} training and {} test images", directory.display(), train.len(), test.len()));
    Ok((train, test))
}

/// The second of two iterations, so that caches and clocks are warm.
fn profile(device: &Device, recipe: &Recipe, train: &Dataset) -> Result<()> {
    let mut trainer = Trainer::new(device, recipe, train)?;
    for program in trainer.programs() {
        println!("{:<8} {}", program.name, program.summary());
    }
    trainer.profile()?;
    for (program, runs, times) in trainer.profile()? {
        print!("\n{}", table(&program, runs, &times));
    }
    Ok(())
}

fn explain(choice: &Choice, say: &impl Fn(&str)) {
    for (preset, seconds) in &choice.estimates {
        let mark = if *preset == choice.preset { "<- taken" } else { "" };
        say(&format!("        {preset:<6} about {:<12} {mark}", duration(*seconds)));
    }
    say("        choose otherwise with --preset tiny, small or paper");
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} seconds"),
        s if s < 5400.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} hours", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}

fn report(outcome: &Outcome, out: &Path, test_data: &Dataset) {
    let label = if test_data.synthetic { " (SYNTHETIC data)" } else { "" };
    if let Some(test) = &outcome.test {
        println!(
            "test accuracy{label}  {:.2}%  (the model that was best on held-out images)",
            100.0 * test.accuracy
        );
    }
    if outcome.trips > 0 {
        println!("healed          {} faults; see {}", outcome.trips, out.join("events.jsonl").display());
    }
    if let Some(last) = &outcome.last {
        println!(
            "energies        data {:.2}, samples {:.2}, gap {:+.2}",
            last.energy_data,
            last.energy_samples,
            last.energy_gap()
        );
    }
    let line = |name: &str, path: &Path| println!("{name:<15} {}", path.display());
    if let Some(samples) = &outcome.samples {
        line("samples", samples);
    }
    line("curves", &outcome.curves);
    if let Some(best) = &outcome.best {
        line("best model", best);
    }
    line("checkpoint", &outcome.checkpoint);
    line("TensorBoard", &out.join("tensorboard"));
    let command = "cargo run --release --example train_cifar --";
    if outcome.interrupted {
        println!(
            "stopped at iteration {}; go on with\n  {command} --resume {}",
            outcome.iterations,
            out.display()
        );
    } else {
        println!(
            "next: train longer\n  {command} --resume {} --iterations {}",
            out.display(),
            2 * outcome.iterations
        );
    }
}
