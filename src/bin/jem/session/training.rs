//! A training command: its common flags, and the steps from them to a finished run.

use super::flags::{self, Flags as _};
use super::network::{Asked, NetworkArguments, NetworkChoice};
use super::{DeviceArguments, INTERRUPTED, Session, download_bar, report, say, stop_on_interrupt};
use jem::data::locate;
use jem::data::training::{DataSource, TrainingData};
use jem::ebm::{
    Family, Model, Outcome, Overrides, Preset, Recipe, RunDirectory, Trainer, check_recipe, recipe_for,
};
use jem::report::profile::table;
use jem::words::{counted, is};
use jem::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The preset that is chosen by timing.
const AUTO: &str = "auto";

/// The flags of a training command, except for its data.
#[derive(Debug, clap::Args)]
pub struct TrainingArguments {
    /// Size of the network and the run: auto (the largest that this machine finishes in reasonable time), tiny
    /// (WRN-10-1, minutes on a CPU), small (WRN-16-4, hours on a GPU) or paper (WRN-28-10, days); or fine-tune, the
    /// settings for a trained model, the default with --from
    #[arg(
        long,
        value_name = "SIZE",
        default_value = AUTO,
        value_parser = [AUTO, Preset::Tiny.name(), Preset::Small.name(), Preset::Paper.name(), Preset::FineTune.name()],
        hide_possible_values = true
    )]
    preset: String,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    overrides: Overrides,
    /// TOML file of settings, applied over the preset and under the flags; the config.toml of a run also names its data
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Run directory [default: a new one under runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Resume the run in this directory, with its settings and data unless flags replace them
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "config"])]
    pub resume: Option<PathBuf>,
    /// Show curves and samples in the terminal while training
    #[arg(long, conflicts_with = "quiet")]
    live: bool,
    /// Print only errors and the final figures
    #[arg(long)]
    pub quiet: bool,
    /// Time every kernel of one iteration, print the times and exit
    #[arg(long, conflicts_with_all = ["quiet", "live"])]
    profile: bool,
    /// Print the settings of the run as TOML, a file for --config, and exit
    #[arg(long, conflicts_with_all = ["profile", "live"])]
    print_config: bool,
}

/// The run directory, and how to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// The run directory.
    pub out: PathBuf,
    /// Whether to resume from its newest checkpoint.
    pub resume: bool,
    /// Whether to show the live view.
    pub live: bool,
    /// The source of the data, which the run directory records.
    pub source: DataSource,
    /// The network.
    pub network: NetworkChoice,
}

/// A run whose settings, data and device are ready.
pub struct Training {
    pub session: Session,
    pub recipe: Recipe,
    pub data: TrainingData,
    pub job: Job,
    profile: bool,
    print_config: bool,
    quiet: bool,
}

