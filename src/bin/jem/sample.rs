//! `jem sample`: chains of Langevin dynamics from a trained model.

mod mask;
mod start;
mod write;

use crate::class_names;
use crate::common::{
    ImageArguments, ModelArguments, Output, check_batch, check_directory, check_not_source, describe,
    progress, waiting,
};
use crate::facts::Facts;
use crate::session::flags::Flags as _;
use indicatif::ProgressBar;
use jem::device::Device;
use jem::ebm::{Langevin, Model, Moment, Observer, Sampler, Sampling};
use jem::words::counted;
use jem::{Error, Result};
use serde_json::{Value, json};
pub use start::{BUFFER, GAUSSIANS, UNIFORM};
use std::path::{Path, PathBuf};

/// The default batch size, in chains.
const BATCH: usize = 64;
/// The default number of steps of chains that do not continue the replay buffer.
const STEPS: usize = 100;

const EXAMPLES: &str = "Examples:
  jem sample --model M --out samples
  jem sample --model M --class all --count 80 --steps 500 --film --out by_class
  jem sample --model M --init cifar10:test --inpaint mask.png --out filled
  jem sample --model M --init gaussians --class 3 --out cats
  jem sample --model M --init x.npy --noise 0 --steps 8 --out gradient_ascent

Written into --out:
  samples.npy       float32 [N,C,H,W], beyond [-1, 1] where not clamped
  samples.png       a grid; with several classes, a row per class
  log_density.npy   float32 [steps + 1, N], up to a constant, in nats
  energies.png      minus log_density, a line per chain and their mean
  film.gif          with --film: the grid, from the start to the samples";

/// Draw samples by SGLD: x += step size * ∂ log p(x)/∂x + noise * N(0, 1)
///
/// log p(x) is LogSumExp f(x) up to a constant; with --class Y each chain samples p(x|y), whose log is f(x)[y] up to a
/// constant.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Directory to write into; created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Starting points of chains: uniform (noise in [-1, 1]), buffer (the chains of the model's replay buffer with the
    /// most SGLD steps), gaussians (a Gaussian for each class of --init-data), or images as for `jem score --images`
    /// [default: buffer if the model has one, and for --class only if its chains have classes; else uniform]
    #[arg(long, value_name = "IN")]
    init: Option<String>,
    /// Labelled images to fit the Gaussians of --init gaussians to
    #[arg(long, value_name = "SET", default_value = "cifar10:train")]
    init_data: String,
    #[command(flatten)]
    source: ImageArguments,
    /// Number of chains, the same for each class of --class [default: 64, or all that --init has if these are fewer,
    /// rounded to a multiple of the number of classes]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Classes to sample from: names or numbers separated by commas, each class once, or all; each class gets the same
    /// number of chains
    #[arg(long, value_name = "Y", value_delimiter = ',')]
    class: Vec<String>,
    /// Number of SGLD steps [default: those of an iteration of training from the replay buffer, else 100]
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// SGLD step size: factor of the gradient [default: as trained, else 1]
    #[arg(long, value_name = "A")]
    step_size: Option<f32>,
    /// Standard deviation of the noise of each update [default: as trained, else 0.01]
    #[arg(long, value_name = "S")]
    noise: Option<f32>,
    /// Clamp samples to [-1, 1]: true or false [default: as trained, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    clamp: Option<bool>,
    /// Bound on each element of the gradient; 0: none [default: as trained, else none]
    #[arg(long, value_name = "G")]
    clamp_gradient: Option<f32>,
    /// Mask for inpainting, a picture of the images' size: white pixels are filled in, black pixels are held
    #[arg(long, value_name = "MASK.png")]
    inpaint: Option<PathBuf>,
    /// Write film.gif: the grid of samples from the start to the end
    #[arg(long)]
    film: bool,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// Chains per batch
    #[arg(long, value_name = "N", default_value_t = BATCH)]
    batch: usize,
    #[command(flatten)]
    output: Output,
}

