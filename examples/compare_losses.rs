//! The losses of LeCun et al., "A Tutorial on Energy-Based Learning" (2006), on one network, one data set, one protocol.
//!
//! Prints a table and writes a picture of the test accuracies. The formulas: docs/losses.md.

use clap::Parser;
use jem::compute::functional::Functional;
use jem::data::{Dataset, cifar, synthetic};
use jem::device::{Device, DeviceOptions, DeviceSpec};
use jem::graph::{Function, Graph};
use jem::jem::{Guard, Overrides, Preset, Recipe, Trainer};
use jem::nn::parameters::PARAMETERS;
use jem::nn::wide_resnet::WideResNet;
use jem::report::multiples::{Curve, plot};
use jem::report::progress::Progress;
use jem::report::status::Status;
use jem::{Error, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "Examples:
  cargo run --release --example compare_losses
      every loss on the embedded drawings, about two minutes on two CPU cores
  cargo run --release --example compare_losses -- --losses hinge,nll,cross-entropy --margin 3 --iterations 1000
  cargo run --release --example compare_losses -- --data cifar-10-batches-bin --device gpu --iterations 5000
  cargo run --release --example compare_losses -- --p-x 0.5     # each beside log p(x), as in JEM";

/// Images of a batch in which the test images are scored.
const SCORED: usize = 50;
/// Points of a curve of test accuracy.
const POINTS: u64 = 10;
/// The training loss is a mean over this many last iterations.
const LAST: usize = 20;

/// Compare losses of labelled energies: one network, one data set, one protocol.
///
/// Trains the same classifier once for each loss, from the same weights on the same batches, and shows accuracy and
/// energies on test images.
#[derive(Debug, Parser)]
#[command(name = "compare_losses", after_help = EXAMPLES, args_override_self = true)]
struct Arguments {
    /// Directory with CIFAR-10's binary version [default: embedded drawings of ten classes]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// Losses to compare [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    losses: Vec<String>,
    /// Test images that are scored
    #[arg(long, default_value_t = 500, value_name = "N")]
    test_images: usize,
    /// The picture
    #[arg(long, default_value = "compare_losses.png", value_name = "FILE")]
    out: PathBuf,
    /// Print nothing but errors and the table
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    overrides: Overrides,
}

fn main() -> ExitCode {
    jem::self_test::serve();
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    if arguments.overrides.labelled_loss.is_some() {
        return Err(Error::setting("labelled_loss", "is what is compared: choose with --losses"));
    }
    if arguments.test_images == 0 {
        return Err(Error::setting("--test-images", "must be at least 1, got 0"));
    }
    let recipe = protocol(&arguments.overrides);
    let names = match arguments.losses.as_slice() {
        [] => Functional::all(1.0, 1.0)
            .map(|f| f.name().to_owned())
            .into_iter()
            .chain(["cross-entropy".into()])
            .collect(),
        names => names.to_vec(),
    };
    let recipes: Vec<Recipe> =
        names.into_iter().map(|labelled_loss| Recipe { labelled_loss, ..recipe.clone() }).collect();
    let (train, test) = match &arguments.data {
        Some(directory) => cifar::load(directory)?,
        None => synthetic::synthetic(5000, arguments.test_images, 0),
    };
    // Every mistake in the settings is told before the first minute is spent.
    recipes.iter().try_for_each(|recipe| recipe.check(train.len(), train.classes()))?;
    let test = test.subset(&(0..arguments.test_images.min(test.len())).collect::<Vec<_>>());
    let device = Device::open(&arguments.device, DeviceOptions::default())?;
    let total = recipe.total_iterations(train.len());
    if !arguments.quiet {
        let label = if train.synthetic { " (SYNTHETIC)" } else { "" };
        println!("device  {}", device.name());
        println!("data    {}{label}: {} training and {} test images", train.name, train.len(), test.len());
        println!(
            "model   WRN-{}-{}, batch {}, {total} iterations of {} losses, margin {}, beta {}, p(x) weight {}\n",
            recipe.depth,
            recipe.width,
            recipe.batch,
            recipes.len(),
            recipe.margin,
            recipe.beta,
            recipe.p_x
        );
    }
    let mut progress = Progress::new(0, total * recipes.len() as u64, arguments.quiet);
    let mut outcomes = Vec::new();
    for (recipe, index) in recipes.iter().zip(0..) {
        let outcome = train_one(&device, recipe, (&train, &test), index * total, &mut progress)?;
        progress.note(&outcome.line());
        outcomes.push(outcome);
    }
    progress.finish();
    println!("\n{HEADER}");
    outcomes.iter().for_each(|outcome| println!("{}", outcome.line()));
    let curves: Vec<Curve> = outcomes.iter().map(Outcome::curve).collect();
    let label = if test.synthetic { "synthetic drawings" } else { "CIFAR-10" };
    let title = format!("Test accuracy on {label}, one loss a panel, the others grey");
    plot(&arguments.out, &curves, 0.0..1.0, &title, "iteration")?;
    println!("\npicture {}", arguments.out.display());
    Ok(())
}

/// The `tiny` preset as a classifier alone, for a tenth of its time.
fn protocol(overrides: &Overrides) -> Recipe {
    let mut recipe = Recipe {
        p_x: 0.0,
        energy_l2: 0.0,
        lr: 1e-3,
        warmup: 50,
        iterations: 300,
        decay_at: vec![],
        validation: 0,
        flip: false,
        ..Preset::Tiny.recipe()
    };
    recipe.apply(overrides);
    recipe
}

const HEADER: &str =
    "loss                train loss   accuracy     E(right)     E(wrong)          gap   seconds";

/// What a loss came to.
struct Outcome {
    name: String,
    train_loss: f64,
    scores: Scores,
    accuracies: Vec<(f64, f64)>,
    trained: Duration,
    /// Why training ended early.
    diverged: Option<String>,
}

impl Outcome {
    fn line(&self) -> String {
        let Scores { accuracy, right, wrong } = self.scores;
        let mut line = format!(
            "{:<19} {:>10.4} {:>9.1}% {right:>12.2} {wrong:>12.2} {:>+12.2} {:>9.1}",
            self.name,
            self.train_loss,
            100.0 * accuracy,
            wrong - right,
            self.trained.as_secs_f64()
        );
        if let Some(reason) = &self.diverged {
            line += &format!("   {reason}");
        }
        line
    }

    fn curve(&self) -> Curve {
        let Scores { accuracy, right, wrong } = self.scores;
        let note = match self.diverged {
            Some(_) => "diverged".into(),
            None => format!("{:.1}%   E right {right:.2}, wrong {wrong:.2}", 100.0 * accuracy),
        };
        Curve { name: self.name.clone(), note, points: self.accuracies.clone() }
    }
}

fn train_one(
    device: &Device,
    recipe: &Recipe,
    (train, test): (&Dataset, &Dataset),
    before: u64,
    progress: &mut Progress,
) -> Result<Outcome> {
    let mut trainer = Trainer::new(device, recipe, train)?;
    let scorer = Scorer::new(device, trainer.network(), test)?;
    let mut guard = Guard::new();
    let total = recipe.total_iterations(train.len());
    let mut scores = scorer.score(&trainer.parameters()?)?;
    let mut accuracies = vec![(0.0, scores.accuracy)];
    let (mut losses, mut trained, mut diverged) = (Vec::new(), Duration::ZERO, None);
    for done in 1..=total {
        let begin = Instant::now();
        trainer.step()?;
        let scored = done % (total / POINTS).max(1) == 0 || done == total;
        let metrics = if scored { trainer.finish_metrics()? } else { trainer.metrics()? };
        trained += begin.elapsed();
        for metrics in &metrics {
            losses.push(metrics.loss);
            if let Err(fault) = guard.check(recipe, metrics) {
                diverged.get_or_insert(fault.to_string());
            }
        }
        let last = metrics.last();
        let status =
            Status { loss: last.map(|m| m.loss), accuracy: last.map(|m| m.accuracy), ..Status::default() };
        progress.update(before + done, &status);
        if scored || diverged.is_some() {
            scores = scorer.score(&trainer.parameters()?)?;
            accuracies.push((done as f64, scores.accuracy));
        }
        if diverged.is_some() {
            break;
        }
    }
    let last = &losses[losses.len().saturating_sub(LAST)..];
    let train_loss = last.iter().sum::<f64>() / last.len() as f64;
    Ok(Outcome { name: recipe.labelled_loss.clone(), train_loss, scores, accuracies, trained, diverged })
}

/// Means over test images.
#[derive(Debug, Clone, Copy)]
struct Scores {
    /// The share classified right.
    accuracy: f64,
    /// The energy -f(x)[y] of the right answer.
    right: f64,
    /// The energy of the most offending wrong answer.
    wrong: f64,
}

/// The test images' logits by the parameters of a model in training.
struct Scorer<'a> {
    logits: Function,
    data: &'a Dataset,
    batch: usize,
}

