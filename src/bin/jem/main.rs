//! The command-line tool: images in, trained models out; models in, energies, probabilities, gradients and samples out.

mod ablate;
mod class_names;
mod common;
mod data;
mod devices;
mod eval;
mod export;
mod facts;
mod import;
mod info;
mod labels;
mod pictures;
mod report;
mod sample;
mod score;
mod session;
mod train;
mod tune;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  jem devices --test
  jem train --recipe jem --data cifar10 --out runs/mine
  jem import checkpoint.pt --out model.safetensors
  jem score --model model.safetensors --images cifar10:test --out scores.npz
  jem eval --model model.safetensors --data cifar10 --out report
  jem sample --model model.safetensors --steps 200 --film --out samples";

/// Train classifiers as energy-based models, and use them.
///
/// Computes energies, probabilities, input gradients and samples of a classifier trained here or elsewhere.
#[derive(Debug, Parser)]
#[command(name = "jem", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Devices(devices::Arguments),
    Data(data::Arguments),
    Train(Box<train::Arguments>),
    Ablate(Box<ablate::Arguments>),
    Report(report::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Info(info::Arguments),
    Score(score::Arguments),
    Eval(Box<eval::Arguments>),
    Sample(sample::Arguments),
    Tune(tune::Arguments),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  jem completions bash > ~/.local/share/bash-completion/completions/jem"
    )]
    Completions {
        /// Shell: bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    jem::self_test::serve();
    let result = match Arguments::parse().command {
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::Train(arguments) => return session::end(train::run(&arguments)),
        Command::Ablate(arguments) => return session::end(ablate::run(&arguments)),
        Command::Report(arguments) => report::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Info(arguments) => info::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::Eval(arguments) => return facts::status(session::end(eval::run(&arguments))),
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Completions { shell } => {
            // Generate into memory: `generate` panics when a write fails.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "jem", &mut script);
            facts::say(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    };
    facts::status(session::end(result))
}
