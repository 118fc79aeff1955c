//! `jem eval`: what a model is worth, in one report.

mod attacks;
mod data;
mod progress;
mod samples;

use crate::class_names;
use crate::common::{
    ImageArguments, ModelArguments, Output, check_batch, check_directory, note_guesses, open_model,
};
use crate::facts::Facts;
use crate::session::flags::Flags as _;
use crate::session::{INTERRUPTED, complain};
use attacks::AttackArguments;
use data::Asked;
use jem::data::named::Collection;
use jem::data::training::SYNTHETIC;
use jem::ebm::Model;
use jem::evaluation::{Part, Report, Samples, Settings, Subject, evaluate};
use jem::interrupt;
use jem::{Error, Result};
use progress::Bar;
use samples::SampleArguments;
use std::path::PathBuf;
use std::process::ExitCode;

/// The default number of images of a batch.
const BATCH: usize = 100;

const EXAMPLES: &str = "Examples:
  jem eval --model runs/mine --data cifar10 --out report
  jem eval --model jem.safetensors --against classifier.safetensors --data cifar10 --out report
  jem eval --model M --data cifar10 --only calibration --out report
  jem eval --model M --data photos/ --ood svhn:test,other/,noise --out report
  jem eval --model M --data cifar10 --quick --out look

Written into --out:
  eval.json     every number with its 95% interval, under fixed names
  eval.md       the same as tables
  eval.html     one page with all tables and pictures
  parts/        finished measurements, as .npz

The same command goes on with an interrupted evaluation, and repeats no measurement that is finished. Formulas and sources \
are in docs/evaluation.md.";

/// Evaluate a model: classification, calibration, out-of-distribution detection, robustness, generation
///
/// Every number has a 95% bootstrap interval. Ctrl-C ends the evaluation within seconds; finished measurements are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Models to compare with, such as a plain classifier of the same architecture
    #[arg(long, value_name = "FILE", num_args = 1..)]
    against: Vec<PathBuf>,
    #[arg(long, value_name = "DATA", default_value = "cifar10", help = data_help())]
    data: String,
    #[command(flatten)]
    source: ImageArguments,
    /// Names of the models' classes, in the order of their logits, for models that do not have them: a text file with a
    /// name a line, or a data set, such as cifar10
    #[arg(long, value_name = "FILE|SET")]
    classes: Option<String>,
    /// The models' names for classes of the images: NAME=NAME,NAME=NAME, or a file with a pair a line, the images' name
    /// first
    #[arg(long, value_name = "PAIRS")]
    classes_map: Option<String>,
    /// Directory to write into; created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Parts of the evaluation, separated by commas: calibration, ood, robustness,
    /// generation [default: all; generation only of models that were trained on log p(x)]
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = part)]
    only: Vec<Part>,
    /// Fewer images of everything, for a first look: 1,000 for testing, 500 of each other set
    #[arg(long)]
    quick: bool,
    /// Number of test images, the first of the set [default: all]
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Images to fit the temperature to: images with classes in the forms of --images of `jem score`, or a number of test
    /// images, which are then left out of all else [default: those that the model's training held out, else 5,000 training
    /// images]
    #[arg(long, value_name = "IN|N")]
    held_out: Option<String>,
    /// Sets to tell from the test images, separated by commas: what --images of `jem score` takes, noise, interpolated
    /// (means of pairs of test images) or constant [default: cifar100:test, svhn:test, fashion-mnist:test as far as they
    /// are there, noise, interpolated, constant]
    #[arg(long, value_name = "SETS", value_delimiter = ',')]
    ood: Vec<String>,
    /// Number of images of each set of --ood [default: 2,000, or all of a smaller set]
    #[arg(long, value_name = "N")]
    ood_images: Option<usize>,
    /// Add the published figures of joint energy-based models, marked as published
    #[arg(long)]
    published: bool,
    #[command(flatten)]
    attacks: AttackArguments,
    #[command(flatten)]
    samples: SampleArguments,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = BATCH)]
    batch: usize,
    #[command(flatten)]
    output: Output,
}

fn data_help() -> String {
    let known = Collection::known();
    format!(
        "{known}, {SYNTHETIC}, a folder of images as of `jem train`, or labelled images as of `jem score`"
    )
}

/// The parts and their names.
const PARTS: [(&str, Part); 4] = [
    ("calibration", Part::Calibration),
    ("ood", Part::Ood),
    ("robustness", Part::Robustness),
    ("generation", Part::Generation),
];

