//! Trains a joint energy-based model on CIFAR-10: classifier, density and generator in one network.

#[allow(dead_code, reason = "`jem` uses the rest")]
#[path = "../src/bin/jem/session/mod.rs"]
mod session;

use clap::Parser;
use jem::data::download::Fetched;
use jem::data::locate;
use jem::data::training::{DataSource, SYNTHETIC};
use jem::{Error, Result};
use session::training::TrainingArguments;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  train_cifar                        # at a size that suits this machine
  train_cifar --preset small --device gpu
  train_cifar --preset tiny --steps 10 --lr 1e-3 --out runs/mine
  train_cifar --config runs/mine/config.toml --seed 2
  train_cifar --resume runs/mine

Run it by `cargo run --release --example train_cifar -- FLAGS`.";

/// Train a joint energy-based model on CIFAR-10.
///
/// One network becomes a classifier p(y|x), a density p(x) and a generator.
#[derive(Debug, Parser)]
#[command(name = "train_cifar", after_help = EXAMPLES, args_override_self = true)]
struct Arguments {
    /// Directory with CIFAR-10's binary version [default: $JEM_DATA, ./data, the user's cache, else downloaded]
    #[arg(long, value_name = "DIR", alias = "data")]
    data_dir: Option<PathBuf>,
    /// Train on synthetic drawings instead of CIFAR-10
    #[arg(long)]
    synthetic: bool,
    #[command(flatten)]
    training: TrainingArguments,
}

fn main() -> ExitCode {
    jem::self_test::serve();
    session::end(train(&Arguments::parse()))
}

fn train(Arguments { data_dir, synthetic, training }: &Arguments) -> Result<ExitCode> {
    let is_own = |source: &DataSource| ["cifar10", SYNTHETIC].contains(&source.data.as_str());
    let unnamed = data_dir.is_none() && !synthetic;
    let run = training.prepare(|recorded| match recorded.filter(|_| unnamed) {
        Some(remembered) if is_own(&remembered) => Ok(remembered),
        Some(other) => {
            Err(Error::setting("data", format!("{} is not CIFAR-10; use `jem train`", other.data)))
        }
        None if *synthetic => DataSource::new(SYNTHETIC, None),
        None => match locate::cifar10(data_dir.as_deref(), &session::download_bar(training.quiet)) {
            Ok(Fetched::Ready(directory)) => DataSource::new("cifar10", Some(&directory)),
            Ok(Fetched::Unavailable { reason }) => {
                eprintln!("CIFAR-10 cannot be downloaded ({reason}); training on synthetic drawings instead");
                DataSource::new(SYNTHETIC, None)
            }
            Err(error) => Err(error),
        },
    })?;
    run.run(|outcome| session::next(outcome, &run.job.out, "cargo run --release --example train_cifar --"))
}
