//! `jem train`: a recipe trained on a set or a folder of images.

use jem::data::training::{Source, TrainingData};
use jem::jem::session::{self, DeviceArguments, Job, Session, say};
use jem::jem::{Outcome, Overrides, Preset, Recipe, RunDirectory};
use jem::{Error, Result};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  jem train                    # CIFAR-10, at the largest size that this machine can finish
  jem train --recipe classifier --data mnist --preset tiny --out runs/digits
  jem train --data photos/ --preset small --device gpu --steps 20 --lr 1e-4 --live
  jem train --config runs/digits/config.toml --seed 2
  jem train --resume runs/digits --iterations 2000

photos/ has a sub-folder of images for each class, or sub-folders train and test that have.
A run directory holds the settings, metrics (CSV, JSON lines, TensorBoard), sample grids,
curves, checkpoints and the best model.";

/// Train a classifier that is a density and a generator too, on a set or a folder of images
///
/// Ctrl-C ends it after the current iteration, with a checkpoint that --resume goes on from; a second one at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// Size of the network and the run: auto, tiny (minutes on a CPU), small (WRN-16-4, hours on a GPU) or paper
    /// (WRN-28-10, days)
    #[arg(long, value_name = "SIZE", default_value = "auto")]
    preset: String,
    /// TOML file of settings, applied over the preset and under the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Run directory [default: a new one under runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this directory, by its settings and on its data where flags do not say otherwise
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "config"])]
    resume: Option<PathBuf>,
    /// Show curves and the newest samples in the terminal
    #[arg(long, conflicts_with = "quiet")]
    live: bool,
    /// Print nothing but errors and the final figures
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// What is trained on.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArguments {
    /// cifar10, cifar100, svhn, mnist, fashion-mnist, synthetic (drawings that need no files), or the path of a folder
    /// of images [default: cifar10]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Directory of data sets [default: $JEM_DATA, ./data, the user's cache]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DataArguments {
    /// Where the data comes from: by the flags, else as the run that is resumed remembers.
    pub fn source(&self, resume: Option<&Path>) -> Result<Source> {
        let directory = self.data_dir.as_deref();
        let (None, Some(run)) = (&self.data, resume) else {
            return Source::new(self.data.as_deref().unwrap_or("cifar10"), directory);
        };
        let Some(remembered) = RunDirectory::source(run)? else {
            let message = format!("{} does not say what it was trained on; name it", run.display());
            return Err(Error::setting("--data", message));
        };
        Source::new(&remembered.data, directory.or(remembered.directory.as_deref()))
    }
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(out) = &arguments.out {
        RunDirectory::check_free(out)?;
    }
    let asked = session::asked_preset(&arguments.preset)?;
    let file = arguments.config.as_deref().map(Overrides::from_file).transpose()?.unwrap_or_default();
    let resume = arguments.resume.as_deref();
    let resumed = resume.map(|run| session::resumed_recipe(run, &arguments.overrides)).transpose()?;
    let source = arguments.data.source(resume)?;
    let data = source.load(arguments.quiet)?;
    let of = |preset| session::recipe(preset, &[&file, &arguments.overrides], &data.train);
    // What is wrong with the settings is said before anything else is.
    let first = resumed.clone().unwrap_or_else(|| of(asked.unwrap_or(Preset::Tiny)));
    session::check(&first, &data.train)?;

    let session = Session::open(&arguments.device, arguments.quiet)?;
    describe(&session, &data);
    let (recipe, size) = match resumed {
        Some(recipe) => (recipe, None),
        None => {
            let preset = session.preset(asked, &data.train, of)?;
            (of(preset), Some(preset))
        }
    };
    let out = match (resume, &arguments.out, size) {
        (Some(run), ..) => run.to_owned(),
        (None, Some(out), _) => out.clone(),
        (None, None, size) => fresh(&source, &recipe, size),
    };
    session.say(&format!("recipe  {}", recipe.recipe));
    session.describe(&recipe, &data.train);
    session.say(&format!("best    is chosen on {} training images that are held out", recipe.validation));
    session.say(&format!("run     {}", out.display()));
    session::stop_on_interrupt()?;
    let job = Job { out, resume: resume.is_some(), live: arguments.live, source };
    let outcome = session.train(&recipe, &data.train, &data.test, &job)?;
    session::report(&outcome, &job.out, data.test.synthetic).iter().for_each(|line| say(line));
    next(&outcome, &job, &recipe).iter().for_each(|line| say(line));
    Ok(())
}

/// Says what is trained and tested on.
pub fn describe(session: &Session, data: &TrainingData) {
    let (train, test) = (&data.train, &data.test);
    let label = if train.synthetic { "SYNTHETIC, " } else { "" };
    session.say(&format!(
        "data    {label}{}: {} training and {} test images of {}x{}x{}, {} classes",
        train.name,
        train.len(),
        test.len(),
        train.height,
        train.width,
        train.channels,
        train.classes()
    ));
    data.notes.iter().for_each(|note| session.say(&format!("        {note}")));
}

/// A new directory under runs/, with a name that says what the run is.
fn fresh(source: &Source, recipe: &Recipe, size: Option<Preset>) -> PathBuf {
    let data = Path::new(&source.data).file_name().map_or("data".into(), |name| name.to_string_lossy());
    let size = size.map(|size| format!("-{size}")).unwrap_or_default();
    RunDirectory::fresh(Path::new("runs"), &format!("{data}-{}{size}", recipe.recipe))
}

/// Commands to go on with.
fn next(outcome: &Outcome, job: &Job, recipe: &Recipe) -> Vec<String> {
    let longer = session::next(outcome, &job.out, "jem train");
    let (false, Some(best)) = (outcome.interrupted, &outcome.best) else { return longer };
    let model = quoted(&best.display().to_string());
    let images = job.source.test_images().map_or("FOLDER".into(), |images| quoted(&images));
    let directory = job.source.directory.as_ref();
    let directory =
        directory.map(|path| format!(" --data {}", quoted(&path.display().to_string()))).unwrap_or_default();
    let mut lines = vec![
        "next: score images, draw samples, train longer".to_owned(),
        format!("  jem score --model {model} --images {images}{directory}"),
    ];
    if recipe.samples() {
        let out = quoted(&job.out.join("drawn").display().to_string());
        lines.push(format!("  jem sample --model {model} --out {out}"));
    }
    lines.extend(longer.into_iter().skip(1));
    lines
}

/// A word of a command line, as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:+,".contains(c);
    if word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
