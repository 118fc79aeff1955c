//! Short runs on drawings, for tests that disturb them.

#[path = "small.rs"]
#[allow(dead_code, reason = "its recipe is another")]
mod small;

use jem::Result;
use jem::data::Dataset;
use jem::data::synthetic::synthetic;
use jem::device::Device;
use jem::ebm::{Outcome, Preset, Recipe, RunOptions, Trainer, run};
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use serde_json::Value;
use small::shrink;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Enough iterations to learn the drawings, with a disturbance in the middle.
pub fn recipe() -> Recipe {
    Recipe {
        depth: 10,
        width: 1,
        batch: 16,
        steps: 2,
        buffer: 64,
        lr: 4e-3,
        warmup: 10,
        decay_at: Vec::new(),
        iterations: 160,
        pad: 0,
        flip: false,
        validation: 64,
        evaluate_every: 40,
        sample_every: 160,
        checkpoint_every: 80,
        snapshot_every: 20,
        ..Preset::Tiny.recipe()
    }
}

/// Drawings of 8x8 pixels in ten classes: training images, and test images.
pub fn drawings() -> (Dataset, Dataset) {
    let (train, test) = synthetic(640, 1000, 3);
    (shrink(train, 8), shrink(test, 8))
}

/// Trains in a new folder; `disturb` is called with the trainer before each iteration.
pub fn train(
    device: &Device,
    recipe: &Recipe,
    out: &Path,
    mut disturb: impl FnMut(&mut Trainer) -> Result<()>,
) -> Result<Outcome> {
    let (train, test) = drawings();
    let stop = AtomicBool::new(false);
    let reopen = || Ok(device.clone());
    let options = RunOptions {
        network: None,
        start: None,
        source: None,
        out: out.into(),
        resume: false,
        progress: None,
        stop: &stop,
        reopen: Some(&reopen),
        visit: Some(&mut disturb),
    };
    run(device, recipe, &train, &test, options)
}

pub fn events(out: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("events.jsonl")).expect("events");
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter(|event| event["event"] == kind).collect()
}

/// The iterations of `metrics.csv`; asserts that its speeds are possible.
pub fn iterations(out: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(out.join("metrics.csv")).expect("metrics");
    let header = text.lines().next().expect("a header");
    let column = header.split(',').position(|name| name == "images_per_second").expect("the speed");
    for row in text.lines().skip(1) {
        let speed: f64 = row.split(',').nth(column).expect("a column").parse().expect("a number");
        assert!((0.0..1e9).contains(&speed), "{speed} images/s in {row}");
    }
    text.lines()
        .skip(1)
        .map(|line| line.split(',').next().expect("a column").parse().expect("a number"))
        .collect()
}

/// Replaces the elements of a tensor in training.
pub fn alter(trainer: &mut Trainer, name: &str, change: impl Fn(&mut [f32])) -> Result<()> {
    let mut checkpoint: Checkpoint = trainer.checkpoint()?;
    let tensor = checkpoint.tensors.iter_mut().find(|tensor| tensor.0.contains(name)).expect("the tensor");
    let Elements::F32(values) = &mut tensor.2 else { panic!("{name} is of floats") };
    change(values);
    trainer.restore(&checkpoint, Path::new("altered"))
}