fn part(text: &str) -> Result<Part, String> {
    let found = PARTS.into_iter().find(|(name, _)| *name == text).map(|(_, part)| part);
    found.ok_or_else(|| format!("expected {}", PARTS.map(|(name, _)| name).join(", ")))
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_batch(arguments.batch)?;
    let names = arguments.classes.as_deref().map(|text| class_names::read("--classes", text)).transpose()?;
    arguments.samples.check()?;
    let (model, device) = arguments.model.open_with(&arguments.output, arguments.samples.needs_buffer())?;
    let mut models = vec![(arguments.model.model.clone(), model)];
    for path in &arguments.against {
        let other = open_model(path, &arguments.output)?;
        let (found, expected) = (other.image_shape(), models[0].1.image_shape());
        if found != expected {
            let message = format!("{} has images {found:?}, the model {expected:?}", path.display());
            return Err(Error::setting("--against", message));
        }
        models.push((path.clone(), other));
    }
    let parts = parts(arguments, &models[0].1);
    let mut loaded = Asked { arguments, parts: &parts, names: names.as_deref() }.load(&models)?;
    let classes =
        models.iter().map(|(_, model)| model.network().classes()).filter(|classes| *classes > 1).min();
    let samples = arguments.samples.samples(&models, arguments.quick)?;
    let settings = settings(arguments, parts, samples, classes.unwrap_or(2), loaded.data.test.images.count)?;
    if let Some(classes) = classes.filter(|_| settings.has(Part::Robustness)) {
        loaded.notes.extend(arguments.attacks.omission(classes));
    }
    check_directory("--out", &arguments.out)?;
    let named = data::names(&models);
    let mut subjects = Vec::new();
    for (((_, model), name), labels) in models.into_iter().zip(named).zip(loaded.labels) {
        subjects.push(Subject::new(name, model, labels, names.as_deref())?);
    }
    interrupt::flag()?;
    let mut bar = Bar::new(&arguments.output);
    let report = evaluate(&device, &subjects, &loaded.data, &settings, &arguments.out, &mut bar)
        .batch(arguments.batch, &["score"])?;
    drop(bar);
    let Some(report) = report else {
        complain("stopped; the same command goes on from here");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !arguments.output.quiet {
        loaded.notes.iter().for_each(|note| complain(&format!("note: {note}")));
    }
    let paths = std::iter::once(&arguments.model.model).chain(&arguments.against);
    for (path, subject) in paths.zip(&subjects) {
        note_guesses(path, &subject.model, &arguments.output);
    }
    facts(&report, &device.name()).print(arguments.output.json);
    Ok(ExitCode::SUCCESS)
}

/// The settings, for models of the fewest `classes` classes and `images` test images.
fn settings(
    arguments: &Arguments,
    parts: Vec<Part>,
    samples: Samples,
    classes: usize,
    images: usize,
) -> Result<Settings> {
    let standard = Settings::standard(images);
    let (quick, odin_images) = (arguments.quick, standard.odin_images);
    Ok(Settings {
        parts,
        mode: arguments.model.norm_mode,
        batch: arguments.batch,
        odin_images: if quick { odin_images / 5 } else { odin_images },
        published: arguments.published,
        attacks: arguments.attacks.attacks(images, classes, quick)?,
        samples,
        seed: arguments.seed,
    })
}

/// The parts to evaluate: those of --only, else all that say something of the model.
fn parts(arguments: &Arguments, model: &Model) -> Vec<Part> {
    if !arguments.only.is_empty() {
        return arguments.only.clone();
    }
    let says = |part: &Part| *part != Part::Generation || model.is_density() != Some(false);
    PARTS.map(|(_, part)| part).into_iter().filter(says).collect()
}

/// The figures that are printed: the most important ones.
fn facts(report: &Report, device: &str) -> Facts {
    let mut facts = Facts::default();
    let numbers = &report.numbers;
    let text = |key: &str| numbers[key].as_str().unwrap_or_default().to_owned();
    facts.line("model", format!("{}, {}", text("model"), text("network")));
    facts.line("data", format!("{}, {} test images", text("data"), numbers["images"]));
    facts.line("device", device);
    let interval = |object: &serde_json::Value, key: &str, scale: f64, digits: usize, unit: &str| {
        let value = object[key].as_f64()?;
        let bounds =
            object["interval"][key].as_array().and_then(|all| Some((all[0].as_f64()?, all[1].as_f64()?)));
        let bounds = bounds.map_or(String::new(), |(low, high)| {
            format!(" [{:.digits$}, {:.digits$}]", scale * low, scale * high)
        });
        Some(format!("{:.digits$}{unit}{bounds}", scale * value))
    };
    let mut line =
        |name: &str, text: Option<String>| text.into_iter().for_each(|text| facts.line(name, text));
    line("accuracy", interval(numbers, "accuracy", 100.0, 2, "%"));
    line("cross-entropy", interval(numbers, "cross_entropy", 1.0, 4, ""));
    line("ECE", interval(&numbers["calibration"], "ece", 100.0, 2, "%"));
    line("ECE after scaling", interval(&numbers["calibration"], "ece_after_temperature", 100.0, 2, "%"));
    let mut line =
        |name: &str, text: Option<String>| text.into_iter().for_each(|text| facts.line(name, text));
    for attempt in numbers["robustness"].as_array().into_iter().flatten() {
        let word = |key: &str| attempt[key].as_str().unwrap_or_default();
        let epsilon = attempt["epsilon"].as_f64().unwrap_or(f64::NAN);
        let refined = if attempt["refined"] == true { ", refined" } else { "" };
        let name = format!("{}, {} {epsilon:.4}{refined}", word("attack"), word("norm"));
        line(&name, interval(attempt, "accuracy", 100.0, 2, "%"));
    }
    let generation = &numbers["generation"];
    if let Some(features) = generation["features"].as_str() {
        let names = if features == "inception" {
            ["FID".to_owned(), "KID".to_owned()]
        } else {
            ["fd", "kd"].map(|distance| format!("{distance}[{features}]"))
        };
        for (name, key) in names.iter().zip(["fd", "kd"]) {
            line(name, interval(generation, key, 1.0, 3, ""));
        }
    }
    for set in numbers["ood"].as_array().into_iter().flatten() {
        let name = format!("AUROC, {}", set["set"].as_str().unwrap_or_default());
        line(&name, interval(&set["scores"]["log_px"], "auroc", 1.0, 3, " by log p(x)"));
    }
    let files: Vec<String> = report.files.iter().map(|path| path.display().to_string()).collect();
    facts.line("wrote", files.join(", "));
    for (key, value) in numbers.as_object().into_iter().flatten() {
        facts.value(key, value.clone());
    }
    facts.value("wrote", files);
    facts
}
