//! `jem ablate`: recipes, or values of a setting, compared under one protocol, each over several seeds.

mod plan;
mod result;
mod table;

use crate::common::{check_directory, sizes};
use crate::session::network::NetworkChoice;
use crate::session::training::{self, Job, describe};
use crate::session::{self, DeviceArguments, INTERRUPTED, Session, say};
use crate::train::DataArguments;
use jem::data::training::{DataSource, TrainingData};
use jem::ebm::{Family, Overrides, Preset, RunDirectory, check_recipe};
use jem::interrupt::is_requested;
use jem::{Error, Result};
use plan::{Run, Setup, Vary};
use result::Figures;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  jem ablate --recipes classifier,jem,jem++ --seeds 1,2,3 --out runs/recipes
  jem ablate --vary steps=5,10,20 --data svhn --preset small --out runs/steps
  jem ablate --recipes jem,jem-joint --vary noise=0,0.01 --out runs/noise

Written into --out:
  NAME-seedN/    each run's directory, as of `jem train`, with its result.json
  table.md       mean ± standard deviation over the seeds, a row per recipe and value
  table.json     the same for programs, with the figures of every run
  accuracy.png   validation accuracy over iterations, a panel per row

The same command resumes an interrupted ablation and reuses finished runs; a run that diverged is not repeated until its \
directory is removed.";

/// Compare recipes, or values of one setting, over several seeds, in one table and one picture
///
/// Ctrl-C ends the ablation within seconds, with a checkpoint of the current run, and the same command resumes it; a
/// second Ctrl-C ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
// The comparison sets these two.
#[command(mut_arg("family", |flag| flag.hide(true)), mut_arg("seed", |flag| flag.hide(true)))]
pub struct Arguments {
    /// Recipes to compare, as in --recipe of `jem train` [default: that of --config, else classifier,jem; with --vary:
    /// jem]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', hide_possible_values = true)]
    recipes: Vec<Family>,
    /// Random seeds; every recipe and value runs once with each
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u32>,
    /// Setting to vary and the values to compare, such as steps=5,10,20
    #[arg(long, value_name = "KEY=VALUES")]
    vary: Option<String>,
    #[command(flatten)]
    data: DataArguments,
    /// Size of the networks and the runs: tiny, small or paper
    #[arg(long, value_name = "SIZE", default_value = "tiny", value_parser = sizes(), hide_possible_values = true)]
    preset: Preset,
    #[command(flatten)]
    overrides: Overrides,
    /// TOML file of settings for all runs, applied over each recipe and under the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Directory for the runs and the table
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print nothing but errors and the table
    #[arg(long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let vary = arguments.vary.as_deref().map(Vary::parse).transpose()?;
    let file = arguments.config.as_deref().map(Overrides::from_file).transpose()?.unwrap_or_default();
    let recorded = arguments.config.as_deref().map(RunDirectory::source_in).transpose()?.flatten();
    let source = arguments.data.source(recorded)?;
    let data = training::load(&source, arguments.quiet, None)?;
    let setups = plan::setups(arguments, vary.as_ref(), &file, &data.train)?;
    // An invalid setting of any run is reported before the first run starts.
    for run in setups.iter().flat_map(|setup| &setup.runs) {
        check_recipe(&run.recipe, &data.train)?;
        run.check_taken_over(&source, &data.train)?;
    }
    let session = Session::open(&arguments.device, arguments.quiet)?;
    describe(&session, &data);
    check_directory("--out", &arguments.out)?;
    session::stop_on_interrupt()?;
    Ablation { arguments, vary, source, data, session, setups }.run_all()
}

/// State that all runs share.
struct Ablation<'a> {
    arguments: &'a Arguments,
    vary: Option<Vary>,
    source: DataSource,
    data: TrainingData,
    session: Session,
    setups: Vec<Setup>,
}

impl Ablation<'_> {
    fn run_all(&mut self) -> Result<ExitCode> {
        let total = self.setups.iter().map(|setup| setup.runs.len()).sum::<usize>();
        let mut number = 0;
        for (index, seed) in plan::order(&self.setups) {
            number += 1;
            let run = &self.setups[index].runs[seed];
            let what = format!("[{number}/{total}] {}, seed {}", self.setups[index].label, run.recipe.seed);
            if let Some(figures) = Figures::read(&run.directory)? {
                self.session.say(&format!("{what}: {}, already done", figures.summary()));
                self.setups[index].runs[seed].figures = Some(figures);
                continue;
            }
            self.session.say(&format!("{what}: {}", run.directory.display()));
            let Some(figures) = self.train(run)? else { break };
            self.session.reopen()?;
            self.session.say(&format!("{what}: {}", figures.summary()));
            self.setups[index].runs[seed].figures = Some(figures);
            self.write()?;
        }
        if self.setups.iter().flat_map(|setup| &setup.runs).any(|run| run.figures.is_some()) {
            let table = self.write()?;
            self.session.say("");
            table.lines().for_each(say);
            let out = self.arguments.out.display();
            self.session.say(&format!("written into {out}: table.md, table.json, accuracy.png"));
        }
        if is_requested() {
            self.session.say("stopped; run the same command again to resume");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Trains a run, or resumes it; `None` if it was interrupted.
    fn train(&self, run: &Run) -> Result<Option<Figures>> {
        if is_requested() {
            return Ok(None);
        }
        let resume = RunDirectory::config(&run.directory).is_ok();
        let (out, source, network) = (run.directory.clone(), self.source.clone(), NetworkChoice::Own);
        let job = Job { out, resume, live: false, source, network };
        let figures = match self.session.train(&run.recipe, &self.data.train, &self.data.test, &job) {
            Ok(outcome) => match outcome.test {
                Some(test) => Figures::of(&run.directory, Ok((test, outcome.trips)))?,
                None => return Ok(None),
            },
            Err(error @ Error::Diverged { .. }) => Figures::of(&run.directory, Err(error))?,
            Err(error) => return Err(error),
        };
        figures.write(&run.directory)?;
        Ok(Some(figures))
    }

    /// Writes the results so far; returns the table.
    fn write(&self) -> Result<String> {
        let key = self.vary.as_ref().map(|vary| vary.key.as_str());
        let about = table::About {
            data: self.data.test.name.trim_end_matches(" test"),
            synthetic: self.data.test.synthetic,
            preset: self.arguments.preset,
            device: &self.session.device().name(),
            key,
        };
        table::write(&self.arguments.out, &about, &self.setups)
    }
}
