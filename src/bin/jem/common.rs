//! What the commands share: flags, facts as text or JSON, a progress bar.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jem::device::{Device, DeviceOptions, DeviceSpec};
use jem::jem::Model;
use jem::nn::architecture::Mode;
use jem::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// How a command speaks.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// Print facts as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(long)]
    pub quiet: bool,
}

/// A model on a device.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// A model: safetensors of ours or of PyTorch users, or a .pt that `jem import` reads
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    pub device: DeviceSpec,
    /// Statistics of batch normalisation: inference (those of training) or training (each batch's own)
    #[arg(long, value_name = "MODE", default_value = "inference")]
    pub norm_mode: Mode,
}

impl ModelArguments {
    /// Reads the model and opens the device.
    pub fn open(&self) -> Result<(Model, Device)> {
        let model = Model::open(&self.model)?;
        Ok((model, Device::open(&self.device, DeviceOptions::default())?))
    }
}

/// What a command found out, printed at its end: a line each, or one JSON object.
#[derive(Debug, Default)]
pub struct Facts {
    lines: Vec<(String, String)>,
    json: Map<String, Value>,
}

impl Facts {
    /// Adds a fact with its text for people and its value for programs.
    pub fn add(&mut self, name: &str, text: impl Into<String>, value: impl Into<Value>) {
        self.lines.push((name.into(), text.into()));
        self.json.insert(name.replace(' ', "_"), value.into());
    }

    /// Adds a fact that reads the same for both.
    pub fn text(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        self.add(name, text.clone(), text);
    }

    /// Prints all.
    pub fn print(&self, output: &Output) {
        if output.json {
            println!("{}", Value::Object(self.json.clone()));
            return;
        }
        let width = self.lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, text) in &self.lines {
            println!("{name:<width$}  {text}");
        }
    }
}

/// A bar on standard error where that is a terminal.
pub fn progress(total: usize, what: &str, output: &Output) -> ProgressBar {
    let target = if output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{msg} {pos}/{len} [{bar:32}] {per_sec}, {eta} left")
        .expect("the template is valid")
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(total as u64), target).with_style(style).with_message(what.to_owned())
}

/// What kind of model it is, in a line.
pub fn describe(model: &Model) -> String {
    let architecture = model.architecture();
    let [h, w, c] = model.image_shape();
    format!("{}, {} classes of images {h}x{w}x{c}", architecture.name(), architecture.classes())
}

/// Refuses a path to write whose directory is not there, before the work rather than after it.
pub fn check_writable(flag: &str, path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(Error::setting(
            flag,
            format!("{} is a directory, expected a file to write", path.display()),
        ));
    }
    if !directory.is_dir() {
        return Err(Error::setting(
            flag,
            format!("there is no directory {} to write to", directory.display()),
        ));
    }
    Ok(())
}
