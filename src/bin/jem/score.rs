//! `jem score`: logits, energies, probabilities and input gradients of images.

mod labels;
mod show;
mod table;
mod verdict;
mod write;

use crate::class_names;
use crate::common::{
    ImageArguments, ModelArguments, Output, check_batch, check_not_source, check_writable, describe, progress,
};
use crate::facts::{Facts, number};
use crate::session::flags::Flags as _;
use jem::data::images::Images;
use jem::device::Device;
use jem::ebm::{Model, Posterior, ScoreSettings, Scores, ranking, scan};
use jem::words::counted;
use jem::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;
use table::{Gradients, ScoreTable};
use verdict::Threshold;
use write::Format;

/// The default batch size, in images.
const BATCH: usize = 100;

const EXAMPLES: &str = "Examples:
  jem score --model M --images cifar10:test --out scores.npz
  jem score --model M --images photos/ --predict --top 3 --classes-map plane=airplane
  jem score --model M --images svhn:test \\
      --threshold-quantile 0.05 --threshold-on cifar10:test
  jem score --model M --images x.npy --input-gradient --out scores.npz

Arrays of a .npz, each with a row per image:
  logits [N,K]            f(x)
  logsumexp [N]           minus the free energy: log p(x) up to a constant
  probabilities [N,K]     p(y|x)
  prediction [N]          the class of least energy, by number
  entropy [N]             of p(y|x), in nats
  labels, correct [N]     with labels
  dlogsumexp_dx [N,C,H,W], input_gradient_norm [N]   with --input-gradient
  ranking, ranking_energy [N,T]                      with --top T
  verdict [N]             with a threshold; 1: in distribution";