impl TrainingArguments {
    /// Checks the settings on the images of `source`, opens the device, and selects a preset if none is named. `source`
    /// is called with the source of the data that the resumed run or the settings file records.
    pub fn prepare(&self, source: impl FnOnce(Option<DataSource>) -> Result<DataSource>) -> Result<Training> {
        let quiet = self.quiet || self.print_config;
        if let Some(out) = &self.out {
            RunDirectory::check_free(out).hint("choose another --out, or resume it with --resume")?;
        }
        let asked: Option<Preset> = match self.preset.as_str() {
            AUTO => None,
            name => Some(name.parse()?),
        };
        let file = self.config.as_deref().map(Overrides::from_file).transpose()?.unwrap_or_default();
        check_family(&file, self.overrides.family)?;
        let resume = self.resume.as_deref();
        let resumed = resume.map(|run| RunDirectory::recipe(run, &self.overrides)).transpose()?;
        let settings = match (resume, &self.config) {
            (Some(run), _) => Some(RunDirectory::config(run)?),
            (None, file) => file.clone(),
        };
        let recorded = settings.as_deref().map(RunDirectory::source_in).transpose()?.flatten();
        let record = settings.as_deref().map(RunDirectory::network_in).transpose()?.flatten();
        let asked_network = self.network.asked(settings.as_deref().zip(record), resume.is_some())?;
        let mut source = source(recorded.clone())?;
        if let (Some(run), Some(recorded)) = (resume, recorded) {
            check_resumed(run, &recorded, &source)?;
        }
        let model = match &asked_network {
            Asked::Model(model) => Some(&**model),
            _ => None,
        };
        let scaled = model
            .and_then(Model::picture_size)
            .filter(|_| source.is_folder() && source.read.size.is_none() && self.config.is_none());
        source.read.size = source.read.size.or(scaled);
        let mut data = load(&source, quiet, model)?;
        data.notes.extend(scaled.map(|size| {
            format!("pictures are scaled to {size}x{size}, like the model's training data; --size sets another size")
        }));
        if let Some(channels) = asked_network.channels() {
            data = data.with_channels(channels);
        }
        let of = |preset| recipe_for(preset, &[&file, &self.overrides], &data.train);
        // An invalid setting is reported before anything else is printed.
        let starts = matches!(asked_network, Asked::Model(_));
        if asked == Some(Preset::FineTune) && !starts && resume.is_none() {
            return Err(Error::setting(
                "--preset",
                "fine-tune starts from a trained model: name it with --from",
            ));
        }
        let default = if starts { Preset::FineTune } else { Preset::Tiny };
        let first = resumed.clone().unwrap_or_else(|| of(asked.unwrap_or(default)));
        check_recipe(&first, &data.train)?;
        let network = asked_network.choose(&first, &self.overrides, &data.train)?;

        let session = Session::open(&self.device, quiet)?;
        describe(&session, &data);
        let (recipe, size) = match resumed {
            Some(recipe) => (recipe, None),
            // A file with every setting, such as a run's config.toml, leaves no preset to select.
            None if Preset::ALL.map(of).iter().all(|recipe| *recipe == first) => (first, None),
            None if asked.is_none() && !matches!(asked_network, Asked::Own) => {
                session.say(match default {
                    Preset::FineTune => {
                        "preset  fine-tune, for a trained model; choose otherwise with --preset"
                    }
                    _ => "preset  tiny: auto times WideResNets alone; choose otherwise with --preset",
                });
                (first, Some(default))
            }
            None => {
                let preset = session.preset(asked, &data.train, of)?;
                (of(preset), Some(preset))
            }
        };
        let out = match (resume, &self.out, size) {
            (Some(run), ..) => run.to_owned(),
            (None, Some(out), _) => out.clone(),
            (None, None, size) => fresh(&source, &recipe, size),
        };
        session.say(&format!("recipe  {}", recipe.family));
        session.describe(&recipe, &network, &data.train);
        let job = Job { out, resume: resume.is_some(), live: self.live, source, network };
        let Self { profile, print_config, .. } = *self;
        Ok(Training { session, recipe, data, job, profile, print_config, quiet })
    }
}

