//! `jem data`: the data sets and their locations.

use crate::common::Output;
use crate::facts::say;
use jem::data::locate;
use jem::data::named::NamedSet;
use jem::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  jem data
  jem data --data-dir ~/datasets --json

Training downloads CIFAR-10 if it is not found; download the other sets from the pages of their authors.";

/// List the data sets known by name, with the directory where each was found, or what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Directory of data sets [default: $JEM_DATA, ./data, the user's cache]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    locate::check(arguments.data_dir.as_deref())?;
    let find = |set: NamedSet| {
        let files = set.find(arguments.data_dir.as_deref());
        (set, files.map(|files| files[0].parent().unwrap_or(Path::new(".")).display().to_string()))
    };
    let sets: Vec<_> = NamedSet::all().map(find).collect();
    if arguments.output.json {
        let object = |(set, found): &(NamedSet, Result<String>)| match found {
            Ok(directory) => json!({ "set": set.to_string(), "directory": directory }),
            Err(error) => json!({ "set": set.to_string(), "directory": null, "missing": error.to_string() }),
        };
        say(&Value::Array(sets.iter().map(object).collect()).to_string());
        return Ok(());
    }
    let width = sets.iter().map(|(set, _)| set.to_string().len()).max().unwrap_or(0);
    for (set, found) in &sets {
        let text = match found {
            Ok(directory) => directory.clone(),
            Err(Error::Setting { .. }) => format!("not found; its files are at {}", set.home()),
            Err(incomplete) => incomplete.to_string(),
        };
        say(&format!("{:<width$}  {text}", set.to_string()));
    }
    Ok(())
}
