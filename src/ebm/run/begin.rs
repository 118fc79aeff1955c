//! The beginning of a session: a new run, or one that resumes from its newest checkpoint.

use super::{EVALUATION_BATCH, GUARD, HEALING, Outcome, Run, RunOptions, Stopwatch};
use crate::data::Dataset;
use crate::device::Device;
use crate::ebm::run_directory::{Clock, UNSCORED};
use crate::ebm::{Healing, Metrics, NetworkRecord, Precision, Recipe, RunDirectory, Trainer};
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::nn::network::Network;
use crate::report::progress::{Progress, Silent};
use crate::report::status::Status;
use crate::words::counted;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;

/// Trains `recipe` on `train` without the `validation` images that it holds out; scores the best model on `test`.
///
/// # Errors
/// An invalid setting, data set or directory, before anything starts; [`crate::Error::Diverged`] when a run diverges
/// and is given up (the last checkpoint is kept); an error of the device or the disk.
pub fn run(
    device: &Device,
    recipe: &Recipe,
    train: &Dataset,
    test: &Dataset,
    mut options: RunOptions<'_>,
) -> Result<Outcome> {
    check_test(train, test)?;
    let (train_part, held_out) = train.split(recipe.validation, u64::from(recipe.seed))?;
    let recovered = options.resume.then(|| RunDirectory::recover(&options.out)).transpose()?;
    let start = recovered.as_ref().and_then(|recovered| recovered.checkpoint.as_ref());
    let healing: Healing = start.map(|(_, checkpoint)| memory(checkpoint, HEALING)).unwrap_or_default();
    let guard = start.map(|(_, checkpoint)| memory(checkpoint, GUARD)).unwrap_or_default();
    let own = || -> Arc<dyn Network> { Arc::new(recipe.network(train.classes(), train.channels)) };
    let of_start = || options.start.map(|start| start.network.clone());
    let given = options.network.clone().or_else(of_start);
    let network = given.clone().unwrap_or_else(own);
    let mut trainer = Trainer::with_network(device, &healing.treat(recipe), network, &train_part)?;
    let mut snapshots = VecDeque::new();
    let mut progress = options.progress.take().unwrap_or_else(|| Box::new(Silent));
    if let (Some(from), None) = (options.start, start) {
        let note = from.apply(&trainer, &train_part, fitting(&mut *progress))?;
        note.iter().for_each(|note| progress.note(note));
    }
    if let Some((path, checkpoint)) = start {
        trainer.restore(checkpoint, path)?;
        for (iteration, path) in RunDirectory::snapshots(&options.out)? {
            // Skip a damaged snapshot: it is one rollback target less, and the checkpoint is enough to resume.
            let snapshot = Checkpoint::load(&path).ok().filter(|_| iteration <= trainer.iteration());
            snapshots.extend(snapshot.map(|snapshot| (iteration, snapshot)));
        }
    }
    let resumed = start.map(|(path, _)| path.clone());
    let total = recipe.total_iterations(train_part.len());
    let kernels = device.kernels();
    let unscored = start.and_then(|(_, checkpoint)| memory::<Option<(Metrics, Clock)>>(checkpoint, UNSCORED));
    let complete = trainer.iteration() >= total && unscored.is_none();
    let config =
        if complete { None } else { Some(settings(&trainer, recipe, train, given.is_some(), &options)?) };
    // Load this before the directory is created: the device may refuse it.
    let validation = trainer.evaluator(&held_out, EVALUATION_BATCH)?;
    let mut directory = RunDirectory::open(&options.out, config.as_deref(), recovered.as_ref())?;
    drop(recovered);
    if !complete {
        let details = json!({"device": device.name(), "kernels": kernels, "data": train.name, "synthetic": train.synthetic, "iterations": total, "precision": trainer.precision(), "checkpoint": resumed});
        directory.event(if options.resume { "resume" } else { "start" }, trainer.iteration(), details);
    }
    let history = directory.metrics().ok();
    let seconds = history.as_ref().map(|table| table.points("seconds"));
    let earlier = seconds.and_then(|points| points.last().copied()).map_or(0.0, |(_, seconds)| seconds);
    let earlier = unscored.map_or(earlier, |(_, clock)| clock.seconds);
    progress.begin(trainer.iteration(), total, history.as_ref());
    let title = format!("{} on {}", trainer.network().name(), train.name);
    let mut run = Run {
        validation,
        fresh: None,
        progress,
        guard,
        healing,
        snapshots,
        recipe: recipe.clone(),
        title,
        shape: [train.height, train.width, train.channels],
        stopwatch: Stopwatch::start(earlier),
        last: None,
        unscored,
        status: Status::default(),
        interrupted: false,
        losses: 0,
        samples: None,
        newest: resumed,
        trainer,
        directory,
        options,
        train: train_part,
        held_out,
    };
    if recipe.precision != Precision::F32 {
        run.progress.note(&format!("numbers: {}", run.trainer.precision()));
    }
    run.warn();
    run.train(total, test)
}

/// The text of `config.toml`. `given`: whether the network is another than the recipe's own.
fn settings(
    trainer: &Trainer,
    recipe: &Recipe,
    train: &Dataset,
    given: bool,
    options: &RunOptions<'_>,
) -> Result<String> {
    let (network, device) = (&**trainer.network(), trainer.device());
    let mut recorded = options.source.map(RunDirectory::source_line).unwrap_or_default();
    if given {
        let mut from = None;
        if options.resume {
            // The model that the run started from may be gone.
            from = RunDirectory::network_in(&RunDirectory::config(&options.out)?)?
                .and_then(|record| record.from);
        }
        if let (None, Some(start)) = (&from, options.start) {
            let path = start.model.path();
            from = Some(std::path::absolute(path).map_err(Error::io(path))?);
        }
        recorded += &RunDirectory::network_line(&NetworkRecord::of(network, from.as_deref()));
    }
    Ok(format!(
        "# data: {}\n{recorded}# network: {}\n# device: {}\n# kernels of convolutions: {}\n{}",
        train.name,
        network.name(),
        device.name(),
        device.kernels(),
        recipe.to_toml_of(network)
    ))
}

/// Shows how many of the images that a new last layer is fitted to are done.
pub(super) fn fitting(progress: &mut dyn Progress) -> impl FnMut(usize, usize) {
    |done, total| progress.scoring("fitting the last layer", done, total)
}

/// Checks that a model of `train` can be scored on `test`, before hours of training.
fn check_test(train: &Dataset, test: &Dataset) -> Result<()> {
    let (name, classes) = (&test.name, train.classes());
    let message = match test.labels.iter().max() {
        None => format!("{name} has no images to test on"),
        Some(&label) if label as usize >= classes => {
            format!("{name} has the label {label}, but {} has {}", train.name, counted(classes, "class"))
        }
        Some(_) => return Ok(()),
    };
    Err(Error::Shape { operation: "test images", message })
}

/// The state that a checkpoint has under `key`; the default if an earlier version wrote the checkpoint.
pub(super) fn memory<T: Default + serde::de::DeserializeOwned>(checkpoint: &Checkpoint, key: &str) -> T {
    checkpoint.metadata.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
