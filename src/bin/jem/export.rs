//! `jem export`: writes a model as a file that PyTorch or NumPy opens, under the public names of its tensors.

use crate::common::{Output, check_not_source, check_writable, describe, open_model_with, waiting};
use crate::facts::Facts;
use jem::Result;
use jem::ebm::{CHAIN_AGES, SpectralForm};
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Array;
use jem::io::npz;
use std::collections::HashSet;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  jem export --model M --to safetensors --out for_pytorch.safetensors
  jem export --model M --to npz --weights-only --out weights.npz

In PyTorch:
  state = safetensors.torch.load_file(\"for_pytorch.safetensors\")
  network.load_state_dict(state)";

/// A format to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Safetensors,
    Npz,
}

/// Export a model for PyTorch or NumPy, under the public names of its tensors
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model file, or a run directory, for its best.safetensors
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Output format: safetensors or npz
    #[arg(long)]
    to: Format,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Export only the tensors that the network uses: no optimizer state
    #[arg(long)]
    weights_only: bool,
    /// Export the chains of training too: the replay buffer, and their ages
    #[arg(long, conflicts_with = "weights_only")]
    chains: bool,
    /// With spectral norm: divide the weights, for a network without it. By default they are exported as parts, which
    /// PyTorch's `spectral_norm` loads
    #[arg(long)]
    fold: bool,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_writable("--out", &arguments.out)?;
    let model = open_model_with(&arguments.model, &arguments.output, arguments.chains)?;
    check_not_source(&arguments.out, model.path())?;
    let spectral = if arguments.fold { SpectralForm::Divided } else { SpectralForm::Parts };
    let Checkpoint { tensors, metadata } = model.for_pytorch(spectral)?;
    let used: HashSet<&str> = model.used_names().collect();
    let is_used = |name: &str| {
        let plain = name.strip_suffix("_orig").unwrap_or(name);
        [name, plain, &format!("{name}_orig")].iter().any(|name| used.contains(name))
    };
    let is_exported =
        |name: &str| (!arguments.weights_only || is_used(name)) && (arguments.chains || name != CHAIN_AGES);
    let tensors = tensors.into_iter().filter(|(name, ..)| is_exported(name));
    let waiting = waiting(&format!("writing {}", arguments.out.display()), &arguments.output);
    let count = match arguments.to {
        Format::Safetensors => {
            let file = Checkpoint { tensors: tensors.collect(), metadata };
            file.save(&arguments.out)?;
            file.tensors.len()
        }
        Format::Npz => {
            let arrays: Vec<_> =
                tensors.map(|(name, shape, elements)| (name, Array { shape, elements })).collect();
            npz::write(&arguments.out, &arrays)?;
            arrays.len()
        }
    };
    drop(waiting);
    let mut facts = Facts::default();
    facts.text("model", describe(&model));
    facts.add("tensors", count.to_string(), count);
    if model.network().layout().has_spectral_norm() {
        facts.text(
            "spectral norm",
            match spectral {
                SpectralForm::Parts => {
                    "weight_orig beside weight_u and weight_v, for torch.nn.utils.spectral_norm"
                }
                SpectralForm::Divided => "divided into the weights, for a network without it",
            },
        );
    }
    facts.text("wrote", arguments.out.display().to_string());
    facts.print(arguments.output.json);
    Ok(())
}
