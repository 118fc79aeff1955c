//! `jem tune`: finds the fastest convolution kernels on this device for a model.

mod report;

use crate::common::{Output, check_batch, check_writable, open_model, progress, sizes, waiting};
use crate::facts::say;
use crate::session::{DeviceArguments, complain};
use jem::compute::conv_geometry::ConvProblem;
use jem::compute::storage::Storage;
use jem::device::Device;
use jem::ebm::{
    BatchLayout, Langevin, Overrides, Precision, Preset, Programs, Recipe, Sampler, ScoreSettings, Scorer,
};
use jem::nn::architecture::NormMode;
use jem::nn::network::Network as _;
use jem::policy::convolution::{ConvolutionPolicy, Tuned};
use jem::tuning::file;
use jem::tuning::{Limits, Ranked, Stage, Tuning, rank, shapes, tune_with};
use jem::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The images of the data set, on which no convolution depends.
const IMAGES: usize = 50_000;
/// The default batch of a model, in images.
const BATCH: usize = 64;

const EXAMPLES: &str = "Examples:
  jem tune --preset small
  jem tune --preset paper --batch 128 --device gpu --seconds 3
  jem tune --preset paper --precision auto
  jem tune --preset paper --only sgld --top 6 --max-seconds 60
  jem tune --config runs/mine/config.toml
  jem tune --model model.safetensors --batch 100
  jem tune --preset tiny --device gpu:llvmpipe --out tuned.toml

Every later run on the same adapter and driver uses the winners. JEM_TUNED=FILE reads another file, \
JEM_TUNED=none reads none, and deleting the file discards the winners. Training itself measures nothing.";

/// Measure which kernels compute a model's convolutions fastest on a GPU, and save the winners
///
/// Every candidate is first checked against the CPU; the correct ones are then timed alternately. A winner must beat
/// the default kernel of its shape by 3%. With --top or --max-seconds the most expensive shapes come first, and the
/// skipped ones are listed; each winner is saved at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Preset to tune for: tiny, small or paper
    #[arg(long, default_value = "small", value_parser = sizes(), conflicts_with = "model", hide_possible_values = true)]
    preset: Preset,
    /// TOML file of settings, such as a run's config.toml, applied over the preset
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    config: Option<PathBuf>,
    /// Layers of the WideResNet: 6n + 4
    #[arg(long, value_name = "N", conflicts_with = "model")]
    depth: Option<usize>,
    /// Widening factor of the WideResNet
    #[arg(long, value_name = "N", conflicts_with = "model")]
    width: Option<usize>,
    /// SGLD steps per iteration, which weight the times in the totals
    #[arg(long, value_name = "N", conflicts_with = "model")]
    steps: Option<usize>,
    /// Precision to tune for: f32, f16 or auto [default: the preset's or the file's]
    #[arg(long, value_name = "P", conflicts_with = "model")]
    precision: Option<Precision>,
    /// Program to tune for: the SGLD step, the update, or both
    #[arg(long, value_name = "PROGRAM", value_enum, default_value = "all", conflicts_with = "model")]
    only: Only,
    /// Size of the images: rows x columns x channels
    #[arg(long, value_name = "HxWxC", default_value = "32x32x3", value_parser = image_shape, conflicts_with = "model")]
    image: [usize; 3],
    /// Tune for scoring and sampling from this model, a file or a run directory, instead of training
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Images per batch [default: the preset's; with --model: 64]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Measuring time per shape, in seconds, without the checks
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
    /// Tune only the N shapes that take the most time with the default kernels
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Time limit in seconds: no check or shape starts after it, but the last measurement may end a little later
    #[arg(long, value_name = "S")]
    max_seconds: Option<f64>,
    /// File to save the winners in [default: $JEM_TUNED, else tuned.toml in the user's cache]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// The programs of a training iteration to tune for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// The SGLD step, weighted by its runs per iteration
    Sgld,
    /// The update of the parameters
    Update,
    /// Both
    All,
}

