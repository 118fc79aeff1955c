//! `jem export`: writes a model as a file that PyTorch or NumPy opens, under the public names of its tensors.

use crate::common::{Output, check_not_source, check_writable, describe, open_model_with, waiting};
use crate::facts::Facts;
use crate::session::complain;
use jem::ebm::{InputNormalisation, SpectralForm};
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Array;
use jem::io::torch::write;
use jem::io::{ending, npz};
use jem::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  jem export --model runs/mine --out model.pt
  jem export --model M --out model.safetensors
  jem export --model M --out weights.npz --weights-only

In PyTorch, with a network whose layers have these names:
  network.load_state_dict(torch.load(\"model.pt\", weights_only=True))
  network.load_state_dict(safetensors.torch.load_file(\"model.safetensors\"))
  network.eval()

The command prints how the network's images are scaled.

A file of an imported model keeps heads that the model does not use, such as JEM's
energy_output, so that the network it came from loads all of it; --weights-only leaves them
out. --training-state adds the tensors of the file that no network of PyTorch has: the replay
buffer, the ages of its chains, the optimizer's state, and the weights beside their moving
averages.";

/// A format to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Pt,
    Safetensors,
    Npz,
}

impl Format {
    /// The format that the ending of a path names.
    fn of(path: &Path) -> Result<Self> {
        match ending(path).as_deref() {
            Some("pt" | "pth") => Ok(Self::Pt),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npz") => Ok(Self::Npz),
            _ => {
                let path = path.display();
                Err(Error::setting(
                    "--to",
                    format!("give pt, safetensors or npz: {path} ends in none of them"),
                ))
            }
        }
    }
}

/// Export a model for PyTorch or NumPy, under the public names of its tensors
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model file, or a run directory, for its best.safetensors
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Output format: pt (as torch.save writes it), safetensors or npz [default: by the ending of --out]
    #[arg(long)]
    to: Option<Format>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Export only the tensors that the network uses, without the other heads in the file of an imported model
    #[arg(long)]
    weights_only: bool,
    /// Export the state of the training too: replay buffer, ages of chains, optimizer, weights beside their averages
    #[arg(long, conflicts_with = "weights_only")]
    training_state: bool,
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
    let to = arguments.to.map_or_else(|| Format::of(&arguments.out), Ok)?;
    let model = open_model_with(&arguments.model, &arguments.output, arguments.training_state)?;
    check_not_source(&arguments.out, "the model", model.path())?;
    let spectral = if arguments.fold { SpectralForm::Divided } else { SpectralForm::Parts };
    let Checkpoint { tensors, metadata } = model.for_pytorch(spectral)?;
    let used: HashSet<&str> = model.used_names().collect();
    let is_used = |name: &str| {
        let plain = name.strip_suffix("_orig").unwrap_or(name);
        [name, plain, &format!("{name}_orig")].iter().any(|name| used.contains(name))
    };
    let is_wanted = |name: &str| match (arguments.weights_only, arguments.training_state) {
        (true, _) => is_used(name),
        (false, true) => true,
        (false, false) => model.is_of_network(name),
    };
    // Without the training's state the model is read without its chains.
    let unread = model.chains().is_some() && !arguments.training_state;
    let found = tensors.len() + usize::from(unread);
    let tensors: Vec<_> = tensors.into_iter().filter(|(name, ..)| is_wanted(name)).collect();
    let count = tensors.len();
    let waiting = waiting(&format!("writing {}", arguments.out.display()), &arguments.output);
    match to {
        Format::Pt => write::write(&arguments.out, &Checkpoint { tensors, metadata })?,
        Format::Safetensors => Checkpoint { tensors, metadata }.save(&arguments.out)?,
        Format::Npz => {
            let array = |(name, shape, elements)| (name, Array { shape, elements });
            npz::write(&arguments.out, &tensors.into_iter().map(array).collect::<Vec<_>>())?;
        }
    }
    drop(waiting);
    if let Some(guesses) = model.guesses().filter(|_| !arguments.output.quiet) {
        complain(&format!("note: {}: {guesses}", arguments.model.display()));
    }
    let mut facts = Facts::default();
    facts.text("model", describe(&model));
    let left_out = if found > count { format!(" ({} left out)", found - count) } else { String::new() };
    facts.add("tensors", format!("{count}{left_out}"), count);
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
    facts.text(
        "images",
        match model.normalisation() {
            Some(InputNormalisation { mean, std }) => {
                format!("(pixel / 255 - mean) / std, with mean {mean:?} and std {std:?}")
            }
            None => "pixel / 127.5 - 1, in [-1, 1]".into(),
        },
    );
    if let Some(names) = model.class_names() {
        facts.text("classes", names.join(", "));
    }
    facts.text("wrote", arguments.out.display().to_string());
    facts.print(arguments.output.json);
    Ok(())
}
