//! `jem tune`: which kernels compute a model's convolutions fastest on this device.

use crate::common::{Output, check_batch, check_writable, progress};
use crate::facts::say;
use jem::device::{Device, DeviceOptions, DeviceSpec, tuned};
use jem::jem::{
    BatchLayout, Langevin, Model, Overrides, Precision, Preset, Programs, Recipe, Sampler, ScoreSettings,
    Scorer,
};
use jem::kernels::choice::{Choices, Tuned};
use jem::kernels::conv_geometry::Shape;
use jem::kernels::half::Storage;
use jem::nn::architecture::Mode;
use jem::tune::{Trial, Tuning, shapes, tune};
use jem::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Images of a data set: no convolution depends on them.
const IMAGES: usize = 50_000;
/// Images of a batch of a model, as `jem score` and `jem sample` take them.
const BATCH: usize = 64;

const EXAMPLES: &str = "Examples:
  jem tune --preset small
  jem tune --preset paper --batch 128 --device gpu --seconds 3
  jem tune --preset paper --precision auto
  jem tune --config runs/mine/config.toml
  jem tune --model model.safetensors --batch 100
  jem tune --preset tiny --device gpu:llvmpipe --out tuned.toml

Every later run on the same adapter and driver takes the winners by itself. JEM_TUNED=FILE
reads another file, JEM_TUNED=none reads none, and deleting the file forgets the winners.
Nothing is measured while training.";

/// Measure which kernels compute a model's convolutions fastest on a GPU, and remember them
///
/// Every candidate is first checked against the CPU; then all that are right are timed in turns. One that does not
/// beat the rule's choice by 3% is not taken.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The training to tune for: tiny, small or paper
    #[arg(long, default_value = "small", conflicts_with = "model")]
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
    /// SGLD steps per iteration, which weigh in the sums
    #[arg(long, value_name = "N", conflicts_with = "model")]
    steps: Option<usize>,
    /// Tune for training in f32, f16 or auto [default: the preset's or the file's]
    #[arg(long, value_name = "P", conflicts_with = "model")]
    precision: Option<Precision>,
    /// Rows, columns and channels of the images
    #[arg(long, value_name = "HxWxC", default_value = "32x32x3", value_parser = image_shape, conflicts_with = "model")]
    image: [usize; 3],
    /// Tune for scoring and sampling from this model instead of training
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Images of a batch [default: the preset's; with --model 64]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// auto, gpu or gpu:NAME
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// Time to measure each shape for, in seconds, checks not counted
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
    /// File that keeps the winners [default: $JEM_TUNED, else tuned.toml in the user's cache]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// `HxWxC`.
fn image_shape(text: &str) -> std::result::Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    let sizes = sizes.and_then(|sizes| <[usize; 3]>::try_from(sizes).ok());
    sizes.filter(|sizes| !sizes.contains(&0)).ok_or_else(|| "expected such as 32x32x3".into())
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let out = out(arguments)?;
    if !(arguments.seconds > 0.0 && arguments.seconds <= 3600.0) {
        let message = format!("must be above 0 and at most 3600, got {}", arguments.seconds);
        return Err(Error::setting("--seconds", message));
    }
    let recipe = match arguments.model {
        Some(_) => None,
        None => Some(recipe(arguments)?),
    };
    // What was measured before, or a damaged file, must not meddle.
    let device =
        Device::open(&arguments.device, DeviceOptions { untuned: true, ..DeviceOptions::default() })?;
    let Some(adapter) = device.adapter() else {
        let message = format!("{} has no choice of kernels; name a GPU, such as gpu:llvmpipe", device.name());
        return Err(Error::setting("--device", message));
    };
    let precision = recipe.as_ref().map_or(Precision::F32, |recipe| recipe.precision);
    let (choices, precision) = precision.choices(&device);
    let shapes = match (&recipe, &arguments.model) {
        (Some(recipe), _) => training_shapes(recipe, arguments.image, &choices)?,
        (None, Some(path)) => model_shapes(path, arguments.batch.unwrap_or(BATCH))?,
        (None, None) => unreachable!("without a model there is a recipe"),
    };
    if let Err(error @ Error::File { .. }) = tuned::read(&out, adapter) {
        eprintln!("replacing a damaged file: {error}");
    }
    let json = arguments.output.json;
    if !json {
        say(&device.name());
        say(&format!("{} shapes of convolutions, in {precision}\n", shapes.len()));
        say(&row(["shape", "run", "rule ms", "winner", "ms", "of"].map(str::to_owned)));
    }
    let bar = progress(shapes.len(), "tuning", &arguments.output);
    let mut tunings = Vec::new();
    let mut stored = 0;
    for (shape, runs) in &shapes {
        let tuning = tune(&device, &choices, shape, Duration::from_secs_f64(arguments.seconds))?;
        if let Some(winner) = tuning.winner() {
            // Shape by shape: an interruption loses none.
            stored = tuned::write(&out, adapter, &Tuned::from([(*shape, winner.candidate)]))?;
        }
        if !json {
            bar.suspend(|| print(&tuning, *runs));
        }
        tunings.push((tuning, *runs));
        bar.inc(1);
    }
    bar.finish_and_clear();
    finish(arguments, (&device, &precision), &out, &tunings, stored);
    Ok(())
}

