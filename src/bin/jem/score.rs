//! `jem score`: logits, energies, probabilities and input gradients of images.

mod verdict;
mod write;

use crate::common::{Facts, ModelArguments, Output, check_writable, describe, progress};
use jem::data::images::Images;
use jem::device::Device;
use jem::jem::{Model, Posterior, ScoreSettings, Scorer, ranking};
use jem::{Error, Result};
use std::path::PathBuf;
use std::time::Instant;
use verdict::Threshold;

/// Images of a batch, unless --batch says otherwise.
const BATCH: usize = 100;
/// Images whose figures are printed one by one.
const SHOWN: usize = 20;

const EXAMPLES: &str = "Examples:
  jem score --model resnet20.safetensors --images cifar10:test --out scores.npz
  jem score --model M --images photos/ --predict --top 3
  jem score --model M --images svhn:test --threshold-quantile 0.05 --threshold-on cifar10:test
  jem score --model M --images x.npy --input-gradient --out scores.npz

Arrays: logits, logsumexp (minus the free energy), probabilities p(y|x), prediction, entropy (nats); with labels
correct; with --input-gradient dlogsumexp_dx [N,C,H,W] and input_gradient_norm; with --top ranking and
ranking_energy; with a threshold verdict (1: logsumexp at least the threshold).";

/// Score images: logits, LogSumExp, p(y|x), predictions, entropies, input gradients
///
/// The energy of an image with a class is E(x, y) = -f(x)[y]; its free energy is -LogSumExp f(x).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Images: a .npy (float32 [N,C,H,W] in [-1, 1], or uint8 [N,H,W,C]), a folder, or a set such as cifar10:test
    #[arg(long, value_name = "IN")]
    images: String,
    /// Directory of data sets [default: $JEM_DATA, ./data, the user's cache]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Labels [N] as a .npy of integers, instead of those that the images come with
    #[arg(long, value_name = "FILE", conflicts_with = "no_labels")]
    labels: Option<PathBuf>,
    /// Leave the labels that the images come with aside
    #[arg(long)]
    no_labels: bool,
    /// Where to write: .npz (arrays) or .csv (a row an image)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add the gradient of logsumexp at every image, and its norm
    #[arg(long)]
    input_gradient: bool,
    /// Temperature T of the Gibbs distribution p(y|x) ∝ exp(f(x)[y] / T); logsumexp is then T LogSumExp(f / T)
    #[arg(long, value_name = "T", default_value_t = 1.0, conflicts_with = "beta")]
    temperature: f64,
    /// The same as its inverse, β = 1 / T
    #[arg(long, value_name = "β")]
    beta: Option<f64>,
    /// Predict: print the class of least energy of each image
    #[arg(long)]
    predict: bool,
    /// Rank: the K classes of least energy of each image
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// Detect: a verdict for each image, 1 where logsumexp is at least this
    #[arg(long, value_name = "L", allow_negative_numbers = true, conflicts_with = "threshold_quantile")]
    threshold: Option<f64>,
    /// Detect, with the threshold that this share of --threshold-on lies below
    #[arg(long, value_name = "Q", requires = "threshold_on")]
    threshold_quantile: Option<f64>,
    /// Images that --threshold-quantile is fitted on, as --images
    #[arg(long, value_name = "IN", requires = "threshold_quantile")]
    threshold_on: Option<String>,
    /// Conditional density: print p(y|x) of every class of each image
    #[arg(long)]
    conditional: bool,
    /// Images of a batch
    #[arg(long, default_value_t = BATCH)]
    batch: usize,
    #[command(flatten)]
    output: Output,
}