/// Score images: logits, LogSumExp, p(y|x), predictions, entropies, input gradients
///
/// The energy of an image and a class is E(x, y) = -f(x)[y]; the free energy of an image is -LogSumExp f(x).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Images: a .npy or .npz (float32 [N,C,H,W] in [-1, 1], or uint8 [N,H,W,C]), picture files, a folder of them, or a
    /// part of what `jem train --data` takes, such as cifar10:test, synthetic:test, photos:test or photos:val
    #[arg(long, value_name = "IN", num_args = 1.., required = true)]
    images: Vec<String>,
    #[command(flatten)]
    source: ImageArguments,
    /// Labels that replace those of the images: a .npy of integers [N], or for a folder a .csv with columns image and
    /// label
    #[arg(long, value_name = "FILE", conflicts_with = "no_labels")]
    labels: Option<PathBuf>,
    /// Ignore the labels of the images
    #[arg(long)]
    no_labels: bool,
    /// Names of the model's classes, in the order of its logits, if it does not have them: a text file with a name a
    /// line, or a data set, such as cifar10
    #[arg(long, value_name = "FILE|SET")]
    classes: Option<String>,
    /// The model's names for classes of the images: NAME=NAME,NAME=NAME, or a file with a pair a line, the images' name
    /// first
    #[arg(long, value_name = "PAIRS", conflicts_with = "no_labels")]
    classes_map: Option<String>,
    /// Output file: .npz (arrays) or .csv (a row per image, with the norm of the gradient only)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add the gradient of logsumexp at each image, and its norm
    #[arg(long)]
    input_gradient: bool,
    /// Temperature T of the Gibbs distribution p(y|x) ∝ exp(f(x)[y]/T); logsumexp becomes T·LogSumExp(f(x)/T)
    #[arg(long, value_name = "T", default_value_t = 1.0, conflicts_with = "beta")]
    temperature: f64,
    /// Inverse temperature β = 1/T, instead of --temperature
    #[arg(long, value_name = "β")]
    beta: Option<f64>,
    /// Predict: print the lowest-energy class of each image
    #[arg(long)]
    predict: bool,
    /// Rank: print the T lowest-energy classes of each image
    #[arg(long, value_name = "T")]
    top: Option<usize>,
    /// Detect: print for each image whether it is in distribution, that is, whether its logsumexp is at least L
    #[arg(long, value_name = "L", allow_negative_numbers = true, conflicts_with = "threshold_quantile")]
    threshold: Option<f64>,
    /// Detect with the Q-quantile (0 to 1) of the logsumexp of --threshold-on as the threshold
    #[arg(long, value_name = "Q", requires = "threshold_on")]
    threshold_quantile: Option<f64>,
    /// Images to fit the threshold of --threshold-quantile to, in the forms of --images
    #[arg(long, value_name = "IN", requires = "threshold_quantile")]
    threshold_on: Option<String>,
    /// Conditional density: print p(y|x) of every class for each image
    #[arg(long)]
    conditional: bool,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = BATCH)]
    batch: usize,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// Refuses to write over a file that is read.
    fn check_not_input(&self) -> Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        let texts = [
            ("the file of classes", &self.classes),
            ("the file of --classes-map", &self.classes_map),
            ("the file of --threshold-on", &self.threshold_on),
        ];
        let texts = texts.into_iter().filter_map(|(what, text)| Some((what, Path::new(text.as_ref()?))));
        let images = self.images.iter().map(|text| ("the file of images", Path::new(text)));
        let labels = self.labels.iter().map(|path| ("the file of labels", path.as_path()));
        let model = [("the model", self.model.model.as_path())];
        let mut sources = texts.chain(images).chain(labels).chain(model);
        sources.try_for_each(|(what, source)| check_not_source(out, what, source))
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let beta = beta(arguments)?;
    let format = arguments.out.as_deref().map(Format::of).transpose()?;
    if let Some(out) = &arguments.out {
        check_writable("--out", out)?;
    }
    arguments.check_not_input()?;
    check_batch(arguments.batch)?;
    let threshold = Threshold::of(arguments)?;
    let (model, device) = arguments.model.open(&arguments.output)?;
    let classes = model.network().classes();
    if let Some(top) = arguments.top.filter(|&top| top == 0 || top > classes) {
        let message = format!("expected 1 to {classes}, the model's classes, got {top}");
        return Err(Error::setting("--top", message));
    }
    let csv = arguments.labels.as_deref().filter(|path| labels::is_csv(path));
    let images = arguments.source.open_all("--images", &arguments.images, csv, &model, &arguments.output)?;
    let names = match &arguments.classes {
        Some(text) => Some(class_names::read("--classes", text)?),
        None => model.class_names().map(<[String]>::to_vec),
    };
    if let Some(names) = names.as_ref().filter(|names| names.len() != classes) {
        let message =
            format!("expected the names of the model's {}, got {}", counted(classes, "class"), names.len());
        return Err(Error::setting("--classes", message));
    }
    let labels = labels::labels(arguments, &images, classes, names.as_deref())?;
    let task = Task { arguments, device: &device, model: &model, beta };
    let threshold = threshold.map(|threshold| task.threshold(threshold)).transpose()?;

    let started = Instant::now();
    let gradients = arguments.input_gradient.then(|| match format {
        Some(Format::Npz) => Gradients::all(images.count, model.image_shape()),
        _ => Gradients::norms(model.image_shape()),
    });
    let (logits, gradients) = task.score(&images, "scoring", gradients)?;
    let seconds = started.elapsed().as_secs_f64();
    let posteriors: Vec<Posterior> = logits.chunks(classes).map(|row| Posterior::new(row, beta)).collect();
    let ranked = |k| logits.chunks(classes).map(|row| ranking(row, k)).collect();
    let ranking = arguments.top.map(ranked);
    let verdict = threshold.map(|least| posteriors.iter().map(|p| p.logsumexp >= least).collect());
    let mut table = ScoreTable {
        classes,
        names,
        logits,
        posteriors,
        gradients,
        labels: labels.classes,
        ranking,
        verdict,
    };

    let mut facts = facts(&model, &device, &images, &table, threshold);
    if let Some(note) = labels.note {
        facts.text("labels", note);
    }
    let speed = format!("{seconds:.2} ({:.0} images/s)", images.count as f64 / seconds);
    facts.add("seconds", speed, seconds);
    // The file before any line, whose reader may have left.
    if let (Some(out), Some(format)) = (&arguments.out, format) {
        write::write(out, format, &mut table, &images)?;
        facts.text("wrote", out.display().to_string());
    }
    if !arguments.output.json {
        show::figures(arguments, &table, &images);
    } else if arguments.out.is_none() {
        show::values(arguments, &table, &mut facts);
    }
    arguments.model.note_guesses(&model, &arguments.output);
    if threshold.is_some() {
        arguments.model.note_density(&model, &arguments.output);
    }
    facts.print(arguments.output.json);
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