impl<'a> Scorer<'a> {
    fn new(device: &Device, network: &WideResNet, data: &'a Dataset) -> Result<Self> {
        let batch = SCORED.min(data.len());
        let graph = Graph::new();
        let x = graph.input("x", [batch, data.height, data.width, data.channels]);
        let logits = network.logits(&network.layout(), &x);
        Ok(Self { logits: Function::new(device, &[("logits", &logits)])?, data, batch })
    }

    fn score(&self, parameters: &[f32]) -> Result<Scores> {
        let (data, classes) = (self.data, self.data.classes());
        self.logits.set(PARAMETERS, parameters)?;
        let mut sums = [0.0; 3];
        for first in (0..data.len()).step_by(self.batch) {
            // The last batch is filled up with images that have been counted.
            let count = self.batch.min(data.len() - first);
            let images = (first..first + self.batch).map(|i| data.image(if i < data.len() { i } else { 0 }));
            let x: Vec<f32> = images.flatten().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
            self.logits.set("x", &x)?;
            self.logits.run()?;
            let logits = self.logits.get("logits")?;
            for (logits, &label) in logits.chunks(classes).zip(&data.labels[first..first + count]) {
                let label = label as usize;
                let right = f64::from(-logits[label]);
                let others = logits.iter().enumerate().filter(|(class, _)| *class != label);
                let wrong = others.map(|(_, &f)| f64::from(-f)).fold(f64::INFINITY, f64::min);
                sums[0] += f64::from(u8::from(right < wrong));
                sums[1] += right;
                sums[2] += wrong;
            }
        }
        let [accuracy, right, wrong] = sums.map(|sum| sum / data.len() as f64);
        Ok(Scores { accuracy, right, wrong })
    }
}