/// Parses `HxWxC`.
fn image_shape(text: &str) -> std::result::Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    let sizes = sizes.and_then(|sizes| <[usize; 3]>::try_from(sizes).ok());
    sizes
        .filter(|sizes| !sizes.contains(&0))
        .ok_or_else(|| "expected ROWSxCOLUMNSxCHANNELS, such as 32x32x3".into())
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let out = out(arguments)?;
    let budget = seconds("--seconds", arguments.seconds)?;
    let limit = arguments.max_seconds.map(|limit| seconds("--max-seconds", limit)).transpose()?;
    if arguments.top == Some(0) {
        return Err(Error::setting("--top", "must be at least 1, got 0"));
    }
    let recipe = match arguments.model {
        Some(_) => None,
        None => Some(recipe(arguments)?),
    };
    // `Device::open` ignores earlier winners, and a damaged file of them.
    let device = Device::open(&arguments.device.device, arguments.device.options())?;
    let Some(adapter) = device.adapter() else {
        let message = format!("{} has no choice of kernels; name a GPU, such as gpu:llvmpipe", device.name());
        return Err(Error::setting("--device", message));
    };
    let precision = recipe.as_ref().map_or(Precision::F32, |recipe| recipe.precision);
    let (policy, precision) = precision.policy(&device);
    let shapes = match (&recipe, &arguments.model) {
        (Some(recipe), _) => training_shapes(recipe, arguments.image, &policy, arguments.only)?,
        (None, Some(path)) => model_shapes(path, arguments.batch.unwrap_or(BATCH), &arguments.output)?,
        (None, None) => unreachable!("without a model there is a recipe"),
    };
    let stored = match file::read(&out, adapter) {
        Ok(tuned) => tuned.len(),
        // The first winner overwrites the damaged file.
        Err(error @ Error::File { .. }) => {
            complain(&format!("replacing a damaged file: {error}"));
            0
        }
        Err(_) => 0,
    };
    let json = arguments.output.json;
    if !json {
        say(&device.name());
        say(&format!("{} shapes of convolutions, in {precision}\n", shapes.len()));
        say(&report::header());
    }
    let limits = Limits { budget, deadline: limit.map(|limit| started + limit) };
    let mut ranked = match (limit, arguments.top) {
        (None, None) => shapes.iter().map(|&(shape, runs)| Ranked { shape, runs, time: None }).collect(),
        // Ranking may take a quarter of the time limit.
        _ => {
            let _waiting = waiting("ranking the shapes", &arguments.output);
            rank(&device, &policy, &shapes, limit.map(|limit| started + limit / 4))?
        }
    };
    let largest = arguments.top.unwrap_or(usize::MAX).min(ranked.len());
    let mut results = Results { stored, ..Results::default() };
    let why = format!("ranked below the {largest} by a first measurement");
    results.left_out.extend(ranked.split_off(largest).into_iter().map(|ranked| (ranked, why.clone())));
    let bar = progress(ranked.len(), "tuning", &arguments.output);
    for ranked in ranked {
        let tuning = match limits.is_over() {
            true => None,
            false => {
                let shown = |stage: Stage| bar.set_message(stage.to_string());
                Some(tune_with(&device, &policy, &ranked.shape, limits, shown)?)
            }
        };
        match tuning {
            // Without a winner and with untried candidates, only the default choice was measured.
            Some(tuning) if tuning.winner().is_some() || tuning.untried.is_empty() => {
                if let Some(winner) = tuning.winner() {
                    // Saved after each shape, so that an interruption loses none.
                    let winner = Tuned::from([(ranked.shape, winner.candidate)]);
                    results.stored = file::write(&out, adapter, &winner)?;
                }
                if !json {
                    bar.suspend(|| report::print(&tuning, ranked.runs));
                }
                results.tunings.push((tuning, ranked.runs));
            }
            _ => results.left_out.push((ranked, "no time was left".into())),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report::finish(arguments, (&device, &precision), &out, &results, started.elapsed());
    Ok(())
}

/// The results of a run.
#[derive(Default)]
struct Results {
    /// The tuned shapes, with their runs.
    tunings: Vec<(Tuning, usize)>,
    /// The shapes that were not tuned, with the reason.
    left_out: Vec<(Ranked, String)>,
    /// The number of shapes that the file holds for the device.
    stored: usize,
}

/// The duration of `value` seconds, checked; `flag` is for the error.
fn seconds(flag: &str, value: f64) -> Result<Duration> {
    if value > 0.0 && value <= 86_400.0 {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(Error::setting(flag, format!("must be above 0 and at most 86400, got {value}")))
}

/// The file to save the winners in.
fn out(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(out) = &arguments.out {
        check_writable("--out", out)?;
        return Ok(out.clone());
    }
    let Some(path) = file::path() else {
        let why = format!(
            "there is no file to keep the winners in ({}=none, or no home directory)",
            file::VARIABLE
        );
        return Err(Error::setting("--out", format!("{why}; name one")));
    };
    // Without the variable, the file is in the user's cache directory, and the flag can name another.
    let set = std::env::var_os(file::VARIABLE).is_some_and(|value| !value.is_empty());
    let asked = if set { file::VARIABLE } else { "--out" };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| {
            Error::setting(asked, format!("the directory {} cannot be made: {error}", parent.display()))
        })?;
    }
    check_writable(asked, &path)?;
    Ok(path)
}