/// A model on a device, with the flags.
struct Task<'a> {
    arguments: &'a Arguments,
    device: &'a Device,
    model: &'a Model,
    beta: f64,
}

impl Task<'_> {
    /// The threshold: the smallest logsumexp that counts as in distribution.
    fn threshold(&self, threshold: Threshold<'_>) -> Result<f64> {
        let (share, text) = match threshold {
            Threshold::Given(value) => return Ok(value),
            Threshold::Quantile(share, text) => (share, text),
        };
        let images =
            self.arguments.source.open("--threshold-on", text, self.model, &self.arguments.output)?;
        let (logits, _) = self.score(&images, "fitting the threshold", None)?;
        let rows = logits.chunks(self.model.network().classes());
        Ok(verdict::quantile(rows.map(|row| Posterior::new(row, self.beta).logsumexp).collect(), share))
    }

    /// The logits of all images; adds their input gradients to `gradients`.
    fn score(
        &self,
        images: &Images,
        what: &str,
        mut gradients: Option<Gradients>,
    ) -> Result<(Vec<f32>, Option<Gradients>)> {
        let settings = ScoreSettings {
            mode: self.arguments.model.norm_mode,
            beta: self.beta as f32,
            input_gradient: gradients.is_some(),
            features: false,
        };
        let bar = progress(images.count, what, &self.arguments.output);
        let mut logits = Vec::with_capacity(images.count * self.model.network().classes());
        let mut goes_on = |done: f64| {
            bar.set_position(done as u64);
            true
        };
        let mut each = |_, scores: Scores| {
            logits.extend(scores.logits);
            if let (Some(gradients), Some(part)) = (&mut gradients, scores.input_gradient) {
                gradients.push(&part);
            }
            Ok(())
        };
        let batch = self.arguments.batch;
        scan(self.device, self.model, settings, images, batch, &mut goes_on, &mut each)
            .batch(batch, &["score"])?;
        bar.finish_and_clear();
        Ok((logits, gradients))
    }
}

fn facts(
    model: &Model,
    device: &Device,
    images: &Images,
    table: &ScoreTable,
    threshold: Option<f64>,
) -> Facts {
    let mut facts = Facts::default();
    let share = |count: usize| count as f64 / table.len() as f64;
    let mean = |value: fn(&Posterior) -> f64| table.posteriors.iter().map(value).sum::<f64>() * share(1);
    facts.text("model", describe(model));
    facts.text("device", device.name());
    facts.add("images", format!("{} of {}", number(images.count), images.name), images.count);
    facts.value("images from", images.name.as_str());
    if table.labels.is_some() {
        let accuracy = share((0..table.len()).filter(|&i| table.correct(i) == Some(true)).count());
        facts.add("accuracy", format!("{:.2}%", 100.0 * accuracy), accuracy);
    }
    let logsumexp = mean(|p| p.logsumexp);
    facts.add("mean logsumexp", format!("{logsumexp:.4}"), logsumexp);
    let entropy = mean(|p| p.entropy);
    facts.add("mean entropy", format!("{entropy:.4} nats"), entropy);
    if let Some(gradients) = &table.gradients {
        let norm = gradients.norms.iter().map(|&norm| f64::from(norm)).sum::<f64>() * share(1);
        facts.add("mean input gradient norm", format!("{norm:.4}"), norm);
    }
    if let (Some(threshold), Some(verdict)) = (threshold, &table.verdict) {
        let inside = share(verdict.iter().filter(|&&inside| inside).count());
        facts.add("threshold", format!("{threshold:.6}"), threshold);
        facts.add("in distribution", format!("{:.2}%", 100.0 * inside), inside);
    }
    facts
}