/// The samples.
pub struct Samples {
    /// The final images, NHWC.
    pub images: Vec<f32>,
    /// The log density of each chain up to a constant, in nats: before each step and at the end.
    pub log_density: Vec<Vec<f32>>,
    /// The chains at several steps, NHWC; empty without --film.
    pub frames: Vec<Vec<f32>>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_batch(arguments.batch)?;
    let continues = matches!(arguments.init.as_deref(), None | Some(BUFFER)) && arguments.inpaint.is_none();
    let chains = continues || arguments.init.as_deref() == Some(BUFFER);
    let (model, device) = arguments.model.open_with(&arguments.output, chains)?;
    let channels = model.network().channels();
    if !matches!(channels, 1 | 3) {
        let message =
            format!("{} has images of {channels} channels, and pictures have 1 or 3", model.path().display());
        return Err(Error::setting("--model", message));
    }
    let of_classes = model.recipe().is_some_and(|recipe| recipe.class_conditional);
    let init = match &arguments.init {
        Some(init) => init,
        // Chains of p(x) are of no class.
        None if !arguments.class.is_empty() && !of_classes => UNIFORM,
        None if continues && model.chains().is_some_and(|chains| chains > 0) => BUFFER,
        None => UNIFORM,
    };
    let trained = model.recipe().filter(|_| init == BUFFER).map(|recipe| recipe.steps);
    let steps = arguments.steps.unwrap_or(trained.unwrap_or(STEPS));
    let langevin = langevin(arguments, &model)?;
    let classes = classes(&arguments.class, &model)?;
    let mut start = start::source(arguments, init, &model, &classes)?;
    let mask = arguments.inpaint.as_deref().map(|path| mask::read(path, &model)).transpose()?;
    let count = start::count(&start, arguments.count, &classes)?;
    start.select(count, &classes);
    check_directory("--out", &arguments.out)?;
    for name in write::NAMES {
        let out = arguments.out.join(name);
        let init = arguments.init.iter().map(|init| ("the file of --init", Path::new(init)));
        let mask = arguments.inpaint.iter().map(|path| ("the mask", path.as_path()));
        init.chain(mask).try_for_each(|(what, source)| check_not_source(&out, what, source))?;
    }

    let samples = sample(
        arguments,
        &device,
        &Sampling {
            model: &model,
            mode: arguments.model.norm_mode,
            langevin,
            start: &start,
            classes: &classes,
            count,
            steps,
            batch: arguments.batch,
            seed: arguments.seed,
            mask: mask.as_deref(),
        },
    )?;
    let waiting = waiting("writing samples", &arguments.output);
    let written = write::write(&arguments.out, &samples, model.image_shape(), classes.len())?;
    drop(waiting);

    let mut facts = Facts::default();
    facts.text("model", describe(&model));
    facts.text("device", device.name());
    facts.add("samples", format!("{count}, {} each", counted(steps, "step")), count);
    facts.value("steps", steps);
    facts.text("start", start.name(count));
    if !classes.is_empty() {
        let name = |&class: &u32| match model.class_names() {
            Some(names) => names[class as usize].clone(),
            None => class.to_string(),
        };
        let text = classes.iter().map(name).collect::<Vec<_>>().join(", ");
        facts.add("classes", text, classes);
    }
    settings(langevin, &mut facts);
    let mean = |row: &Vec<f32>| row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64;
    if let (Some(first), Some(last)) = (samples.log_density.first(), samples.log_density.last()) {
        facts.add("mean energy at the start", format!("{:.4}", -mean(first)), -mean(first));
        facts.add("mean energy at the end", format!("{:.4}", -mean(last)), -mean(last));
    }
    let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    facts.add("wrote", paths.join(", "), paths.clone());
    arguments.model.note_guesses(&model, &arguments.output);
    arguments.model.note_density(&model, &arguments.output);
    facts.print(arguments.output.json);
    Ok(())
}

fn settings(langevin: Langevin, facts: &mut Facts) {
    let Langevin { step_size, noise, clamp_gradient, clamp_x, inner_steps } = langevin;
    let gradient = clamp_gradient.map_or("free".into(), |bound| format!("within ±{bound}"));
    let pixels = if clamp_x { "in [-1, 1]" } else { "free" };
    let inner = if inner_steps > 1 { format!("{inner_steps} inner steps of ") } else { String::new() };
    let text = format!("{inner}step size {step_size}, noise {noise}, gradient {gradient}, pixels {pixels}");
    facts.line("settings", text);
    // The shortest decimal form: 0.01, not the value of the nearest float32.
    let decimal = |value: f32| json!(value.to_string().parse::<f64>().unwrap_or(f64::from(value)));
    facts.value("step_size", decimal(step_size));
    facts.value("noise", decimal(noise));
    facts.value("clamp_gradient", clamp_gradient.map_or(Value::Null, decimal));
    facts.value("clamp", clamp_x);
    facts.value("inner_steps", inner_steps);
}

