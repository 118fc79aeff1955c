//! `jem info`: describes a model.

use crate::common::{Output, check_batch, describe, open_model, waiting};
use crate::facts::{Facts, number};
use jem::Result;
use jem::device::{Device, Summary};
use jem::ebm::{Langevin, Model, Sampler, ScoreSettings, Scorer};
use jem::nn::architecture::NormMode;
use jem::words::noun;
use serde_json::{Value, json};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  jem info resnet20.safetensors
  jem info runs/cifar10-tiny-1 --batch 64 --json";

/// Describe a model: its architecture, how it was trained, and the cost of running it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model file, or a run directory, for its best.safetensors
    model: PathBuf,
    /// Batch size for the cost of scoring and sampling, in images
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let model = open_model(&arguments.model, &arguments.output)?;
    check_batch(arguments.batch)?;
    let mut facts = Facts::default();
    network(&model, &mut facts);
    training(&model, &mut facts);
    let waiting = waiting("counting the cost of a batch", &arguments.output);
    let summaries = summaries(&model, arguments.batch)?;
    drop(waiting);
    for (name, summary) in summaries {
        facts.line(&format!("{name} of {}", arguments.batch), summary.to_string());
        let value = json!({
            "batch": arguments.batch,
            "dispatches": summary.dispatches,
            "flops": summary.flops,
            "bytes_moved": summary.bytes_moved,
            "peak_bytes": summary.peak_bytes,
        });
        facts.value(&name.to_lowercase(), value);
    }
    facts.print(arguments.output.json);
    Ok(())
}

fn network(model: &Model, facts: &mut Facts) {
    let network = model.network();
    facts.text("file", model.path().display().to_string());
    facts.text("model", describe(model));
    facts.value("architecture", network.name());
    facts.value("parameters", network.layout().elements());
    facts.value("classes", network.classes());
    facts.value("image", json!(model.image_shape()));
    // The model was read without its replay buffer.
    let tensors = model.file().tensors.len() + usize::from(model.chains().is_some());
    facts.add("tensors", tensors.to_string(), tensors);
    crate::import::settings(model, facts);
    // The settings that the file states itself.
    let stated = network.settings().parse::<toml::Table>().unwrap_or_default();
    for setting in ["activation", "norm", "pooling"] {
        let is_assumed = model.assumptions().iter().any(|assumption| assumption.setting == setting);
        if let Some(value) = stated.get(setting).and_then(|value| value.as_str()).filter(|_| !is_assumed) {
            facts.text(setting, value);
        }
    }
    if model.normalisation().is_none() {
        if model.assumptions().is_empty() {
            facts.line("normalisation", "none: images in [-1, 1]");
        }
        facts.value("normalisation", Value::Null);
    }
    if let Some(chains) = model.chains() {
        facts.add("replay buffer", format!("{} {}", number(chains), noun(chains, "chain")), chains);
    }
}

/// Adds the provenance that the file records.
fn training(model: &Model, facts: &mut Facts) {
    let metadata = &model.file().metadata;
    for (key, name) in [("source", "source"), ("data", "trained on")] {
        if let Some(text) = metadata.get(key) {
            facts.text(name, text.clone());
        }
    }
    for (key, json) in metadata {
        if !matches!(key.as_str(), "iteration" | "validation") {
            continue;
        }
        let value: Value = serde_json::from_str(json).unwrap_or_else(|_| json.as_str().into());
        let text = match value.as_object() {
            Some(figures) if figures.get("accuracy") == Some(&Value::Null) => {
                figures.get_key_value("energy").map(figure).unwrap_or_default()
            }
            Some(figures) => figures.iter().map(figure).collect::<Vec<_>>().join(", "),
            None => json.clone(),
        };
        facts.add(key, text, value);
    }
    if let Some(recipe) = metadata.get("recipe") {
        let lines: Vec<&str> = recipe.lines().filter(|line| !line.is_empty()).collect();
        let value = toml::from_str(recipe).unwrap_or_else(|_| Value::from(recipe.as_str()));
        facts.add("recipe", lines.join(", "), value);
    }
}

fn figure((name, value): (&String, &Value)) -> String {
    let name = name.replace('_', " ");
    value.as_f64().map_or_else(|| format!("{name} {value}"), |value| format!("{name} {value:.4}"))
}

/// The cost of scoring a batch, and of an SGLD step on it.
fn summaries(model: &Model, batch: usize) -> Result<[(&'static str, Summary); 2]> {
    // On the host, loading compiles no pipelines.
    let device = Device::cpu();
    let mode = NormMode::Inference;
    let settings = ScoreSettings { mode, ..ScoreSettings::default() };
    let score = Scorer::new(&device, model, settings, batch)?.program().summary();
    let langevin = Langevin::default();
    let step = Sampler::new(&device, model, mode, langevin, batch, false, None)?;
    Ok([("scoring", score), ("SGLD step", step.program().summary())])
}
