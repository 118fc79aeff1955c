//! Trains a joint energy-based model on CIFAR-10: classifier, density and generator in one network.

use clap::Parser;
use jem::Result;
use jem::data::download::Fetched;
use jem::data::training::{SYNTHETIC, Source};
use jem::data::{Dataset, cifar, locate, synthetic};
use jem::device::Device;
use jem::jem::session::{self, DeviceArguments, Job, Session};
use jem::jem::{Overrides, Recipe, RunDirectory, Trainer};
use jem::report::profile::table;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    #[command(flatten)]
    device: DeviceArguments,
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

fn main() -> ExitCode {
    jem::self_test::serve();
    match train(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train(arguments: &Arguments) -> Result<()> {
    let file = arguments.config.as_deref().map(Overrides::from_file).transpose()?.unwrap_or_default();
    let asked = session::asked_preset(&arguments.preset)?;
    let session = Session::open(&arguments.device, arguments.quiet)?;
    let (source, train, test) = data(arguments, &session)?;
    let (name, recipe) = match &arguments.resume {
        Some(directory) => ("resumed".to_owned(), session::resumed_recipe(directory, &arguments.overrides)?),
        None => {
            let of = |preset| session::recipe(preset, &[&file, &arguments.overrides], &train);
            let preset = session.preset(asked, &train, of)?;
            (preset.to_string(), of(preset))
        }
    };
    let out = match (&arguments.resume, &arguments.out) {
        (Some(directory), _) | (None, Some(directory)) => directory.clone(),
        (None, None) => RunDirectory::fresh(Path::new("runs"), &format!("{}-{name}", source.data)),
    };
    session.describe(&recipe, &train);
    if arguments.profile {
        return profile(session.device(), &recipe, &train);
    }
    session.say(&format!("run     {}", out.display()));
    session::stop_on_interrupt()?;
    let job = Job { out, resume: arguments.resume.is_some(), live: arguments.live, source };
    let outcome = session.train(&recipe, &train, &test, &job)?;
    session::report(&outcome, &job.out, test.synthetic).iter().for_each(|line| session::say(line));
    let next = session::next(&outcome, &job.out, "cargo run --release --example train_cifar --");
    next.iter().for_each(|line| session::say(line));
    Ok(())
}

/// CIFAR-10, or the embedded drawings where it cannot be had, and which.
fn data(arguments: &Arguments, session: &Session) -> Result<(Source, Dataset, Dataset)> {
    let directory = match arguments.synthetic {
        true => None,
        false => match locate::cifar10("--data", arguments.data.as_deref(), arguments.quiet)? {
            Fetched::Ready(directory) => Some(directory),
            Fetched::Unavailable { reason } => {
                eprintln!("CIFAR-10 is not to be had ({reason}); training on synthetic drawings instead");
                None
            }
        },
    };
    let Some(directory) = directory else {
        let (train, test) = synthetic::synthetic(50_000, 10_000, 0);
        session.say(
            "data    SYNTHETIC drawings of ten classes, not CIFAR-10: 50000 training and 10000 test images",
        );
        return Ok((Source::new(SYNTHETIC, None)?, train, test));
    };
    let (train, test) = cifar::load(&directory)?;
    let (n, m) = (train.len(), test.len());
    session.say(&format!("data    {}: {n} training and {m} test images", directory.display()));
    Ok((Source::new("cifar10", Some(&directory))?, train, test))
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
