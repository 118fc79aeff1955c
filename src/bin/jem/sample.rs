//! `jem sample`: chains of Langevin dynamics from a trained model.

mod start;
mod write;

use crate::common::{Facts, ModelArguments, Output, describe, progress};
use jem::device::Device;
use jem::jem::{Langevin, Model, Sampler};
use jem::{Error, Result};
use start::Start;
use std::path::{Path, PathBuf};

/// Chains of a batch.
const BATCH: usize = 64;

const EXAMPLES: &str = "Examples:
  jem sample --model M --out samples
  jem sample --model M --class all --count 80 --steps 500 --film --out by_class
  jem sample --model M --init photos.npy --inpaint mask.png --steps 300 --out filled
  jem sample --model M --init x.npy --steps 8 --noise 0 --out ascent      # plain gradient ascent
  jem sample --model M --init gaussians --init-data cifar10:train --class 3 --out cats

Written into --out: samples.npy (float32 [N,C,H,W] in the model's own range), samples.png (a grid, with --class a
row a class), log_density.npy [steps + 1, N] and energies.png (a curve a step), with --film film.gif.";

/// Draw samples: x += step size * ∂ log p(x)/∂x + noise * N(0, 1)
///
/// log p(x) is LogSumExp f(x) up to a constant; with --class Y each chain climbs log p(x|y), which is f(x)[y].
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Directory to write into; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where chains start: uniform (noise in [-1, 1]), buffer (the model's replay buffer), gaussians (one a class of
    /// --init-data), or images as `jem score --images` takes them [default: uniform]
    #[arg(long, value_name = "IN", default_value = "uniform")]
    init: String,
    /// The labelled images that --init gaussians is fitted to
    #[arg(long, value_name = "SET", default_value = "cifar10:train")]
    init_data: String,
    /// Directory of data sets [default: $JEM_DATA, ./data, the user's cache]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Chains [default: 64, or as many as --init has images]
    #[arg(long)]
    count: Option<usize>,
    /// Classes to sample from: numbers separated by commas, or all; chains take them in turn
    #[arg(long, value_name = "Y", value_delimiter = ',')]
    class: Vec<String>,
    /// SGLD steps
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Factor of the gradient [default: as trained, else 1]
    #[arg(long)]
    step_size: Option<f32>,
    /// Standard deviation of the noise [default: as trained, else 0.01]
    #[arg(long)]
    noise: Option<f32>,
    /// Keep samples in [-1, 1]: true or false [default: as trained, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    clamp: Option<bool>,
    /// Bound on each element of the gradient; 0: none [default: as trained, else none]
    #[arg(long, value_name = "G")]
    clamp_gradient: Option<f32>,
    /// A picture of the images' size: pixels that are white in it are filled in, black ones are held
    #[arg(long, value_name = "MASK.png")]
    inpaint: Option<PathBuf>,
    /// Write film.gif, from the start to the samples
    #[arg(long)]
    film: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u32,
    #[command(flatten)]
    output: Output,
}

/// What the chains came to.
pub struct Samples {
    /// NHWC.
    pub images: Vec<f32>,
    /// The class of each chain, if they have one.
    pub labels: Option<Vec<u32>>,
    /// Of each step, and of the end: each chain's log density up to a constant, in nats.
    pub log_density: Vec<Vec<f32>>,
    /// The chains at moments of the way, NHWC; empty without --film.
    pub frames: Vec<Vec<f32>>,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (model, device) = arguments.model.open()?;
    let langevin = langevin(arguments, &model)?;
    let classes = classes(&arguments.class, model.architecture().classes())?;
    let mask = arguments.inpaint.as_deref().map(|path| mask(path, &model)).transpose()?;
    let start = Start::new(arguments, &model, mask.is_some())?;
    let count = start.count(arguments.count)?;
    std::fs::create_dir_all(&arguments.out).map_err(Error::io(&arguments.out))?;

    let samples = sample(arguments, &device, &model, langevin, &classes, &start, count, mask.as_deref())?;
    let written = write::write(&arguments.out, &samples, model.image_shape())?;