/// Where the winners go.
fn out(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(out) = &arguments.out {
        check_writable("--out", out)?;
        return Ok(out.clone());
    }
    let Some(path) = tuned::path() else {
        let why = format!(
            "there is no file to keep the winners in ({}=none, or no home directory)",
            tuned::VARIABLE
        );
        return Err(Error::setting("--out", format!("{why}; name one")));
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    check_writable(tuned::VARIABLE, &path)?;
    Ok(path)
}

/// The training to tune for.
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
    // A buffer too small for the batch is for training to refuse.
    let recipe = Recipe { buffer: recipe.buffer.max(recipe.batch * 10), ..recipe };
    recipe.network(10, arguments.image[2]).check()?;
    recipe.check(IMAGES, 10)?;
    Ok(recipe)
}

/// The convolutions of a training iteration by `choices`, with how often each runs in it.
fn training_shapes(recipe: &Recipe, image: [usize; 3], choices: &Choices) -> Result<Vec<(Shape, usize)>> {
    let [height, width, channels] = image;
    let batch = BatchLayout::new(recipe, height, width, channels);
    batch.check(recipe.pad)?;
    // By no Winograd's kernels, which are several.
    let implicit = match choices.storage() {
        Storage::F32 => Choices::default(),
        Storage::F16 => Choices::default().in_f16(choices.method()),
    };
    let programs = Programs::build(recipe, &recipe.network(10, channels), batch, IMAGES, implicit)?;
    let sgld = programs.sgld.iter().map(|program| (program, recipe.steps));
    Ok(shapes(sgld.chain([(&programs.update, 1)])))
}

/// The convolutions of scoring a batch with gradients, and of an SGLD step.
fn model_shapes(path: &Path, batch: usize) -> Result<Vec<(Shape, usize)>> {
    check_batch(batch)?;
    let model = Model::open(path)?;
    // On the host, where loading makes no pipelines and every convolution is one kernel.
    let (host, mode) = (Device::cpu(), Mode::Inference);
    let settings = ScoreSettings { mode, beta: 1.0, input_gradient: true };
    let scorer = Scorer::new(&host, &model, settings, batch)?;
    let langevin = Langevin::default();
    let sampler = Sampler::new(&host, &model, mode, langevin, batch, false, None)?;
    Ok(shapes([(scorer.program(), 1), (sampler.program(), 1)]))
}

fn milliseconds(trial: &Trial) -> Option<f64> {
    trial.time.map(|time| 1e3 * time.as_secs_f64())
}

/// A row of the table.
fn row([shape, runs, rule, winner, milliseconds, ratio]: [String; 6]) -> String {
    format!("{shape:<43} {runs:>3} {rule:>7}  {winner:<23} {milliseconds:>7} {ratio:>4}")
}

fn print(tuning: &Tuning, runs: usize) {
    let ms = |trial: &Trial| milliseconds(trial).map_or("-".into(), |ms| format!("{ms:.3}"));
    let (rule, winner) = (tuning.rule(), tuning.winner());
    say(&row([
        tuning.shape.to_string(),
        runs.to_string(),
        ms(rule),
        winner.map_or("none".into(), |winner| winner.candidate.to_string()),
        winner.map_or("-".into(), ms),
        winner.and_then(|winner| winner.ratio).map_or("-".into(), |ratio| format!("{ratio:.2}")),
    ]));
    for (candidate, why) in tuning.refused() {
        say(&format!("    {candidate} is not to be used: {why}"));
    }
}

/// The milliseconds of all runs of all shapes of an iteration: by rule and as tuned. Shapes that have no time of
/// both do not count.
fn sums(tunings: &[(Tuning, usize)]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (tuning, runs) in tunings {
        let times = milliseconds(tuning.rule()).zip(tuning.winner().and_then(milliseconds));
        if let Some((rule, winner)) = times {
            sums[0] += *runs as f64 * rule;
            sums[1] += *runs as f64 * winner;
        }
    }
    sums
}

fn finish(
    arguments: &Arguments,
    (device, precision): (&Device, &str),
    out: &Path,
    tunings: &[(Tuning, usize)],
    stored: usize,
) {
    let [by_rule, as_tuned] = sums(tunings);
    if arguments.output.json {
        let facts = json!({
            "device": device.name(),
            "precision": precision,
            "file": out.display().to_string(),
            "shapes_in_file": stored,
            "milliseconds_by_rule": by_rule,
            "milliseconds_as_tuned": as_tuned,
            "shapes": tunings.iter().map(|(tuning, runs)| facts(tuning, *runs)).collect::<Vec<_>>(),
        });
        return say(&facts.to_string());
    }
    let what = if arguments.model.is_some() { "a score and an SGLD step" } else { "an iteration" };
    say(&format!("all convolutions of {what}: {by_rule:.1} ms by rule, {as_tuned:.1} ms as tuned"));
    say(&format!("{} has {stored} shapes for this device", out.display()));
    if tuned::path().as_deref() != Some(out) {
        say(&format!("take them with {}={}", tuned::VARIABLE, out.display()));
    }
}

fn facts(tuning: &Tuning, runs: usize) -> Value {
    let (g, storage) = (tuning.shape.geometry, tuning.shape.storage);
    let trial = |trial: &Trial| {
        json!({
            "kernel": trial.candidate.to_string(),
            "milliseconds": milliseconds(trial),
            "ratio": trial.ratio,
            "refused": trial.refused,
        })
    };
    json!({
        "direction": tuning.shape.direction,
        "input": [g.n, g.h, g.w, g.c_in],
        "weights": [g.kh, g.kw, g.c_in, g.c_out],
        "stride": g.stride,
        "padding": g.padding,
        "storage": [storage.a, storage.b, storage.c],
        "runs": runs,
        "rule": tuning.rule().candidate.to_string(),
        "winner": tuning.winner().map(|winner| winner.candidate.to_string()),
        "candidates": tuning.trials.iter().map(trial).collect::<Vec<_>>(),
    })
}