/// The figures of all images.
pub struct Table {
    pub classes: usize,
    pub logits: Vec<f32>,
    pub posteriors: Vec<Posterior>,
    /// NHWC.
    pub input_gradient: Option<Vec<f32>>,
    pub labels: Option<Vec<u32>>,
    /// The classes of least energy, `top` an image.
    pub ranking: Option<Vec<Vec<usize>>>,
    pub verdict: Option<Vec<bool>>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.posteriors.len()
    }

    pub fn logits_of(&self, i: usize) -> &[f32] {
        &self.logits[i * self.classes..][..self.classes]
    }

    /// Whether image `i` is classified right.
    pub fn correct(&self, i: usize) -> Option<bool> {
        self.labels.as_ref().map(|labels| labels[i] as usize == self.posteriors[i].prediction)
    }
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let beta = beta(arguments)?;
    if let Some(out) = &arguments.out {
        check_writable("--out", out)?;
        write::Format::of(out)?;
    }
    let (model, device) = arguments.model.open()?;
    let classes = model.architecture().classes();
    if arguments.batch == 0 {
        return Err(Error::setting("--batch", "must be at least 1, got 0"));
    }
    if let Some(top) = arguments.top.filter(|&top| top == 0 || top > classes) {
        return Err(Error::setting(
            "--top",
            format!("expected 1 to {classes}, the model's classes, got {top}"),
        ));
    }
    let threshold = Threshold::of(arguments)?;
    let images = open_images(&model, &arguments.images, arguments)?;
    let labels = labels(arguments, &images, classes)?;
    let settings = ScoreSettings {
        mode: arguments.model.norm_mode,
        beta: beta as f32,
        input_gradient: arguments.input_gradient,
    };
    let started = Instant::now();
    let (logits, input_gradient) = score(&device, &model, &images, settings, arguments, "scoring")?;
    let seconds = started.elapsed().as_secs_f64();
    let posteriors: Vec<Posterior> = logits.chunks(classes).map(|row| Posterior::new(row, beta)).collect();
    let ranked = |k| logits.chunks(classes).map(|row| ranking(row, k)).collect();
    let ranking = arguments.top.map(ranked);
    let threshold = match threshold {
        None => None,
        Some(Threshold::Given(value)) => Some(value),
        Some(Threshold::Quantile(share, text)) => {
            let fitted = open_images(&model, text, arguments)?;
            let settings = ScoreSettings { input_gradient: false, ..settings };
            let (logits, _) = score(&device, &model, &fitted, settings, arguments, "fitting")?;
            let densities = logits.chunks(classes).map(|row| Posterior::new(row, beta).logsumexp).collect();
            Some(verdict::quantile(densities, share))
        }
    };
    let verdict = threshold.map(|least| posteriors.iter().map(|p| p.logsumexp >= least).collect());
    let table = Table { classes, logits, posteriors, input_gradient, labels, ranking, verdict };
    if let Some(out) = &arguments.out {
        write::write(out, &table, &images, model.image_shape())?;
    }
    if !arguments.output.json {
        show(arguments, &table, &images);
    }
    let mut facts = facts(&model, &device, &images, &table, threshold);
    facts.add("seconds", format!("{seconds:.2} ({:.0} images/s)", images.count as f64 / seconds), seconds);
    if let Some(out) = &arguments.out {
        facts.text("wrote", out.display().to_string());
    }
    facts.print(&arguments.output);
    Ok(())
}

fn beta(arguments: &Arguments) -> Result<f64> {
    let (flag, value, beta) = match arguments.beta {
        Some(beta) => ("--beta", beta, beta),
        None => ("--temperature", arguments.temperature, 1.0 / arguments.temperature),
    };
    if value.is_finite() && value > 0.0 && beta.is_finite() {
        return Ok(beta);
    }
    Err(Error::setting(flag, format!("must be a finite number above 0, got {value}")))
}

fn open_images(model: &Model, text: &str, arguments: &Arguments) -> Result<Images> {
    let [height, width, channels] = model.image_shape();
    Images::open(text, arguments.data.as_deref())?.fit(height, width, channels)
}

/// The labels to compare with, if there are any.
fn labels(arguments: &Arguments, images: &Images, classes: usize) -> Result<Option<Vec<u32>>> {
    if arguments.no_labels {
        return Ok(None);
    }
    let Some(path) = &arguments.labels else {
        if images.labels.is_some() && images.class_names.len() != classes {
            let message = format!(
                "{} has {} classes, the model {classes}; score it without its labels by --no-labels",
                images.name,
                images.class_names.len()
            );
            return Err(Error::setting("--images", message));
        }
        return Ok(images.labels.clone());
    };
    write::read_labels(path, images.count, classes).map(Some)
}