    let mut facts = Facts::default();
    facts.text("model", describe(&model));
    facts.text("device", device.name());
    facts.add("samples", format!("{count}, {} steps each", arguments.steps), count);
    facts.text("start", start.name());
    let settings = format!(
        "step size {}, noise {}, gradient {}, pixels {}",
        langevin.step_size,
        langevin.noise,
        langevin.clamp_gradient.map_or("free".into(), |bound| format!("within ±{bound}")),
        if langevin.clamp_x { "in [-1, 1]" } else { "free" },
    );
    facts.text("settings", settings);
    let mean = |row: &Vec<f32>| row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64;
    if let (Some(first), Some(last)) = (samples.log_density.first(), samples.log_density.last()) {
        facts.add("mean energy at the start", format!("{:.4}", -mean(first)), -mean(first));
        facts.add("mean energy at the end", format!("{:.4}", -mean(last)), -mean(last));
    }
    let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    facts.add("wrote", paths.join(", "), paths.clone());
    facts.print(&arguments.output);
    Ok(())
}

/// The flags, over what the model was trained with, over JEM's published settings.
fn langevin(arguments: &Arguments, model: &Model) -> Result<Langevin> {
    let mut langevin = model.langevin().unwrap_or(Langevin {
        step_size: 1.0,
        noise: 0.01,
        clamp_gradient: None,
        clamp_x: false,
    });
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

/// The classes that chains take in turn; none: samples of p(x).
fn classes(asked: &[String], classes: usize) -> Result<Vec<u32>> {
    let all = 0..classes as u32;
    if let [one] = asked
        && one == "all"
    {
        return Ok(all.collect());
    }
    let class = |text: &String| match text.parse::<u32>() {
        Ok(class) if all.contains(&class) => Ok(class),
        _ => Err(Error::setting("--class", format!("expected 0 to {} or all, got {text:?}", classes - 1))),
    };
    asked.iter().map(class).collect()
}

/// The mask's elements, NHWC of one image: 1 where the picture is white.
fn mask(path: &Path, model: &Model) -> Result<Vec<f32>> {
    let [height, width, channels] = model.image_shape();
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let picture = image::load_from_memory(&bytes)
        .map_err(|error| Error::file(path, format!("cannot be read as a picture: {error}")))?
        .into_luma8();
    if picture.dimensions() != (width as u32, height as u32) {
        let (found_width, found_height) = picture.dimensions();
        let message =
            format!("expected a mask of {width}x{height} pixels, found {found_width}x{found_height}");
        return Err(Error::file(path, message));
    }
    let element = |pixel: &u8| std::iter::repeat_n(f32::from(u8::from(*pixel >= 128)), channels);
    Ok(picture.as_raw().iter().flat_map(element).collect())
}

fn sample(
    arguments: &Arguments,
    device: &Device,
    model: &Model,
    langevin: Langevin,
    classes: &[u32],
    start: &Start,
    count: usize,
    mask: Option<&[f32]>,
) -> Result<Samples> {
    let conditional = !classes.is_empty();
    // A row of the grid a class.
    let per_class = count.div_ceil(classes.len().max(1));
    let labels: Vec<u32> = (0..count).map(|i| if conditional { classes[i / per_class] } else { 0 }).collect();
    let steps = arguments.steps;
    let frame_steps = write::frame_steps(steps);
    let mut samples = Samples {
        images: Vec::new(),
        labels: conditional.then(|| labels.clone()),
        log_density: vec![Vec::with_capacity(count); steps + 1],
        frames: if arguments.film { vec![Vec::new(); frame_steps.len()] } else { Vec::new() },
    };
    let chains = count.min(BATCH);
    let mode = arguments.model.norm_mode;
    let sampler = Sampler::new(device, model, mode, langevin, chains, conditional, mask)?;
    let bar = progress(count.div_ceil(chains) * steps, "step", &arguments.output);
    let image = model.image_shape().iter().product::<usize>();
    for (batch, first) in (0..count).step_by(chains).enumerate() {
        let kept = chains.min(count - first);
        // The last batch is filled up with chains that are not kept.
        let mut labels = labels[first..first + kept].to_vec();
        labels.resize(chains, labels[0]);
        let images = start.images(first, chains, &labels)?;
        sampler.start(&images, &labels, arguments.seed, (batch * steps) as u32)?;
        for step in 0..=steps {
            if arguments.film
                && let Some(frame) = frame_steps.iter().position(|&at| at == step)
            {
                samples.frames[frame].extend(&sampler.images()?[..kept * image]);
            }
            let log_density = if step < steps { sampler.step()? } else { sampler.density()? };
            samples.log_density[step].extend(&log_density[..kept]);
            bar.inc(u64::from(step < steps));
        }
        samples.images.extend(&sampler.images()?[..kept * image]);
    }
    bar.finish_and_clear();
    Ok(samples)
}
