//! `jem info`: what a model is.

use crate::common::{Facts, Output, describe};
use jem::device::{Device, Summary};
use jem::jem::{Langevin, Model, Sampler, ScoreSettings, Scorer};
use jem::nn::architecture::Mode;
use jem::{Error, Result};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  jem info resnet20.safetensors
  jem info runs/cifar10-tiny-1/best.safetensors --batch 64 --json";

/// Say what a model is, how it was trained, and what running it takes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model
    model: PathBuf,
    /// Images of a batch, for the summaries of its programs
    #[arg(long, default_value_t = 64)]
    batch: usize,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let model = Model::open(&arguments.model)?;
    if arguments.batch == 0 {
        return Err(Error::setting("--batch", "must be at least 1, got 0"));
    }
    let architecture = model.architecture();
    let mut facts = Facts::default();
    facts.text("file", model.path().display().to_string());
    facts.text("model", describe(&model));
    facts.text("architecture", architecture.name());
    facts.add("classes", architecture.classes().to_string(), architecture.classes());
    let [h, w, c] = model.image_shape();
    facts.add("images", format!("{h}x{w}x{c}"), json!([h, w, c]));
    let elements = architecture.layout().elements();
    facts.add("parameters", elements.to_string(), elements);
    let tensors = model.file().tensors.len();
    facts.add("tensors", tensors.to_string(), tensors);
    match model.normalisation() {
        Some(n) => facts.add(
            "normalisation",
            format!("mean {:?}, std {:?} of pixels in [0, 1]", n.mean, n.std),
            json!(n),
        ),
        None => facts.text("normalisation", "none: images in [-1, 1]"),
    }
    if let Some(chains) = model.chains() {
        facts.add("replay buffer", format!("{chains} chains"), chains);
    }
    for (key, name) in [
        ("source", "source"),
        ("data", "trained on"),
        ("iteration", "iteration"),
        ("validation", "validation"),
    ] {
        if let Some(value) = model.file().metadata.get(key) {
            facts.text(name, value.clone());
        }
    }
    if let Some(recipe) = model.file().metadata.get("recipe") {
        let lines: Vec<&str> = recipe.lines().filter(|line| !line.is_empty()).collect();
        facts.add("recipe", lines.join(", "), recipe.clone());
    }
    for (name, summary) in summaries(&model, arguments.batch)? {
        facts.add(
            &format!("{name} of {}", arguments.batch),
            summary.to_string(),
            json!({
                "dispatches": summary.dispatches,
                "flops": summary.flops,
                "bytes_moved": summary.bytes_moved,
                "peak_bytes": summary.peak_bytes,
            }),
        );
    }
    facts.print(&arguments.output);
    Ok(())
}

/// What scoring a batch and an SGLD step on it take.
fn summaries(model: &Model, batch: usize) -> Result<[(&'static str, Summary); 2]> {
    // On the host, where loading makes no pipelines.
    let device = Device::cpu();
    let mode = Mode::Inference;
    let settings = ScoreSettings { mode, beta: 1.0, input_gradient: false };
    let score = Scorer::new(&device, model, settings, batch)?.program().summary();
    let langevin = Langevin { step_size: 1.0, noise: 0.01, clamp_gradient: None, clamp_x: false };
    let step = Sampler::new(&device, model, mode, langevin, batch, false, None)?;
    Ok([("scoring", score), ("SGLD step", step.program().summary())])
}