impl Training {
    /// Trains until the end or until Ctrl-C, then prints the figures and, unless quiet, the lines that `next` suggests.
    /// Returns [`INTERRUPTED`] for an interrupted run.
    pub fn run(&self, next: impl FnOnce(&Outcome) -> Vec<String>) -> Result<ExitCode> {
        let Some(outcome) = self.train()? else { return Ok(ExitCode::SUCCESS) };
        if !self.quiet {
            next(&outcome).iter().for_each(|line| say(line));
        }
        Ok(if outcome.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
    }

    /// Trains as [`Training::run`] does; returns `None` if only settings or a profile were asked for.
    fn train(&self) -> Result<Option<Outcome>> {
        let Self { session, recipe, data, job, .. } = self;
        if self.print_config {
            let network = job.network.network(recipe, &data.train);
            let line = job.network.record(recipe, &data.train)?;
            let line = line.map(|record| RunDirectory::network_line(&record)).unwrap_or_default();
            let settings = recipe.to_toml_of(&*network);
            say(&format!("{}{line}{}", RunDirectory::source_line(&job.source), settings.trim_end()));
            return Ok(None);
        }
        if self.profile {
            return self.print_profile().map(|()| None);
        }
        session.say(&match recipe.unconditional {
            true => "best    is the latest model: an energy without classes has no accuracy".to_owned(),
            false => {
                let (held_out, is) = (counted(recipe.validation, "training image"), is(recipe.validation));
                format!("best    is chosen on {held_out} that {is} held out")
            }
        });
        if matches!(job.network, NetworkChoice::From(_)) && !recipe.unconditional {
            session.say(
                "        if the model was trained on them, their accuracy is higher than that of new images",
            );
        }
        session.say(&format!("run     {}", job.out.display()));
        stop_on_interrupt()?;
        let outcome = session.train(recipe, &data.train, &data.test, job)?;
        report(&outcome, &job.out, data.test.synthetic).iter().for_each(|line| say(line));
        Ok(Some(outcome))
    }

    /// Prints the times of the second of two iterations, with warm caches and clocks.
    fn print_profile(&self) -> Result<()> {
        let network = self.job.network.network(&self.recipe, &self.data.train);
        let mut trainer =
            Trainer::with_network(self.session.device(), &self.recipe, network, &self.data.train)?;
        for program in trainer.programs() {
            say(&format!("{:<8} {}", program.name, program.summary()));
        }
        trainer.profile()?;
        for (program, runs, times) in trainer.profile()? {
            say("");
            say(table(&program, runs, &times).trim_end());
        }
        Ok(())
    }
}

/// Refuses a recipe other than that of the settings file, whose settings would replace the recipe's own.
pub fn check_family(file: &Overrides, asked: Option<Family>) -> Result<()> {
    match (file.family, asked) {
        (Some(family), Some(asked)) if family != asked => {
            let message = format!("the settings of --config are those of {family}; leave it out for {asked}");
            Err(Error::setting("--recipe", message))
        }
        _ => Ok(()),
    }
}

/// Refuses to resume `run` on data other than `recorded`. Any other folder is accepted, because the recorded one may
/// have moved.
fn check_resumed(run: &Path, recorded: &DataSource, source: &DataSource) -> Result<()> {
    if recorded.data == source.data || (recorded.is_folder() && source.is_folder()) {
        return check_scale(run, recorded.read.size, source.read.size);
    }
    let (run, recorded, asked) = (run.display(), &recorded.data, &source.data);
    Err(Error::setting("--resume", format!("{run} is a run on {recorded}, which cannot continue on {asked}")))
}

/// Refuses to resume `run` on images of another size.
fn check_scale(run: &Path, recorded: Option<usize>, asked: Option<usize>) -> Result<()> {
    if recorded == asked {
        return Ok(());
    }
    let text =
        |size: Option<usize>| size.map_or("images as they are".into(), |size| format!("--size {size}"));
    let message =
        format!("{} is a run on {}, which cannot continue on {}", run.display(), text(recorded), text(asked));
    Err(Error::setting("--resume", message))
}

/// The size that is suggested for photographs.
const SIZE: usize = 32;

/// Reads the images of `source`. `model`: the model that the run starts from, if there is one.
pub fn load(source: &DataSource, quiet: bool, model: Option<&Model>) -> Result<TrainingData> {
    let bar = download_bar(quiet);
    let loaded = source.load(&bar);
    if source.is_folder() || loaded.is_ok() {
        let side = model.map_or(SIZE, |model| model.image_shape()[..2].iter().copied().min().unwrap_or(SIZE));
        return loaded.advise(side);
    }
    let named = ["directory", locate::VARIABLE, "size", "labels", "range"];
    if matches!(&loaded, Err(Error::Setting { key, .. }) if !named.contains(&key.as_str())) {
        return loaded.hint("name its directory with --data-dir, or train on drawings with --data synthetic");
    }
    loaded
}

/// Prints the names of the training and test data.
pub fn describe(session: &Session, data: &TrainingData) {
    let (train, test) = (&data.train, &data.test);
    session.say(&format!(
        "data    {}: {} training and {} of {}x{}x{}, {}",
        train.name,
        train.len(),
        counted(test.len(), "test image"),
        train.height,
        train.width,
        train.channels,
        counted(train.classes(), "class")
    ));
    data.notes.iter().for_each(|note| session.say(&format!("        {}", flags::note(note))));
}

/// A new directory under runs/, named after the data, the recipe and the preset.
fn fresh(source: &DataSource, recipe: &Recipe, size: Option<Preset>) -> PathBuf {
    let data = Path::new(&source.data).file_name().map_or("data".into(), |name| name.to_string_lossy());
    let size = size.map(|size| format!("-{size}")).unwrap_or_default();
    RunDirectory::fresh(Path::new("runs"), &format!("{data}-{}{size}", recipe.family))
}
