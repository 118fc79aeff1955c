//! `jem import`: writes a PyTorch checkpoint as a model file.

use crate::common::{Output, check_not_source, check_writable, describe, waiting};
use crate::facts::{Facts, number};
use crate::session::flags::Flags as _;
use jem::ebm::{ImportOptions, InputNormalisation, Model};
use jem::nn::architecture::Architecture;
use jem::{Error, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  jem import CIFAR10_MODEL.pt --out jem.safetensors
  jem import resnet20.th --out resnet20.safetensors \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";

/// Import a PyTorch checkpoint (.pt, .pth, .th, .safetensors) as a model file
///
/// Architecture, depth, width, norm and classes are inferred from the names and shapes of the tensors. Pickles are read
/// by an interpreter that runs no code.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The checkpoint, or a run directory, for its best.safetensors; the format is detected from the contents, not the
    /// extension
    checkpoint: PathBuf,
    /// The model file to write (safetensors)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Architecture, such as wrn-28-10, wrn-28-10-bn, wrn-28-10-gn or resnet-20 [default: inferred]
    #[arg(long)]
    arch: Option<Architecture>,
    /// Mean of each channel that the classifier's images were normalised with, for pixels in [0, 1]
    #[arg(long, value_delimiter = ',', requires = "std", allow_negative_numbers = true)]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel that they were divided by, for pixels in [0, 1]
    #[arg(long, value_delimiter = ',', requires = "mean", allow_negative_numbers = true)]
    std: Option<Vec<f32>>,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_writable("--out", &arguments.out)?;
    let stated = match (&arguments.mean, &arguments.std) {
        (Some(mean), Some(std)) => Some(InputNormalisation { mean: mean.clone(), std: std.clone() }),
        _ => None,
    };
    let waiting = waiting(&format!("importing {}", arguments.checkpoint.display()), &arguments.output);
    let options = ImportOptions { architecture: arguments.arch, normalisation: stated };
    let mut model = Model::import(&arguments.checkpoint, options);
    if matches!(&model, Err(Error::File { message, .. }) if message.contains("architecture")) {
        model = model.hint("--arch names it");
    }
    let model = model?;
    check_not_source(&arguments.out, model.path())?;
    model.save(&arguments.out)?;
    drop(waiting);
    let mut facts = Facts::default();
    facts.text("model", describe(&model));
    facts.value("parameters", model.network().layout().elements());
    if let Some(source) = model.file().metadata.get("source") {
        facts.text("source", source.clone());
    }
    if let Some(n) = model.normalisation() {
        facts.add("normalisation", normalisation(n), serde_json::json!(n));
    }
    if let Some(chains) = model.chains() {
        facts.add("replay buffer", format!("{} chains", number(chains)), chains);
    }
    facts.text("wrote", arguments.out.display().to_string());
    facts.print(arguments.output.json);
    Ok(())
}

/// A normalisation as text for people.
pub fn normalisation(normalisation: &InputNormalisation) -> String {
    format!("mean {:?}, std {:?} of pixels in [0, 1]", normalisation.mean, normalisation.std)
}