/// The SGLD settings: the flags, else the model's own, else JEM's published ones.
fn langevin(arguments: &Arguments, model: &Model) -> Result<Langevin> {
    let mut langevin = model.langevin().unwrap_or_default();
    let check = |flag: &str, value: f32| match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(Error::setting(flag, format!("must be a finite number of at least 0, got {value}"))),
    };
    if let Some(value) = arguments.step_size {
        langevin.step_size = check("--step-size", value)?;
    }
    if let Some(value) = arguments.noise {
        langevin.noise = check("--noise", value)?;
    }
    if let Some(value) = arguments.clamp_gradient {
        langevin.clamp_gradient = (check("--clamp-gradient", value)? > 0.0).then_some(value);
    }
    if let Some(clamp) = arguments.clamp {
        langevin.clamp_x = clamp;
    }
    Ok(langevin)
}

/// The classes of the chains; empty for samples of p(x).
fn classes(asked: &[String], model: &Model) -> Result<Vec<u32>> {
    let classes = model.network().classes();
    if classes == 1 && !asked.is_empty() {
        return Err(Error::setting("--class", "the model is a scalar energy, which has no classes"));
    }
    if let [one] = asked
        && one == "all"
    {
        return Ok((0..classes as u32).collect());
    }
    let mut found: Vec<u32> = Vec::new();
    for text in asked {
        let class = class_names::find("--class", text, classes, model.class_names())?;
        if let Some(before) = found.iter().position(|&other| other == class) {
            let names = if asked[before] == *text {
                format!("{text:?}")
            } else {
                format!("{:?} and {text:?}", asked[before])
            };
            let message = format!(
                "expected each class once, got class {class} twice ({names}); --count draws more chains of each class"
            );
            return Err(Error::setting("--class", message));
        }
        found.push(class);
    }
    Ok(found)
}

fn sample(arguments: &Arguments, device: &Device, sampling: &Sampling) -> Result<Samples> {
    let frame_steps = write::frame_steps(sampling.steps);
    let frames = if arguments.film { vec![Vec::new(); frame_steps.len()] } else { Vec::new() };
    let bar = progress(sampling.batches() * sampling.steps, "SGLD step", &arguments.output);
    let sampler = sampling.sampler(device).batch(sampling.chains(), &["sgld", "density"])?;
    let mut seen = Seen {
        samples: Samples { images: Vec::new(), log_density: Vec::new(), frames },
        frame_steps,
        steps: sampling.steps,
        image: sampling.model.image_shape().iter().product(),
        bar: &bar,
    };
    sampling.run(&sampler, &mut seen)?;
    let samples = seen.samples;
    bar.finish_and_clear();
    Ok(samples)
}

/// The samples so far.
struct Seen<'a> {
    samples: Samples,
    frame_steps: Vec<usize>,
    steps: usize,
    image: usize,
    bar: &'a ProgressBar,
}

impl Observer for Seen<'_> {
    fn at(&mut self, moment: Moment, sampler: &Sampler) -> Result<()> {
        let frame = self.frame_steps.iter().position(|&at| at == moment.step);
        if let Some(frame) = frame.and_then(|frame| self.samples.frames.get_mut(frame)) {
            frame.extend(&sampler.images()?[..moment.chains * self.image]);
        }
        if moment.step == self.steps {
            self.samples.images.extend(&sampler.images()?[..moment.chains * self.image]);
        }
        Ok(())
    }

    fn log_density(&mut self, moment: Moment, log_density: &[f32]) -> Result<bool> {
        check(log_density, moment.first, moment.step)?;
        if moment.batch == 0 {
            self.samples.log_density.push(Vec::new());
        }
        self.samples.log_density[moment.step].extend(log_density);
        self.bar.inc(u64::from(moment.step < self.steps));
        Ok(true)
    }
}

/// Fails if the log density of a chain is not finite.
fn check(log_density: &[f32], first: usize, step: usize) -> Result<()> {
    let Some(i) = log_density.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    Err(Error::ChainDiverged { chain: first + i, step, log_density: log_density[i] })
}
