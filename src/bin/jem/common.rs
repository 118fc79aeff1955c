//! The parts that several commands share: flags, output paths, a progress bar.

use crate::facts::number;
use crate::pictures::PictureArguments;
use crate::session::flags::{self, Flags as _};
use crate::session::{by_import, complain, download_bar, quoted, spinner};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget};
use jem::data::download::Transfer;
use jem::data::images::{Images, Pixels};
use jem::data::reading::ReadOptions;
use jem::device::{Device, DeviceOptions, DeviceSpec};
use jem::ebm::{ImportOptions, Model, Preset};
use jem::nn::architecture::NormMode;
use jem::report::terminal::bar_style;
use jem::tuning;
use jem::words::counted;
use jem::{Error, Result};
use std::path::{Path, PathBuf};

/// The largest batch, in images.
const MAX_BATCH: usize = 10_000;

/// The output flags of a command.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// Print the results as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(long)]
    pub quiet: bool,
}

/// A model on a device.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// Model file: safetensors from this program or for PyTorch, a .pt that `jem import` reads, or a run directory, for
    /// its best.safetensors
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Device: auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    pub device: DeviceSpec,
    /// Statistics of batch normalisation: inference (running statistics of training) or training (each batch's own)
    #[arg(long, value_name = "MODE", default_value = "inference", hide_possible_values = true)]
    pub norm_mode: NormMode,
}

impl ModelArguments {
    /// Reads the model and opens the device.
    pub fn open(&self, output: &Output) -> Result<(Model, Device)> {
        self.open_with(output, false)
    }

    /// Reads the model, with its replay buffer if `chains`, and opens the device.
    pub fn open_with(&self, output: &Output, chains: bool) -> Result<(Model, Device)> {
        let model = open_model_with(&self.model, output, chains)?;
        let device = tuning::open(&self.device, DeviceOptions::default())?;
        if let Some(why) = device.fallback().filter(|_| !output.quiet) {
            complain(&format!("device: {}, because {why}", device.name()));
        }
        Ok((model, device))
    }

    /// Notes, unless `output` is quiet, what was guessed of the model. An error is one line, so this comes after the
    /// work.
    pub fn note_guesses(&self, model: &Model, output: &Output) {
        note_guesses(&self.model, model, output);
    }

    /// Notes, unless `output` is quiet, that the energies of a classifier are not those of a density.
    pub fn note_density(&self, model: &Model, output: &Output) {
        if model.is_density() == Some(false) && !output.quiet {
            complain(&format!(
                "note: as far as its file tells, the model was trained only as a classifier: its energies are not \
                 those of a density, and its samples show no objects; jem train --from {} trains log p(x) as well",
                quoted(&self.model.display().to_string())
            ));
        }
    }
}

/// Notes, unless `output` is quiet, what was guessed of the model at `path`.
pub fn note_guesses(path: &Path, model: &Model, output: &Output) {
    if let Some(guesses) = model.guesses().filter(|_| !output.quiet) {
        complain(&format!("note: {}: {guesses}", path.display()));
    }
}

/// The flags that say how to read images.
#[derive(Debug, Clone, clap::Args)]
pub struct ImageArguments {
    /// Directory of data sets [default: $JEM_DATA, ./data, the user's cache]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Accept float images with values beyond ±2, which are usually scaled for another program; without it they are an
    /// error
    #[arg(long)]
    pub any_range: bool,
    #[command(flatten)]
    pictures: PictureArguments,
}

impl ImageArguments {
    /// Opens the images `text`, the value of `flag`, as `model` takes them, and prints what may not be expected of them.
    pub fn open(&self, flag: &str, text: &str, model: &Model, output: &Output) -> Result<Images> {
        self.open_all(flag, &[text], None, model, output)
    }

    /// Opens one source as [`Self::open`] does, or several picture files; `labels` is a CSV file of their classes.
    pub fn open_all(
        &self,
        flag: &str,
        sources: &[impl AsRef<str>],
        labels: Option<&Path>,
        model: &Model,
        output: &Output,
    ) -> Result<Images> {
        let text = sources.first().map_or("", AsRef::as_ref);
        let (waiting, bar) = (waiting(&format!("reading {text}"), output), download_bar(output.quiet));
        let observer = |transfer: Transfer<'_>| {
            if matches!(transfer, Transfer::Begins { .. } | Transfer::Decodes { .. }) {
                // The bar of the download takes the place of the spinner.
                waiting.end();
            }
            bar(transfer);
        };
        let mut options =
            self.pictures.options(ReadOptions { labels: labels.map(Path::to_owned), ..Default::default() });
        let mut notes = Vec::new();
        if let (None, Some(size)) = (options.size, model.picture_size())
            && Images::are_pictures(sources)
        {
            options.size = Some(size);
            notes.push(format!(
                "{text}: scaled to {size}x{size}, like the pictures that the model was trained on"
            ));
        }
        let mut images = Images::open_with(sources, self.data_dir.as_deref(), &options, &observer);
        if self.data_dir.is_none() && matches!(&images, Err(Error::Setting { key, .. }) if key == text) {
            images = images.hint("name its directory with --data-dir");
        }
        let [height, width, channels] = model.image_shape();
        let images = images.flag("images", flag).advise(height.min(width))?;
        if !self.any_range {
            images
                .check_range()
                .hint("--range 0,255 scales from 0 to 255, --any-range takes them as they are")?;
        }
        let differs = [images.height, images.width] != [height, width];
        let is_picture = images.files.is_some() && matches!(images.pixels, Pixels::Bytes(_));
        notes.extend(images.notes.iter().cloned());
        let mut fitted = images.fit(height, width, channels);
        if is_picture && differs && height == width && options.size != Some(height) {
            fitted = fitted.hint(&format!("--size {height} scales them"));
        }
        let fitted = fitted?;
        if !output.quiet {
            notes.iter().for_each(|note| complain(&format!("note: {}", flags::note(note))));
        }
        Ok(fitted)
    }
}

