//! `jem import`: writes a PyTorch checkpoint as a model file.

use crate::class_names;
use crate::common::{Output, check_not_source, check_writable, describe, waiting};
use crate::facts::{Facts, number};
use jem::ebm::{ImportOptions, InputNormalisation, Model};
use jem::io::ending;
use jem::nn::architecture::{Architecture, Assumption, Choices};
use jem::nn::ingredients::{Activation, Norm, Pooling};
use jem::words::noun;
use jem::{Error, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  jem import CIFAR10_MODEL.pt --out jem.safetensors
  jem import resnet20.th --out resnet20.safetensors \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --classes cifar10
  jem import jem_with_norms.pt --out m.safetensors --norm group:4
  jem import lightning.ckpt --out m.safetensors --key state_dict --prefix model.";

/// Import a PyTorch checkpoint (.pt, .pth, .th, .ckpt, .safetensors) as a model file
///
/// Reads WideResNets of JEM, JEM++ and other public code, ResNets for CIFAR and ImageNet, and VGGs with batch norm. The
/// names and shapes of the tensors tell the architecture, depth, width and classes. Each setting that they do not tell
/// for certain is printed, and can be stated. Pickles are read by an interpreter that runs no code.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The checkpoint, or a run directory, for its best.safetensors; the format is detected from the contents, not the
    /// extension
    checkpoint: PathBuf,
    /// The model file to write (safetensors)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Architecture that the file must have, such as wrn-28-10, resnet-20, resnet-18 or vgg-16 [default: any]
    #[arg(long)]
    arch: Option<Architecture>,
    /// Activation: relu, leaky-relu (slope 0.2), leaky-relu:SLOPE, silu or softplus [default: that of the code whose names
    /// the tensors have]
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Norm without running statistics: instance, layer or group:G with G groups
    #[arg(long, value_name = "NAME")]
    norm: Option<Norm>,
    /// Pooling of features over all pixels: mean or sum [default: mean]
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pooling: Option<Pooling>,
    /// Key of the dictionary of tensors, where a file has several, such as `ema_state_dict`
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Beginning of the tensors' names, where a file has several networks, such as module.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Names of the classes, in the order of the logits: a text file with a name a line, or a data set, such as cifar10
    #[arg(long, value_name = "FILE|SET")]
    classes: Option<String>,
    /// Rows and columns of the images: `N` or `HxW` [default: those that the network was published with]
    #[arg(long, value_name = "N", value_parser = image_size)]
    image_size: Option<[usize; 2]>,
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
    if let Some(ending @ ("pt" | "pth" | "npz")) = ending(&arguments.out).as_deref() {
        let message = format!("import writes safetensors; jem export writes .{ending}");
        return Err(Error::setting("--out", message));
    }
    let stated = match (&arguments.mean, &arguments.std) {
        (Some(mean), Some(std)) => Some(InputNormalisation { mean: mean.clone(), std: std.clone() }),
        _ => None,
    };
    let waiting = waiting(&format!("importing {}", arguments.checkpoint.display()), &arguments.output);
    let options = ImportOptions {
        size: arguments.arch.clone(),
        choices: Choices {
            activation: arguments.activation,
            norm: arguments.norm,
            pooling: arguments.pooling,
        },
        normalisation: stated,
        key: arguments.key.clone(),
        prefix: arguments.prefix.clone(),
        class_names: arguments
            .classes
            .as_deref()
            .map(|text| class_names::read("--classes", text))
            .transpose()?,
        image_size: arguments.image_size,
        without_chains: false,
    };
    let model = Model::import(&arguments.checkpoint, options)?;
    check_not_source(&arguments.out, "the model", model.path())?;
    model.save(&arguments.out)?;
    drop(waiting);
    let mut facts = Facts::default();
    facts.text("model", describe(&model));
    facts.value("parameters", model.network().layout().elements());
    if let Some(source) = model.file().metadata.get("source") {
        facts.text("source", source.clone());
    }
    settings(&model, &mut facts);
    if let Some(chains) = model.chains() {
        facts.add("replay buffer", format!("{} {}", number(chains), noun(chains, "chain")), chains);
    }
    facts.text("wrote", arguments.out.display().to_string());
    facts.print(arguments.output.json);
    Ok(())
}

/// Adds the normalisation and the names of the classes, and a line for each setting that the file does not tell for
/// certain.
pub fn settings(model: &Model, facts: &mut Facts) {
    if let Some(n) = model.normalisation() {
        let text = format!("mean {:?}, std {:?} of pixels in [0, 1]", n.mean, n.std);
        facts.add("normalisation", text, serde_json::json!(n));
    }
    if let Some(names) = model.class_names() {
        facts.add("class names", names.join(", "), serde_json::json!(names));
    }
    for assumption in model.assumptions() {
        let Assumption { setting, value, reason, guess } = assumption;
        let text =
            if *guess { format!("{value}  (a guess: {reason})") } else { format!("{value}  ({reason})") };
        facts.line(setting, text);
    }
    facts.value("assumptions", serde_json::json!(model.assumptions()));
}

/// Rows and columns from `N` or `HxW`.
fn image_size(text: &str) -> std::result::Result<[usize; 2], String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=4096).contains(side));
    let (rows, columns) = text.split_once('x').unwrap_or((text, text));
    match (side(rows), side(columns)) {
        (Some(rows), Some(columns)) => Ok([rows, columns]),
        _ => Err("expected N or HxW, such as 32 or 224x224".into()),
    }
}