/// The logits of all images, and the input gradients if they are wanted.
fn score(
    device: &Device,
    model: &Model,
    images: &Images,
    settings: ScoreSettings,
    arguments: &Arguments,
    what: &str,
) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
    let bar = progress(images.count, what, &arguments.output);
    let mut scorer: Option<(usize, Scorer)> = None;
    let mut logits = Vec::with_capacity(images.count * model.architecture().classes());
    let mut gradient = settings.input_gradient.then(Vec::new);
    for first in (0..images.count).step_by(arguments.batch) {
        let size = arguments.batch.min(images.count - first);
        // The last batch has a program of its own size.
        if scorer.as_ref().is_none_or(|(loaded, _)| *loaded != size) {
            scorer = Some((size, Scorer::new(device, model, settings, size)?));
        }
        let (_, scorer) = scorer.as_ref().expect("just made");
        let scores = scorer.score(&images.batch(first..first + size))?;
        logits.extend(scores.logits);
        if let (Some(all), Some(part)) = (&mut gradient, scores.input_gradient) {
            all.extend(part);
        }
        bar.inc(size as u64);
    }
    bar.finish_and_clear();
    if let Some(i) = logits.iter().position(|logit| logit.is_nan()) {
        let image = i / model.architecture().classes();
        let message = format!("image {image} of {} has logits that are not numbers", images.name);
        return Err(Error::file(model.path(), message));
    }
    Ok((logits, gradient))
}

fn facts(model: &Model, device: &Device, images: &Images, table: &Table, threshold: Option<f64>) -> Facts {
    let mut facts = Facts::default();
    let mean =
        |value: fn(&Posterior) -> f64| table.posteriors.iter().map(value).sum::<f64>() / table.len() as f64;
    facts.text("model", describe(model));
    facts.text("device", device.name());
    facts.add("images", format!("{}: {}", images.name, images.count), images.count);
    if table.labels.is_some() {
        let right = (0..table.len()).filter(|&i| table.correct(i) == Some(true)).count();
        let accuracy = right as f64 / table.len() as f64;
        facts.add("accuracy", format!("{:.2}%", 100.0 * accuracy), accuracy);
    }
    let logsumexp = mean(|p| p.logsumexp);
    facts.add("mean logsumexp", format!("{logsumexp:.4}"), logsumexp);
    let entropy = mean(|p| p.entropy);
    facts.add("mean entropy", format!("{entropy:.4} nats"), entropy);
    if let (Some(threshold), Some(verdict)) = (threshold, &table.verdict) {
        let share = verdict.iter().filter(|&&inside| inside).count() as f64 / table.len() as f64;
        facts.add("threshold", format!("{threshold:.6}"), threshold);
        facts.add("in distribution", format!("{:.2}%", 100.0 * share), share);
    }
    facts
}

/// The figures that were asked for one by one, of the first few images.
fn show(arguments: &Arguments, table: &Table, images: &Images) {
    let asked =
        arguments.predict || arguments.conditional || table.ranking.is_some() || table.verdict.is_some();
    if !asked {
        return;
    }
    let class = |k: usize| images.class_names.get(k).filter(|_| images.class_names.len() == table.classes);
    let class = |k: usize| class(k).cloned().unwrap_or_else(|| k.to_string());
    for i in 0..table.len().min(SHOWN) {
        let posterior = &table.posteriors[i];
        let name =
            images.files.as_ref().map_or_else(|| i.to_string(), |files| files[i].display().to_string());
        let mut line = name;
        if arguments.predict {
            let k = posterior.prediction;
            line += &format!("  {} energy {:.4}", class(k), -table.logits_of(i)[k]);
        }
        if let Some(ranking) = &table.ranking {
            let ranked = ranking[i].iter().map(|&k| format!("{} {:.4}", class(k), -table.logits_of(i)[k]));
            line += &format!("  ranked {}", ranked.collect::<Vec<_>>().join(", "));
        }
        if let Some(verdict) = &table.verdict {
            let word = if verdict[i] { "in" } else { "out" };
            line += &format!("  {word} (logsumexp {:.4})", posterior.logsumexp);
        }
        if arguments.conditional {
            let p = posterior.probabilities.iter().enumerate().map(|(k, p)| format!("{} {p:.4}", class(k)));
            line += &format!("  p(y|x) {}", p.collect::<Vec<_>>().join(", "));
        }
        println!("{line}");
    }
    if table.len() > SHOWN {
        println!("… and {} more: --out writes all", table.len() - SHOWN);
    }
}
