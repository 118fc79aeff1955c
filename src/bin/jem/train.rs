//! `jem train`: trains a recipe on a data set or a folder of images.

use crate::pictures::{self, PictureArguments};
use crate::sample::{BUFFER, GAUSSIANS, UNIFORM};
use crate::session::training::{Job, TrainingArguments};
use crate::session::{self, quoted};
use jem::data::named::Collection;
use jem::data::training::{DataSource, SYNTHETIC};
use jem::ebm::{ChainStart, Outcome, Recipe};
use jem::io::state_file;
use jem::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  jem train                    # CIFAR-10, at a size that suits this machine
  jem train --recipe classifier --data mnist --preset tiny --out runs/digits
  jem train --data photos/ --size 32 --preset small --lr 1e-4 --live
  jem train --config runs/digits/config.toml --seed 2 --out runs/digits-2
  jem train --recipe jem++ --preset small --print-config > settings.toml
  jem train --resume runs/digits --iterations 2000

A folder such as photos/ has a sub-folder of images for each class, or sub-folders train and test (and val) with one for \
each class, or a file of labels. Classes are sorted by name, numbers by value: 2 before 10. Photographs of several sizes \
need --size.

The recipe and the preset give every setting its default; --print-config shows them, and config.toml in the run \
directory lists them. The run directory also holds metrics (CSV, JSON lines, TensorBoard), sample grids, curves, \
checkpoints and the best model.";

/// Train a joint energy-based model on a data set or a folder of images
///
/// One network becomes a classifier p(y|x), a density p(x) and a generator. Ctrl-C ends the run within seconds, with a
/// checkpoint to --resume from and exit status 130. It discards an iteration or evaluation in progress, which the
/// resumed run does again. A second Ctrl-C ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    training: TrainingArguments,
}

fn data_help() -> String {
    let known = Collection::known();
    format!(
        "{known}, {SYNTHETIC} (drawings that need no files), or the path of a folder of images [default: cifar10]"
    )
}

/// The training data.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArguments {
    #[arg(long, value_name = "DATA", help = data_help())]
    data: Option<String>,
    /// Directory of data sets [default: $JEM_DATA, ./data, the user's cache]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// CSV file with the class of each image of a folder, in columns image and label [default: labels.csv of a folder
    /// without sub-folders]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    pictures: PictureArguments,
}

impl DataArguments {
    /// The source of the data: the flags, else `recorded`, else CIFAR-10.
    pub fn source(&self, recorded: Option<DataSource>) -> Result<DataSource> {
        let directory = self.data_dir.as_deref();
        let source = match (&self.data, &recorded) {
            (None, Some(recorded)) => {
                DataSource::new(&recorded.data, directory.or(recorded.directory.as_deref()))?
            }
            (data, _) => DataSource::new(data.as_deref().unwrap_or("cifar10"), directory)?,
        };
        // Another folder is read as the recorded one: it may have moved.
        let recorded = recorded.filter(|recorded| recorded.is_folder() && source.is_folder());
        let mut read =
            self.pictures.options(recorded.map_or_else(|| source.read.clone(), |recorded| recorded.read));
        if let Some(labels) = &self.labels {
            read.labels = Some(std::path::absolute(labels).map_err(Error::io(labels))?);
        }
        Ok(DataSource { read, ..source })
    }
}

/// Runs the command.
pub fn run(Arguments { data, training }: &Arguments) -> Result<ExitCode> {
    let training = training.prepare(|recorded| match (&training.resume, &data.data, &recorded) {
        (Some(run), None, None) => {
            let message = format!("{} does not record what it was trained on; name it", run.display());
            Err(Error::setting("--data", message))
        }
        _ => data.source(recorded),
    })?;
    training.run(|outcome| next(outcome, &training.job, &training.recipe))
}

/// The length of new chains in a suggested command, in multiples of the steps of an iteration.
const LONG: usize = 10;

/// The number of chains in the replay buffer of a model file; `None` without one.
fn chains(model: &Path) -> Option<usize> {
    state_file::open(model).ok()?.facts().chains
}

/// Suggests commands to continue with.
fn next(outcome: &Outcome, job: &Job, recipe: &Recipe) -> Vec<String> {
    let longer = session::next(outcome, &job.out, "jem train");
    let (false, Some(best)) = (outcome.interrupted, &outcome.best) else { return longer };
    let model = quoted(&best.display().to_string());
    let images = quoted(&job.source.test_images());
    let directory = job.source.directory.as_ref();
    let directory = directory
        .map(|path| format!(" --data-dir {}", quoted(&path.display().to_string())))
        .unwrap_or_default();
    let reading = pictures::flags(&job.source.read);
    let mut lines = vec![
        "next: score images, draw samples, train longer".to_owned(),
        format!("  jem score --model {model} --images {images}{directory}{reading}"),
    ];
    if recipe.samples() {
        let out = quoted(&job.out.join("drawn").display().to_string());
        let start = match chains(best) {
            Some(_) => format!("--init {BUFFER}"),
            // New chains start as in training.
            None if recipe.start == ChainStart::Gaussian => {
                let images = quoted(&job.source.training_images());
                let steps = LONG * recipe.steps;
                format!("--init {GAUSSIANS} --init-data {images}{directory}{reading} --steps {steps}")
            }
            None => format!("--init {UNIFORM} --steps {}", LONG * recipe.steps),
        };
        let class = if recipe.class_conditional { " --class all" } else { "" };
        lines.push(format!("  jem sample --model {model} {start}{class} --out {out}"));
    }
    lines.extend(longer.into_iter().skip(1));
    lines
}