/// The recipe to tune for.
fn recipe(arguments: &Arguments) -> Result<Recipe> {
    let mut recipe = arguments.preset.recipe();
    if let Some(path) = &arguments.config {
        recipe.apply(&Overrides::from_file(path)?);
    }
    let set = |value: &mut usize, flag: Option<usize>| *value = flag.unwrap_or(*value);
    set(&mut recipe.depth, arguments.depth);
    set(&mut recipe.width, arguments.width);
    set(&mut recipe.steps, arguments.steps);
    set(&mut recipe.batch, arguments.batch);
    recipe.precision = arguments.precision.unwrap_or(recipe.precision);
    check_batch(recipe.batch)?;
    // Training reports a buffer that is too small for the batch; tuning accepts it.
    let recipe = Recipe { buffer: recipe.buffer.max(recipe.batch * 10), ..recipe };
    recipe.network(10, arguments.image[2]).check()?;
    recipe.check(IMAGES, 10)?;
    Ok(recipe)
}

/// The convolutions of a training iteration, or of one of its programs, with `policy`, each with its number of runs.
fn training_shapes(
    recipe: &Recipe,
    image: [usize; 3],
    policy: &ConvolutionPolicy,
    only: Only,
) -> Result<Vec<(ConvProblem, usize)>> {
    let [height, width, channels] = image;
    let batch = BatchLayout::new(recipe, height, width, channels);
    batch.check(recipe.pad)?;
    // Build without Winograd kernels, which take several dispatches for a convolution.
    let implicit = match policy.storage() {
        Storage::F32 => ConvolutionPolicy::default(),
        Storage::F16 => ConvolutionPolicy::default().in_f16(policy.method()),
    };
    let programs = Programs::build(recipe, &recipe.network(10, channels), batch, IMAGES, &implicit)?;
    let sgld = programs.sgld.iter().map(|program| (program, recipe.steps)).filter(|_| only != Only::Update);
    let update = [(&programs.update, 1)].into_iter().filter(|_| only != Only::Sgld);
    let found = shapes(sgld.chain(update));
    if found.is_empty() {
        return Err(Error::setting("--only", "the recipe has no SGLD steps to tune for"));
    }
    Ok(found)
}

/// The convolutions of scoring a batch with gradients and of an SGLD step.
fn model_shapes(path: &Path, batch: usize, output: &Output) -> Result<Vec<(ConvProblem, usize)>> {
    check_batch(batch)?;
    let model = open_model(path, output)?;
    // On the host, loading compiles no pipelines, and every convolution is one kernel.
    let (host, mode) = (Device::cpu(), NormMode::Inference);
    let settings = ScoreSettings { mode, input_gradient: true, ..ScoreSettings::default() };
    let scorer = Scorer::new(&host, &model, settings, batch)?;
    let langevin = Langevin::default();
    let sampler = Sampler::new(&host, &model, mode, langevin, batch, false, None)?;
    Ok(shapes([(scorer.program(), 1), (sampler.program(), 1)]))
}
