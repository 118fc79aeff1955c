//! The interface through which a run reports its progress to the program that started it.

use super::metrics::MetricsTable;
use super::status::Status;
use std::time::Duration;

/// Receives the progress of a run. An implementation cannot end the run or change its results.
pub trait Progress {
    /// Training starts after `done` of `total` iterations; `history` has the metrics of the earlier ones.
    fn begin(&mut self, done: u64, total: u64, history: Option<&MetricsTable>);

    /// Training has completed `iteration` iterations.
    fn update(&mut self, iteration: u64, status: &Status);

    /// `iteration` iterations are complete, and the next one, which takes longer than a second, is in the phase
    /// `status.phase`. The figures are those of the last [`Progress::update`].
    fn phase(&mut self, _iteration: u64, _status: &Status) {}

    /// Receives the accuracy on held-out images, 0 to 1, after `iteration` iterations.
    fn validation(&mut self, iteration: u64, accuracy: f64) {
        self.note(&validation_line(iteration, accuracy));
    }

    /// `done` of `total` images or SGLD steps of `part`, such as `scoring test images` or `fresh chains: SGLD step`, are done;
    /// also called during training.
    fn scoring(&mut self, _part: &str, _done: usize, _total: usize) {}

    /// Whether [`Progress::samples`] should be called now. Reading samples takes time.
    fn wants_samples(&self) -> bool {
        false
    }

    /// Receives the samples after `iteration` iterations, which took `cost` to read: images of `shape` (height, width,
    /// channels) in [-1, 1], with `columns` in a row, if that matters.
    fn samples(
        &mut self,
        _iteration: u64,
        _images: &[f32],
        _shape: [usize; 3],
        _columns: Option<usize>,
        _cost: Duration,
    ) {
    }

    /// Receives an event in one line: a validation, a healed fault.
    fn note(&mut self, line: &str);

    /// Receives a warning in one line, about a problem that does not end the run, such as a full disk.
    fn warn(&mut self, line: &str);

    /// Training has ended, or failed. Notes and warnings may follow.
    fn finish(&mut self) {}
}

/// The line that reports an accuracy on held-out images.
pub(super) fn validation_line(iteration: u64, accuracy: f64) -> String {
    format!("iteration {iteration}: validation accuracy {:.1}%", 100.0 * accuracy)
}

/// A [`Progress`] that shows nothing. Warnings become events of `tracing`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _done: u64, _total: u64, _history: Option<&MetricsTable>) {}

    fn update(&mut self, _iteration: u64, _status: &Status) {}

    fn note(&mut self, _line: &str) {}

    fn warn(&mut self, line: &str) {
        tracing::warn!("{line}");
    }
}
