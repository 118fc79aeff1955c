//! `jem report`: a run as one page.

use crate::common::{Output, waiting};
use crate::facts::Facts;
use jem::Result;
use jem::ebm::RunDirectory;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  jem report runs/mine
  jem report runs/mine --json

The run may still be training. docs/healthy-runs.md shows good, diverging and collapsed runs.";

/// Write report.html into a run directory: figures, curves, samples, healed faults and settings
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The run directory
    run: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let waiting = waiting("drawing the curves", &arguments.output);
    let report = RunDirectory::report(&arguments.run)?;
    drop(waiting);
    let mut facts = Facts::default();
    facts.text("report", report.display().to_string());
    facts.print(arguments.output.json);
    Ok(())
}
