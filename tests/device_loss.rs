//! Devices that are lost during a run: the run opens the device again and continues.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/disturbed.rs"]
mod disturbed;

use devices::devices;
use disturbed::{alter, drawings, events, iterations, recipe, train};
use jem::Error;
use jem::device::Device;
use jem::ebm::{Recipe, RunOptions, Trainer, run};
use jem::io::checkpoint::Checkpoint;
use jem::report::metrics::MetricsTable;
use jem::report::progress::Progress;
use jem::report::status::Status;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The trainer's handle of a lost device reports nothing but its loss.
#[test]
fn a_lost_device_is_opened_again_and_changes_no_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, device), _] = devices();
    let [calm, lost] = ["calm", "lost"].map(|name| folder.path().join(name));
    train(&device, &recipe(), &calm, |_| Ok(())).expect("a run");
    let mut losses = [30u64, 95].into_iter().peekable();
    let outcome = train(&device, &recipe(), &lost, |trainer| {
        if losses.next_if(|&at| at == trainer.iteration()).is_some() {
            return Err(Error::DeviceLost {
                device: "a device".into(),
                message: "the driver was reset".into(),
            });
        }
        Ok(())
    });
    assert_eq!(outcome.expect("a run").trips, 0);
    let reopened = events(&lost, "device reopened");
    assert_eq!(
        reopened.iter().map(|e| e["details"]["back_to"].as_u64()).collect::<Vec<_>>(),
        [Some(20), Some(80)]
    );
    let last = |out: &Path| {
        let path = out.join("checkpoints/checkpoint-00000160.safetensors");
        Checkpoint::load(&path).expect("a checkpoint").tensors
    };
    assert_eq!(last(&calm), last(&lost));
    assert_eq!(iterations(&lost), iterations(&calm));
}

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// The fault in iteration 30 has just been recorded, and is healed next.
    Heal,
    /// Images of a part, such as `test images`, are being scored.
    Scoring(&'static str),
}

/// A progress that loses the GPU once, at a place.
struct Loses {
    device: Device,
    at: Option<Place>,
}

impl Loses {
    fn reach(&mut self, place: Place) {
        if self.at == Some(place) {
            self.at = None;
            self.device.lose();
        }
    }
}

impl Progress for Loses {
    fn begin(&mut self, _done: u64, _total: u64, _history: Option<&MetricsTable>) {}

    fn update(&mut self, iteration: u64, _status: &Status) {
        if iteration == 31 {
            self.reach(Place::Heal);
        }
    }

    fn scoring(&mut self, part: &str, done: usize, _total: usize) {
        let here = |place: &Place| matches!(place, Place::Scoring(at) if *at == part);
        if let Some(place) = self.at.filter(here).filter(|_| done > 0) {
            self.reach(place);
        }
    }

    fn note(&mut self, _line: &str) {}

    fn warn(&mut self, _line: &str) {}
}

#[test]
fn a_device_that_is_lost_while_a_fault_is_healed_or_images_are_scored_is_opened_again() {
    let recipe = Recipe { validation: 160, iterations: 60, ..recipe() };
    let (train_data, test) = drawings();
    let gpu = || devices()[1].1.clone();
    let ended = |place: Place| {
        let folder = tempfile::tempdir().expect("a folder");
        let (device, stop) = (gpu(), AtomicBool::new(false));
        let mut disturbed = false;
        let mut disturb = |trainer: &mut Trainer| {
            if place == Place::Heal && trainer.iteration() == 30 && !std::mem::replace(&mut disturbed, true) {
                return alter(trainer, "conv1.weight", |values| values[3] = f32::NAN);
            }
            Ok(())
        };
        let reopen = || Ok(gpu());
        let options = RunOptions {
            progress: Some(Box::new(Loses { device: device.clone(), at: Some(place) })),
            stop: &stop,
            reopen: Some(&reopen),
            visit: Some(&mut disturb),
            ..RunOptions::new(folder.path())
        };
        let outcome = run(&device, &recipe, &train_data, &test, options).expect("a run");
        assert_eq!(events(folder.path(), "device lost").len(), 1, "{place:?}");
        // The rollback of the fault is done on the device that was opened again.
        let healed = events(folder.path(), "healed");
        assert_eq!(healed.len(), usize::from(place == Place::Heal), "{healed:?}");
        assert!(healed.iter().all(|event| event["details"]["back_to"] == 0), "{healed:?}");
        (outcome.iterations, outcome.test.expect("it ran to its end"))
    };
    let scored = ["scoring held-out images", "scoring test images"].map(|part| ended(Place::Scoring(part)));
    assert_eq!(scored[0], scored[1]);
    assert_eq!(ended(Place::Heal).0, 60);
}