/// Reads the model at `path`, without its replay buffer.
pub fn open_model(path: &Path, output: &Output) -> Result<Model> {
    open_model_with(path, output, false)
}

/// Reads the model at `path`, with its replay buffer if `chains`.
pub fn open_model_with(path: &Path, output: &Output, chains: bool) -> Result<Model> {
    let _waiting = waiting(&format!("reading {}", path.display()), output);
    let options = ImportOptions { without_chains: !chains, ..ImportOptions::default() };
    Model::import(path, options).map_err(|error| by_import(path, error))
}

/// The target of progress: standard error, or nothing if quiet.
fn target(output: &Output) -> ProgressDrawTarget {
    if output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

/// A spinner with the name of the work in progress, on standard error if that is a terminal. It ends when dropped.
pub struct Waiting(ProgressBar);

/// Shows a spinner with `what` is being done, for work of unknown length.
pub fn waiting(what: &str, output: &Output) -> Waiting {
    let bar = spinner(output.quiet);
    bar.set_message(what.to_owned());
    Waiting(bar)
}

impl Waiting {
    /// Removes the spinner.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

/// A progress bar on standard error, if that is a terminal.
pub fn progress(total: usize, what: &str, output: &Output) -> ProgressBar {
    let style = bar_style("{prefix} {pos}/{len} [{bar:32}] {msg}  {left} left", 0);
    let bar = ProgressBar::with_draw_target(Some(total as u64), target(output)).with_style(style);
    let bar = bar.with_prefix(what.to_owned());
    // The first batch may take long: show the bar at once.
    bar.tick();
    bar
}

/// Refuses a batch that is empty or above [`MAX_BATCH`].
pub fn check_batch(batch: usize) -> Result<()> {
    if (1..=MAX_BATCH).contains(&batch) {
        return Ok(());
    }
    Err(Error::setting("--batch", format!("must be from 1 to {MAX_BATCH}, got {batch}")))
}

/// A one-line description of the model.
pub fn describe(model: &Model) -> String {
    let network = model.network();
    let [h, w, c] = model.image_shape();
    let parameters = number(network.layout().elements());
    let of = match network.classes() {
        1 => "a scalar energy".to_owned(),
        classes => counted(classes, "class"),
    };
    format!("{}, {parameters} parameters, {of} of images {h}x{w}x{c}", network.name())
}

/// Refuses a path that cannot be written, before the work starts.
pub fn check_writable(flag: &str, path: &Path) -> Result<()> {
    let wrong = |message: String| Err(Error::setting(flag, message));
    if path.is_dir() {
        return wrong(format!("{} is a directory, expected a file to write", path.display()));
    }
    let target = jem::io::atomic::regular(path).map_err(|error| Error::setting(flag, error.to_string()))?;
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return wrong(format!("there is no directory {} to write to", directory.display()));
    }
    match can_write_in(directory) {
        Ok(()) => Ok(()),
        Err(error) => wrong(format!("{} cannot be written: {error}", path.display())),
    }
}

/// Refuses to write the result over `source`, a file that it is made from and that is called `what`.
pub fn check_not_source(out: &Path, what: &str, source: &Path) -> Result<()> {
    let real = |path: &Path| path.canonicalize().ok();
    match real(out) {
        Some(target) if real(source) == Some(target.clone()) => {
            let message = format!("{} is {what} that is read; choose another file", out.display());
            Err(Error::setting("--out", message))
        }
        _ => Ok(()),
    }
}

/// Checks that a directory is writable, by writing a file into it.
fn can_write_in(directory: &Path) -> std::io::Result<()> {
    let probe = directory.join(format!(".jem.{}.tmp", std::process::id()));
    std::fs::File::create(&probe)?;
    std::fs::remove_file(&probe)
}

/// Checks that files can be written into the directory `path`, the value of `flag`, and that it can be created if it
/// does not exist. Leaves nothing behind, so a command that ends before it writes a file leaves no empty directory.
pub fn check_directory(flag: &str, path: &Path) -> Result<()> {
    let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let missing: Vec<&Path> = missing.collect();
    let attempt = std::fs::create_dir_all(path).and_then(|()| can_write_in(path));
    for made in missing {
        // Removal fails for a directory that is not empty, which then stays.
        let _ = std::fs::remove_dir(made);
    }
    attempt
        .map_err(|error| Error::setting(flag, format!("{} cannot be written into: {error}", path.display())))
}

/// Parses a preset with a size of its own; [`Preset::FineTune`] has that of a model, which only `jem train` takes.
pub fn sizes() -> impl TypedValueParser<Value = Preset> {
    PossibleValuesParser::new(Preset::SIZES.map(Preset::name)).try_map(|name| name.parse::<Preset>())
}
